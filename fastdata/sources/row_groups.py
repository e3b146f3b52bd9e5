"""Columns of row groups, read when they are needed and kept while there is room."""

import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import numpy as np

from fastdata.sources.arrow import Encoded, Values
from fastdata.sources.parquet import ParquetFile, chunks_of, leaf_of, read_checked_metadata, read_column
from fastdata.sources.ranges import Identity, RangeFile, Stream, open_ranges
from fastdata.sources.verbatim import Places, find_places

_MUCH: Final = 1 << 30
_TOO_OFTEN: Final = 8
_STRIPES: Final = 64
_FOOTERS: Final = 1 << 25  # bytes of footers that a process keeps
_IN_MEMORY: Final = 16  # times a footer's bytes: what it takes when it is read


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


S = TypeVar("S", bound=_Sized)


class _Cache:
    """Values by name, the last used ones of up to `limit` bytes and always the very last; each is made by one thread,
    for which the others wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._making = [threading.Lock() for _ in range(_STRIPES)]

    def get(self, name: Hashable, make: Callable[[], S]) -> S:
        found: S | None = self.known(name)
        if found is None:
            with self._making[hash(name) % _STRIPES]:
                found = self.known(name)
                if found is None:
                    found = self._keep(name, make())
        return found

    def known(self, name: Hashable) -> Any:
        """The value where it is kept, else None."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            return self._kept.get(name)

    def _keep(self, name: Hashable, value: S) -> S:
        with self._lock:
            self._kept[name] = value
            self._bytes += value.nbytes
            while self._bytes > self._limit and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return value


class Group(NamedTuple):
    """A row group: the file's number, and its own in that."""

    file: int
    number: int


class _Footer(NamedTuple):
    metadata: Any
    nbytes: int


class _Placed(NamedTuple):
    places: Places
    identity: Identity


class RowGroups:
    """The row groups of some files. Any number of threads may read at once, and copies in other processes.

    `limit` are the bytes of columns of files that each process keeps, and a quarter as much of others. Where files lie
    in a column as they are, as without compression, those of a row group that was read once are from then on read from
    their places, instead of the whole row group again.

    OSError where something can't be read; without an errno where a file is damaged, or another than it was.
    """

    def __init__(self, files: Sequence[ParquetFile], limit: int) -> None:
        self.files, self.limit = files, limit
        self.ends = np.cumsum([count for file in files for count in file.rows], dtype=np.int64)
        self._first_groups = np.cumsum([0, *(len(file.rows) for file in files)])
        self._own = _OfProcess(limit)

    def __reduce__(self) -> tuple[type["RowGroups"], tuple[Sequence[ParquetFile], int]]:
        return RowGroups, (self.files, self.limit)

    @property
    def num_rows(self) -> int:
        """The rows of all files."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def locate(self, number: int) -> tuple[Group, int]:
        """The row group of a row, by its number among all, and its number in that."""
        at = int(np.searchsorted(self.ends, number, side="right"))
        file = int(np.searchsorted(self._first_groups, at, side="right")) - 1
        group = Group(file, at - int(self._first_groups[file]))
        return group, number - (int(self.ends[at - 1]) if at else 0)

    def file(self, group: Group, column: str, row: int) -> memoryview | bytes | None:
        """The file in a row of a column that has such; None for null."""
        own = self._of_process
        encoded = own.files.known((group, column))
        if encoded is None and (placed := own.placed.get((group, column))) and (place := placed.places.of(row)):
            with self._open(group) as file:
                if file.identity == placed.identity:
                    return file.read_at(*place)
        if encoded is None:
            encoded = own.files.get((group, column), lambda: self._read_encoded(group, column))
        data: memoryview | None = encoded[row]
        own.given += 0 if data is None else len(data)
        return data

    def values(self, group: Group, column: str) -> Values:
        """The values of a column."""
        return self._of_process.values.get((group, column), lambda: self._read_values(group, column))

    @property
    def _of_process(self) -> "_OfProcess":
        """This process's: after a fork a lock of its parent's could be held for ever."""
        if self._own.pid != os.getpid():
            self._own = _OfProcess(self.limit)
        return self._own

    def _open(self, group: Group) -> RangeFile:
        file = self.files[group.file]
        return open_ranges(file.path, file.identity)

    def _read_values(self, group: Group, column: str) -> Values:
        path = self.files[group.file].path
        with self._open(group) as file:
            metadata = self._metadata(file, group.file)
            chunks = chunks_of(metadata, path, [group.number], column)
            return Values(read_column(Stream(file), path, metadata, chunks))

    def _read_encoded(self, group: Group, column: str) -> Encoded:
        """The files in a column; where they lie in their file is noted, where they do."""
        path, leaf = self.files[group.file].path, leaf_of(self.files[group.file].kinds[column])
        with self._open(group) as file:
            metadata = self._metadata(file, group.file)
            chunks = chunks_of(metadata, path, [group.number], f"{column}.{leaf}" if leaf else column)
            data = file.read_at(chunks.start, chunks.size)
            encoded = Encoded(read_column(Stream(file, data, chunks.start), path, metadata, chunks))
        if chunks.plain:
            self._of_process.placed[group, column] = _Placed(
                find_places(encoded, bytes(data), chunks.start), file.identity
            )
        self._of_process.note_reading(group, column, encoded.nbytes)
        return encoded

    def _metadata(self, file: RangeFile, number: int) -> Any:
        """pyarrow's, of an open file, which is to be the one that it was when the dataset was made."""

        def read() -> _Footer:
            metadata = read_checked_metadata(file, self.files[number])
            return _Footer(metadata, _IN_MEMORY * metadata.serialized_size)

        return self._of_process.footers.get((number, file.identity), read).metadata


class _OfProcess:
    """What one process keeps: columns and footers, and where the values of columns lie, by row group and column.

    Files and other values have caches of their own, since one column of files would push out all the labels; and so
    do footers, which are read while a column is made.
    """

    def __init__(self, limit: int) -> None:
        self.pid = os.getpid()
        self.files = _Cache(limit)
        self.values = _Cache(limit // 4)
        self.footers = _Cache(_FOOTERS)
        self.placed: dict[tuple[Group, str], _Placed] = {}
        self.given = 0  # bytes of files that were asked for
        self._again = 0  # bytes that were read once more for that
        self._once: set[tuple[Group, str]] = set()

    def note_reading(self, group: Group, column: str, size: int) -> None:
        """Warns, once, where far more is read, over and over, than is asked for."""
        self._again += size if (group, column) in self._once else 0
        self._once.add((group, column))
        if self._again > _MUCH and self._again > _TOO_OFTEN * self.given:
            self._again = -(1 << 62)
            warnings.warn(
                f"whole row groups are read again and again, {_TOO_OFTEN} bytes and more for each that is asked for: "
                "give the dataset more cache_bytes, shuffle by fd.Window(block_size=dataset.block_size, ...), or write "
                "the files with smaller row groups, or the column of images without compression",
                RuntimeWarning,
                stacklevel=2,
            )
