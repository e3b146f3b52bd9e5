"""Write shards: tar files of samples in WebDataset's layout, with their indexes."""

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from xxhash import xxh3_64_intdigest

from fastdata.files import whole_file
from fastdata.sources.tars.behind import ALIGNED, Behind
from fastdata.sources.tars.content_hash import DEFAULT, Algorithm, hasher, named
from fastdata.sources.tars.headers import end_of_archive, is_plain, long_header
from fastdata.sources.tars.index import store
from fastdata.sources.tars.rows import NO_CLASS, RowsBuilder, class_in
from fastdata.sources.tars.stretch import Later, Stretch
from fastdata.sources.tars.tar import BLOCK, Member, padded
from fastdata.sources.tars.webdataset import split_name

_TOGETHER = 1 << 20  # bytes that are hashed and written at once: what was just read is still in a core's cache
_PLAIN_KEY = re.compile(r"(?!__)(?:(?!\.{1,2}/)[^/\0]+/)*[^/\0.]+")


class ShardWriter:
    """Writes a shard, which appears with its index when the `with` block ends, or not at all if that raises.

    The same samples give the same bytes: ustar headers without times, owners or host, and PAX headers for names that
    don't fit into these, as Python's tarfile writes them. Index and hash are made while writing. An existing file at
    `path` is replaced.

        with ShardWriter("train-000000.tar") as shard:
            shard.write("cats/1", {"jpg": image, "cls": b"0"})
    """

    def __init__(self, path: str | os.PathLike[str], algorithm: Algorithm = DEFAULT) -> None:
        self.path = os.fspath(path)
        self.size = 0
        """Bytes of the samples written so far, with headers and padding; of the whole file when it is complete."""
        self.hash = ""
        """Of the whole file when it is complete, as `content_hash` names it."""
        self._algorithm, self._hasher = algorithm, hasher(algorithm)
        self._keys: set[str] = set()
        self._extensions: set[str] = set()
        self._rows = RowsBuilder(self.path)
        self._ends: list[int] = []
        self._stack = ExitStack()

    @property
    def samples(self) -> int:
        """Number of samples written so far."""
        return len(self._keys)

    def __enter__(self) -> Self:
        self._file = self._stack.enter_context(whole_file(Path(self.path)))
        self._behind = self._stack.enter_context(Behind(self._file.fileno(), _TOGETHER))
        self._stretch = Stretch(0, self._behind.memory(0))
        return self

    def write(self, key: str, components: Mapping[str, bytes | Later]) -> None:
        """Writes a sample: its components by extension (lower case, without the first dot), in the order given.

        Raises ValueError, and writes nothing, for a key that is already there, or from which readers would not
        get the same key and extension again; and what `fill` raises of a component that comes `Later`.
        """
        self._check(key, components)
        parts: dict[str, Member] = {}
        headers: list[tuple[bytes, bytes]] = []
        end = self.size
        for extension, component in components.items():
            name = f"{key}.{extension}"
            encoded = name.encode("utf-8", "surrogateescape")  # UnicodeEncodeError, a ValueError, for other surrogates
            size = len(component)
            header = b"" if is_plain(encoded, size) else long_header(encoded, size)
            headers.append((encoded, header))
            offset = end + (len(header) or BLOCK)
            parts[extension] = Member(name, offset, size, end)
            end = offset + padded(size)
        if not self._stretch.has_room(end):
            self._flush(end - self.size)
        stretch = self._stretch
        try:
            for member, (encoded, header), content in zip(parts.values(), headers, components.values(), strict=True):
                stretch.put(encoded, header, member.offset, content)
            self._rows.add(key, self.size, self._class_of(components.get("cls"), parts), parts)
        except BaseException:
            stretch.forget(self.size)
            raise
        self._keys.add(key)
        self._ends.append(end)
        self.size = end

    def _class_of(self, content: bytes | Later | None, parts: Mapping[str, Member]) -> int:
        """The class in a sample's cls member, if there is one."""
        if content is None:
            return NO_CLASS
        return class_in(content if isinstance(content, bytes) else self._stretch.read(*parts["cls"][1:3]))

    def _flush(self, needed: int = 0) -> None:
        """Writes what is put together so far; then there is room for so many bytes."""
        stretch, start = self._stretch, self._stretch.start
        data = stretch.complete(self.size)
        hashes = [xxh3_64_intdigest(data[a - start : b - start]) for a, b in pairwise([start, *self._ends])]
        self._rows.seal(self._ends, hashes)
        self._ends.clear()
        self._hasher.update(data)
        begun = self.size % ALIGNED  # bytes of a page, which is written when it is full
        self._stretch = Stretch(self.size, self._behind.memory(begun + needed), stretch.read(self.size - begun, begun))
        self._behind.write(stretch.memory, self.size - begun - stretch.base, stretch.base)

    def _check(self, key: str, components: Mapping[str, bytes | Later]) -> None:
        """Raises ValueError for a sample that can't be written, or not be read back."""
        if key in self._keys:
            raise ValueError(f"{self.path}: key {key!r} is already in the shard; keys must be unique")
        if components and self._extensions.issuperset(components) and _PLAIN_KEY.fullmatch(key):
            return  # as nearly all samples: what follows takes ten times as long
        if not components or "\0" in key or {"", ".", ".."} & set(key.split("/")):
            raise ValueError(f"{self.path}: sample {key!r} needs components, and a plain relative path for a key")
        for extension in components:
            name = f"{key}.{extension}"
            if split_name(name) != (key, extension) or "\0" in extension:
                problem = "no dots in a key's last part, extensions in lower case without '/', no __names__"
                raise ValueError(f"{self.path}: {name!r} would not be read back as {key!r}: {problem}")
        self._extensions.update(components)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            end = end_of_archive(self.size)
            if not self._stretch.has_room(self.size + len(end)):
                self._flush(len(end))
            self._stretch.put_end(self.size, end)
            self.size += len(end)
            self._flush()
            self._behind.write(self._stretch.memory, self.size - self._stretch.base, self._stretch.base)
            self._behind.wait()
            stat = os.fstat(self._file.fileno())
        self.hash = named(self._algorithm, self._hasher.hexdigest())
        store(self.path, stat, self._rows.rows())
