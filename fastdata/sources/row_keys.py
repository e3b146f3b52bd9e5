"""The keys of Parquet files' rows."""

from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import blake2b
from itertools import accumulate, chain
from pathlib import PurePosixPath
from typing import Any, overload

from fastdata.sources.arrow import PATH, Kind
from fastdata.sources.parquet import AT_ONCE, KEY, ParquetFile, read_whole_column
from fastdata.sources.paths import Paths, groups_of_equals, keys_of


class NumberedRows(Sequence[str]):
    """Keys of rows that have none: `<file's name without extension>/<row>`.

    ValueError where files of several folders have one name.
    """

    def __init__(self, files: Sequence[ParquetFile]) -> None:
        self.names = [PurePosixPath(file.path).stem for file in files]
        self._ends = list(accumulate(file.num_rows for file in files))
        for first, second, *_ in groups_of_equals(lambda: self.names):
            raise ValueError(
                f"{files[first].path} and {files[second].path} have one name, of which the keys of their rows would "
                "be made: say key=, a column of keys, or rename one of them"
            )

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = range(len(self))[index]
        file = bisect_right(self._ends, number)
        return f"{self.names[file]}/{number - (self._ends[file - 1] if file else 0)}"


def keys_of_rows(files: Sequence[ParquetFile], image: str, key: str | None) -> Sequence[str]:
    """The key of every row: of the column `key`, or of `__key__` where there is one; else of the images' paths.

    A path is a key as a file's is in a folder. Where rows have no paths, or several one, their keys are those of
    `NumberedRows`. ValueError for a column of keys that is none, and for a key that is there twice.
    """
    column = KEY if key is None and KEY in files[0].kinds else key
    if column is not None:
        return _checked(files, column)
    if all(image in file.with_paths for file in files):
        paths = Paths.of(path or "" for path in chain.from_iterable(_columns(files, f"{image}.{PATH}")))
        if len(paths) and (paths.offsets[1:] > paths.offsets[:-1]).all():
            try:
                return keys_of(paths)
            except ValueError:
                pass  # several rows have one path
    return NumberedRows(files)


def digest_of(keys: Sequence[str]) -> bytes:
    """What tells these keys from others."""
    digest = blake2b(digest_size=16)
    for key in keys:
        digest.update(key.encode("utf-8", "surrogateescape") + b"\0")
    return digest.digest()


def _checked(files: Sequence[ParquetFile], column: str) -> Paths:
    for file in files:
        if file.kinds.get(column) not in (Kind.TEXT, Kind.INT):
            has = f"has {file.kinds[column].value}" if column in file.kinds else "is missing"
            raise ValueError(f"{file.path}: keys are text or integers, and its column {column!r} {has}")
    keys = Paths.of(chain.from_iterable(map(partial(_as_text, column), files, _columns(files, column))))
    for first, second, *_ in groups_of_equals(lambda: keys):
        one, other = _place(files, first), _place(files, second)
        raise ValueError(f"{one} and {other} share the key {keys[first]!r} in their column {column!r}: remove one")
    return keys


def _as_text(column: str, file: ParquetFile, values: list[Any]) -> list[str]:
    for row, value in enumerate(values):
        if value is None or value == "":
            raise ValueError(f"{file.path}, row {row}: has no key in its column {column!r}")
    return list(map(str, values))


def _columns(files: Sequence[ParquetFile], name: str) -> Any:
    """A column's values in each file, of some files at a time."""
    with ThreadPoolExecutor(min(AT_ONCE, len(files))) as pool:
        return [column.to_pylist() for column in pool.map(partial(read_whole_column, name=name), files)]


def _place(files: Sequence[ParquetFile], number: int) -> str:
    ends = list(accumulate(file.num_rows for file in files))
    file = bisect_right(ends, number)
    return f"{files[file].path}, row {number - (ends[file - 1] if file else 0)}"
