"""Write shards: tar files of samples in WebDataset's layout, with their indexes."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from fastdata.files import whole_file
from fastdata.sources.content_hash import DEFAULT, Algorithm, hasher, named
from fastdata.sources.headers import end_of_archive, member_header
from fastdata.sources.index import store
from fastdata.sources.rows import NO_CLASS, RowsBuilder, class_in
from fastdata.sources.tar import BLOCK, Member
from fastdata.sources.webdataset import split_name

_TOGETHER = 1 << 20  # bytes that are hashed and written at once: what was just read is still in a core's cache
_ON_THE_WAY = 8 << 20  # bytes that the disk is told of at once
_PIECES = 1000  # that one call of writev takes; POSIX systems allow 1024


class ShardWriter:
    """Writes a shard, which appears with its index when the `with` block ends, or not at all if that raises.

    The same samples give the same bytes: ustar headers without times, owners or host, and PAX headers for names that
    don't fit into these, as Python's tarfile writes them. Index and hash are made while writing. An existing file at
    `path` is replaced.

        with ShardWriter("train-000000.tar") as shard:
            shard.write("cats/1", {"jpg": image, "cls": b"0"})
    """

    def __init__(self, path: str | os.PathLike[str], algorithm: Algorithm = DEFAULT) -> None:
        self._algorithm = algorithm
        self.path = os.fspath(path)
        self.size = 0
        """Bytes of the samples written so far, with headers and padding; of the whole file when it is complete."""
        self.hash = ""
        """Of the whole file when it is complete, as `content_hash` names it."""
        self._keys: set[str] = set()
        self._rows = RowsBuilder(self.path)
        self._hasher = hasher(algorithm)
        self._pieces: list[bytes] = []
        self._waiting = self._begun = 0
        self._stack = ExitStack()

    @property
    def samples(self) -> int:
        """Number of samples written so far."""
        return len(self._keys)

    def __enter__(self) -> Self:
        self._file = self._stack.enter_context(whole_file(Path(self.path)))
        return self

    def write(self, key: str, components: Mapping[str, bytes]) -> None:
        """Writes a sample: its components by extension (lower case, without the first dot), in the order given.

        Raises ValueError, and writes nothing, for a key that is already there, or from which readers would not
        get the same key and extension again.
        """
        self._check(key, components)
        start, at = self.size, self.size
        parts: dict[str, Member] = {}
        pieces: list[bytes] = []
        for extension, component in components.items():
            name, data = f"{key}.{extension}", bytes(component)  # no copy, unless what was given may still change
            header = member_header(name, len(data))
            padding = bytes(-len(data) % BLOCK)
            parts[extension] = Member(name, at + len(header), len(data), at)
            pieces += (header, data, padding) if len(data) >= BLOCK else (header + data + padding,)
            at += len(header) + len(data) + len(padding)
        self._rows.add(key, start, class_in(components["cls"]) if "cls" in components else NO_CLASS, parts)
        self._keys.add(key)
        self.size = at
        self._put(pieces, at - start)

    def _put(self, pieces: list[bytes], size: int) -> None:
        """Takes what is to be written next, and writes it with what else waits once that is worth a call."""
        if len(self._pieces) + len(pieces) > _PIECES:
            self._flush()
        self._pieces += pieces
        self._waiting += size
        if self._waiting >= _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        for piece in self._pieces:
            self._hasher.update(piece)
        fd = self._file.fileno()
        _write_all(fd, self._pieces)
        self._pieces.clear()
        self._waiting = 0
        if self.size - self._begun >= _ON_THE_WAY and hasattr(os, "posix_fadvise"):
            # Has the disk begin with what was written, which else waits for fsync, and that for the disk.
            os.posix_fadvise(fd, self._begun, self.size - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self.size

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
            end = end_of_archive(self.size)
            self._put([end], len(end))
            self._flush()
            self.size += len(end)
            stat = os.fstat(self._file.fileno())
        self.hash = named(self._algorithm, self._hasher.hexdigest())
        store(self.path, stat, self._rows.rows())


def _write_all(fd: int, pieces: list[bytes]) -> None:
    """Writes all pieces, of which one call may write fewer, on a disk that is nearly full say."""
    written = os.writev(fd, pieces)
    for piece in pieces:
        if written < len(piece):
            left = memoryview(piece)[max(written, 0) :]
            while left:
                left = left[os.write(fd, left) :]
        written -= len(piece)
