"""Rows of Parquet files: columns of row groups, read when they are needed and kept while there is room."""

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np

from fastdata.sources.columnar.arrow import Encoded, Values
from fastdata.sources.columnar.parquet import (
    AT_ONCE,
    ParquetFile,
    leaf_of,
    read_checked_metadata,
    read_column,
    read_whole_column,
)
from fastdata.sources.columnar.parquet_files import NumberedRows, common_classes, common_kinds
from fastdata.sources.columnar.verbatim import Places, find_places
from fastdata.sources.ranges import Data, Identity, RangeFile, Stream, open_ranges
from fastdata.sources.sized_cache import Cache

_MUCH: Final = 1 << 30
_TOO_OFTEN: Final = 8
_FOOTERS: Final = 1 << 25  # bytes of footers that a process keeps
_IN_MEMORY: Final = 16  # times a footer's bytes: what it takes when it is read
_AT_ONCE: Final = 4  # row groups of files, which may be large, that are read at a time
_SMALL_AT_ONCE: Final = 32


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

    def __init__(self, files: Sequence[ParquetFile], columns: Sequence[str], limit: int) -> None:
        self.files, self._columns, self._limit = files, columns, limit
        self.kinds = common_kinds(files, columns)
        self.classes = {name: common_classes(files, name) for name in columns}
        self.with_paths = frozenset.intersection(*(file.with_paths for file in files))
        self.ends = np.cumsum([count for file in files for count in file.rows], dtype=np.int64)
        self._first_groups = np.cumsum([0, *(len(file.rows) for file in files)])
        self._own = _OfProcess(limit, {})

    def __reduce__(self) -> tuple[type["RowGroups"], tuple[Sequence[ParquetFile], Sequence[str], int]]:
        return RowGroups, (self.files, self._columns, self._limit)

    @property
    def num_bytes(self) -> int:
        return sum(file.identity.size for file in self.files)

    @property
    def digest(self) -> bytes:
        """Of what files say of themselves, wherever they lie."""
        said = b"".join(file.digest + b"%d;" % file.identity.size for file in self.files)
        return blake2b(said, digest_size=16).digest()

    def where(self, number: int) -> str:
        group, row = self._locate(number)
        return f"{self.files[group.file].path}, row {row} of row group {group.number}"

    def numbered(self) -> NumberedRows:
        return NumberedRows(self.files)

    def whole(self, name: str) -> Iterator[Any]:
        with ThreadPoolExecutor(min(AT_ONCE, len(self.files))) as pool:
            yield from pool.map(partial(read_whole_column, name=name), self.files)

    def file(self, number: int, column: str) -> Data | None:
        (group, row), own = self._locate(number), self._of_process
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

    def values(self, number: int, column: str) -> tuple[Values, int]:
        group, row = self._locate(number)
        return self._of_process.values.get((group, column), lambda: self._read_values(group, column)), row

    def _locate(self, number: int) -> tuple[Group, int]:
        """The row group of a row, and its number in that."""
        at = int(np.searchsorted(self.ends, number, side="right"))
        file = int(np.searchsorted(self._first_groups, at, side="right")) - 1
        group = Group(file, at - int(self._first_groups[file]))
        return group, number - (int(self.ends[at - 1]) if at else 0)

    @property
    def _of_process(self) -> "_OfProcess":
        """This process's: after a fork a lock of its parent's could be held for ever."""
        if self._own.pid != os.getpid():
            self._own = _OfProcess(self._limit, self._own.placed)
        return self._own

    def _open(self, group: Group) -> RangeFile:
        file = self.files[group.file]
        return open_ranges(file.path, file.identity)

    def _read_values(self, group: Group, column: str) -> Values:
        path = self.files[group.file].path
        with self._open(group) as file:
            metadata = self._metadata(file, group.file)
            return Values(read_column(Stream(file), path, metadata, [group.number], column))

    def _read_encoded(self, group: Group, column: str) -> Encoded:
        """The files in a column; where they lie in their file is noted, where they do."""
        path, leaf = self.files[group.file].path, leaf_of(self.files[group.file].kinds[column])
        with self._open(group) as file:
            metadata, stream = self._metadata(file, group.file), Stream(file)
            name = f"{column}.{leaf}" if leaf else column
            encoded = Encoded(read_column(stream, path, metadata, [group.number], name))
            places = find_places(encoded, bytes(stream.last.data), stream.last.start)
        self._of_process.placed[group, column] = _Placed(places, file.identity)
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

    def __init__(self, limit: int, placed: dict[tuple[Group, str], _Placed]) -> None:
        self.pid, self.placed = os.getpid(), placed
        self.files = Cache(limit, _AT_ONCE)
        self.values = Cache(limit // 4, _SMALL_AT_ONCE)
        self.footers = Cache(_FOOTERS, _SMALL_AT_ONCE)
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
                "give the dataset more cache_bytes, shuffle by blocks (shuffle=fd.Window(streams=...)), or write "
                "the files with smaller row groups, or the column of images without compression",
                RuntimeWarning,
                stacklevel=2,
            )
