"""What several Parquet files have in common, and the keys of their rows where they have none."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, product
from pathlib import PurePosixPath
from typing import overload

import numpy as np

from fastdata.sources.columnar.arrow import Kind
from fastdata.sources.columnar.parquet import KEY, ParquetFile
from fastdata.sources.paths import groups_of_equals


class NumberedRows(Sequence[str]):
    """Keys of rows that have none: `<file's name without extension>/<row>`.

    ValueError where files of several folders have one name.
    """

    def __init__(self, files: Sequence[ParquetFile]) -> None:
        self._names = [PurePosixPath(file.path).stem for file in files]
        self._ends = list(accumulate(file.num_rows for file in files))
        for first, second, *_ in groups_of_equals(lambda: self._names):
            raise ValueError(
                f"{files[first].path} and {files[second].path} have one name, of which the keys of their rows would "
                "be made: say key=, a column of keys, or rename one of them"
            )

    def __len__(self) -> int:
        return self._ends[-1]

    def __iter__(self) -> Iterator[str]:
        for name, count in zip(self._names, np.diff(self._ends, prepend=0).tolist(), strict=True):
            yield from (f"{name}/{row}" for row in range(count))

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = range(len(self))[index]
        file = bisect_right(self._ends, number)
        return f"{self._names[file]}/{number - (self._ends[file - 1] if file else 0)}"


def common_kinds(files: Sequence[ParquetFile], columns: Sequence[str]) -> Mapping[str, Kind]:
    """What is in columns of all files, and in that of keys. ValueError where one has something else than the first."""
    if any(KEY in file.kinds for file in files):
        columns = [*columns, KEY]
    for file, column in product(files, columns):
        if file.kinds.get(column) is not files[0].kinds.get(column):
            raise ValueError(
                f"{file.path}: its column {column!r} {_has(file, column)}, and that of {files[0].path} "
                f"{_has(files[0], column)}"
            )
    return {column: files[0].kinds[column] for column in columns}


def _has(file: ParquetFile, column: str) -> str:
    return f"has {file.kinds[column].value}" if column in file.kinds else "is missing"


def common_classes(files: Sequence[ParquetFile], column: str) -> Sequence[str]:
    """The names of a column's classes, where it has such. ValueError where files have different ones."""
    for file in files:
        if file.classes.get(column) != files[0].classes.get(column):
            raise ValueError(
                f"{file.path} has other classes in its column {column!r} than {files[0].path}: their numbers would "
                "mean two things"
            )
    return files[0].classes.get(column, ())
