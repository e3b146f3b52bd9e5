"""The rows of a shard's index: which of its members make which sample."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastdata.errors import TarError
from fastdata.sample import key_hash
from fastdata.sources.tars.tar import BLOCK, Member

NO_CLASS = -(2**63)
"""`cls` of a sample without a cls member, or with one that is no integer."""

ABSENT = -1
"""The offset of a component that the sample lacks."""

MAX_CLASS_BYTES = 32
"""Of a cls member: a longer one is no integer."""

Rows: TypeAlias = NDArray[np.void]
"""One row a sample, in the shard's order, of fields

`key`: uint64, `key_hash` of the sample's key;
`start`: int64, where the first header of its first member lies, from which its key can be read again;
`cls`: int64, the integer in its cls member, or NO_CLASS;
and for each extension in the shard a field named by it with its dot (`.jpg`): `offset` of the component's data
(int64, ABSENT if the sample lacks it) and `size` in bytes (int64).

Rows that were made while the shard was written have two more: `end`, int64, where the sample ends, so that from `start`
to there lie all of its headers, data and padding; and `hash`, uint64, the xxh3_64 of these bytes.
"""

Entry: TypeAlias = tuple[Any, ...]
"""A row as Python's numbers, in the order of its fields: those of a component as a pair."""

_MAX_EXTENSIONS = 64
MAX_ROW = 40 + 16 * _MAX_EXTENSIONS
"""Bytes of a row at most."""

_SPAN = [("offset", "<i8"), ("size", "<i8")]


class RowsBuilder:
    """Makes the rows of the shard at `path`, sample by sample, of what a reader finds or a writer writes."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._keys, self._starts, self._classes = array("Q"), array("q"), array("q")
        self._spans: dict[str, array[int]] = {}
        self._ends, self._hashes = array("q"), array("Q")

    def add(self, key: str, start: int, cls: int, parts: Mapping[str, Member]) -> None:
        """Adds a sample, its members by extension.

        TarError, and nothing is added, where the shard has too many extensions for one.
        """
        new = [extension for extension in parts if extension not in self._spans]
        if len(self._spans) + len(new) > _MAX_EXTENSIONS:
            known = [*self._spans, *new]
            extension = known[_MAX_EXTENSIONS]
            problem = f"{extension!r} is extension {_MAX_EXTENSIONS + 1} after {', '.join(known[:5])}, …"
            raise TarError.at(self._path, parts[extension].start, f"{problem}: is this a shard in WebDataset layout?")
        row = len(self._keys)
        self._keys.append(key_hash(key))
        self._starts.append(start)
        self._classes.append(cls)
        for extension in new:
            self._spans[extension] = array("q")
        for extension, member in parts.items():
            self._spans[extension].extend((row, member.offset, member.size))

    def seal(self, ends: Sequence[int], hashes: Sequence[int]) -> None:
        """Says of the samples that follow those sealed before where they end, and the xxh3_64 of their bytes."""
        self._ends.extend(ends)
        self._hashes.extend(hashes)

    def rows(self) -> Rows:
        """The rows of all samples that were added, with `end` and `hash` if they were sealed."""
        sealed = bool(self._ends)
        rows = np.empty(len(self._keys), dtype_of(list(self._spans), sealed))
        if sealed:
            rows["end"], rows["hash"] = self._ends, self._hashes
        rows["key"], rows["start"], rows["cls"] = self._keys, self._starts, self._classes
        for extension, column in self._spans.items():
            field = rows["." + extension]
            field["offset"], field["size"] = ABSENT, 0
            which, offset, size = np.frombuffer(column, np.int64).reshape(-1, 3).T
            field["offset"][which], field["size"][which] = offset, size
        return rows


def dtype_of(names: list[str], sealed: bool = False) -> np.dtype[np.void]:
    """The type of a row in a shard with these extensions, with `end` and `hash` if it is `sealed`."""
    spans = [("." + name, _SPAN) for name in names]
    seal = [("end", "<i8"), ("hash", "<u8")] if sealed else []
    return np.dtype([("key", "<u8"), ("start", "<i8"), ("cls", "<i8"), *spans, *seal])


def is_sealed(rows: Rows) -> bool:
    """Whether the rows have `end` and `hash`."""
    return "hash" in (rows.dtype.names or ())


def plain(rows: Rows) -> Rows:
    """The rows without `end` and `hash`: what is known of a shard whoever wrote it."""
    if not is_sealed(rows):
        return rows
    found = np.empty(len(rows), dtype_of(list(extensions(rows))))
    for name in found.dtype.names or ():
        found[name] = rows[name]
    return found


def extensions(rows: Rows) -> tuple[str, ...]:
    """The extensions that an index has a field for, in the order of their first appearance in the shard."""
    return tuple(name[1:] for name in rows.dtype.names or () if name.startswith("."))


def class_in(data: bytes) -> int:
    """The integer in the bytes of a cls member, or NO_CLASS."""
    try:
        value = int(data) if len(data) <= MAX_CLASS_BYTES else NO_CLASS
    except ValueError:
        return NO_CLASS
    return value if -(2**63) < value < 2**63 else NO_CLASS


def are_within(rows: Rows, shard_size: int) -> bool:
    """Whether all that the rows point at lies in the shard, and each class in a component that can hold it."""
    if np.any((rows["start"] < 0) | (rows["start"] >= shard_size)):
        return False
    if is_sealed(rows) and np.any((rows["end"] <= rows["start"]) | (rows["end"] > shard_size)):
        return False
    if np.any(rows["cls"] != NO_CLASS) and ".cls" not in (rows.dtype.names or ()):
        return False
    for extension in extensions(rows):
        offset, size = rows["." + extension]["offset"], rows["." + extension]["size"]
        inside = (offset >= BLOCK) & (offset <= shard_size) & (size >= 0) & (size <= shard_size - offset)
        if extension == "cls":
            inside &= (rows["cls"] == NO_CLASS) | (size <= MAX_CLASS_BYTES)
        absent = (offset == ABSENT) & ((extension != "cls") | (rows["cls"] == NO_CLASS))
        if not np.all(inside | absent):
            return False
    return True
