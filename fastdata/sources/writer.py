"""Write shards: tar files of samples in WebDataset's layout, with their indexes."""

import io
import os
import tarfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from fastdata.files import whole_file
from fastdata.sources.index import build, store
from fastdata.sources.webdataset import split_name


class ShardWriter:
    """Writes a shard, which appears with its index when the `with` block ends, or not at all if that raises.

    The same samples give the same bytes: the format is PAX, by Python's tarfile, without times, owners or host. An
    existing file at `path` is replaced.

        with ShardWriter("train-000000.tar") as shard:
            shard.write("cats/1", {"jpg": image, "cls": b"0"})
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.size = 0
        """Bytes of the samples written so far, with headers and padding; of the whole file when it is complete."""
        self._keys: set[str] = set()
        self._stack = ExitStack()

    @property
    def samples(self) -> int:
        """Number of samples written so far."""
        return len(self._keys)

    def __enter__(self) -> Self:
        self._file = self._stack.enter_context(whole_file(Path(self.path)))
        self._tar = tarfile.open(
            fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
        )
        return self

    def write(self, key: str, components: Mapping[str, bytes]) -> None:
        """Writes a sample: its components by extension (lower case, without the first dot), in the order given.

        Raises ValueError, and writes nothing, for a key that is already there, or from which readers would not
        get the same key and extension again.
        """
        self._check(key, components)
        for extension, data in components.items():
            info = tarfile.TarInfo(f"{key}.{extension}")
            info.size = len(data)
            self._tar.addfile(info, io.BytesIO(data))
        self._keys.add(key)
        self.size = self._tar.offset

    def _check(self, key: str, components: Mapping[str, bytes]) -> None:
        """Raises ValueError for a sample that can't be written, or not be read back."""
        parts = key.split("/")
        if key in self._keys:
            raise ValueError(f"{self.path}: key {key!r} is already in the shard; keys must be unique")
        if not components or "\0" in key or {"", ".", ".."} & set(parts):
            raise ValueError(f"{self.path}: sample {key!r} needs components, and a plain relative path for a key")
        for extension in components:
            name = f"{key}.{extension}"
            name.encode("utf-8", "surrogateescape")  # raises UnicodeEncodeError, a ValueError, for other surrogates
            if split_name(name) != (key, extension) or "\0" in extension:
                problem = "no dots in a key's last part, extensions in lower case without '/', no __names__"
                raise ValueError(f"{self.path}: {name!r} would not be read back as {key!r}: {problem}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._tar.close()
            self._file.flush()
            fd = os.open(self._file.name, os.O_RDONLY)
            self._stack.callback(os.close, fd)
            rows = build(fd, self.path)
            stat = os.fstat(fd)
        self.size = stat.st_size
        store(self.path, stat, rows)
