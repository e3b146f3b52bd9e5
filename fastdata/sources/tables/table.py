"""A table beside the images: labels, captions, splits, by key or path."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from fastdata.sample import Fields
from fastdata.sources.node.cache import local
from fastdata.sources.tables.columns import Columns, read_columns
from fastdata.sources.tables.join import Missing

Where = Mapping[str, Any] | Callable[[dict[str, Any]], bool]


@dataclass(frozen=True)
class Table:
    """A table of a .csv, .tsv, .jsonl or .parquet file, whose rows join samples by key: labels, captions, splits.

    The column `key` has the samples' keys or the images' paths, with or without extension; `prefix` is put before
    each. `target` is a column, or a list of them: targets are dicts then. Numbers are int and float, anything else is
    as it is in the file; with `classes` the target's column holds names, of which the targets are the places there.

    `where` says which rows count, by their columns' values ({"split": "train", "fold": [0, 1]}) or by a function of a
    row (a dict; where workers are spawned, a function that can be pickled): the samples of the others are left out. A
    sample without a row is an error, or left out where `missing` is "drop". A dataset counts in its `left_out` which
    samples, and which rows, were not used.
    """

    path: str | os.PathLike[str]
    key: str
    target: str | Sequence[str]
    where: Where | None = None
    missing: Missing = "error"
    prefix: str = ""
    classes: Sequence[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))
        check_missing("Table", self.missing)
        if not isinstance(self.target, str):
            object.__setattr__(self, "target", tuple(self.target))
            if not self.target or len(set(self.target)) != len(self.target):
                raise ValueError(f"Table: target must name one or more columns, each once, got {self.target}")
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))
            if not isinstance(self.target, str):
                raise ValueError("Table: classes are the names of one target, so target must be one column")

    def read(self) -> "TableRows":
        """Its rows. ValueError or OSError where the file does not have what this names."""
        path = local(os.fspath(self.path))
        columns = read_columns(path, as_text=[self.key])
        names = _names(path, columns, self.key)
        wanted = _wanted(path, columns, self.where, len(names))
        targets = [self.target] if isinstance(self.target, str) else self.target
        values = {}
        for name in targets:
            column = _column(path, columns, name)
            _refuse_gaps(path, name, column, wanted)
            values[name] = _places(path, name, column, wanted, self.classes) if self.classes else _compact(column)
        one = isinstance(self.target, str)
        return TableRows(path, [self.prefix + name for name in names], wanted, self.missing, values, one)


@dataclass(frozen=True, eq=False)
class TableRows:
    """A table as it was read; `values` are its target columns, lists or int64 or float64 arrays."""

    path: str
    names: Sequence[str]
    wanted: npt.NDArray[np.bool_]
    missing: Missing
    values: Mapping[str, Any]
    one: bool

    def value(self, row: int) -> Any:
        """The target of a row."""
        if self.one:
            (column,) = self.values.values()
            return _plain(column[row])
        return Fields({name: _plain(column[row]) for name, column in self.values.items()})


def check_missing(name: str, missing: str) -> None:
    """ValueError where this does not say what becomes of samples without a row."""
    if missing not in get_args(Missing):
        raise ValueError(f"{name}: missing must be 'error' or 'drop', got {missing!r}")


def _column(path: str, columns: Columns, name: str) -> list[Any]:
    if name not in columns:
        raise ValueError(f"{path} has no column {name!r}, but {', '.join(map(repr, columns))}")
    return columns[name]


def _names(path: str, columns: Columns, key: str) -> list[str]:
    names = _column(path, columns, key)
    for row, name in enumerate(names, start=1):
        if name in (None, ""):
            raise ValueError(f"{path}, row {row}: has no key in its column {key!r}")
    return [name if isinstance(name, str) else str(name) for name in names]


def _wanted(path: str, columns: Columns, where: Where | None, count: int) -> npt.NDArray[np.bool_]:
    if where is None:
        return np.ones(count, np.bool_)
    if callable(where):
        rows = ({name: column[row] for name, column in columns.items()} for row in range(count))
        return np.fromiter((bool(where(row)) for row in rows), np.bool_, count)
    wanted = np.ones(count, np.bool_)
    for name, value in where.items():
        values = value if isinstance(value, list | tuple | set | frozenset | range) else [value]
        wanted &= np.fromiter((cell in values for cell in _column(path, columns, name)), np.bool_, count)
    return wanted


def _refuse_gaps(path: str, name: str, column: list[Any], wanted: npt.NDArray[np.bool_]) -> None:
    for row, value in enumerate(column):
        if value is None and wanted[row]:
            raise ValueError(
                f"{path}, row {row + 1}: its column {name!r} is empty: fill it in, or leave the row out by where="
            )


def _places(
    path: str, name: str, column: list[Any], wanted: npt.NDArray[np.bool_], classes: Sequence[str]
) -> npt.NDArray[np.int64]:
    places = {label: place for place, label in enumerate(classes)}
    for row, label in enumerate(column):
        if wanted[row] and label not in places:
            raise ValueError(
                f"{path}, row {row + 1}: {label!r} in its column {name!r} is none of the {len(places)} classes"
            )
    return np.array([places.get(label, -1) for label in column], np.int64)


def _compact(column: list[Any]) -> "list[Any] | npt.NDArray[np.int64] | npt.NDArray[np.float64]":
    """Numbers in an array, so that workers share their memory. Gaps are of rows that nobody wants."""
    kinds = {type(value) for value in column if value is not None}
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in column):
        return np.array([value or 0 for value in column], np.int64)
    if kinds in ({float}, {int, float}):
        return np.array([np.nan if value is None else value for value in column], np.float64)
    return column


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
