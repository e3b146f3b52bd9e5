"""Classes, and further columns, from a table with a row for each image."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastdata.errors import PackError
from fastdata.packing.origins.join import join_rows
from fastdata.packing.origins.near import near
from fastdata.packing.origins.source import Missing, Source
from fastdata.packing.origins.values import Column, class_indexes, json_objects
from fastdata.sources.tables.columns import Columns, read_columns
from fastdata.sources.urls import is_remote

NO_LABELS = ""
"""In place of a column's name: the table's rows have no classes."""

_LABEL = "label"


@dataclass(frozen=True)
class Labels:
    """The table of labels at `path` (CSV, TSV, JSON Lines, Parquet), and its columns.

    `key` names the image: its path relative to the folder, with or without its extension (default: the first column).
    `label` is its class, as an index or as a name (default: the column 'label', if there is one). `fields` go into
    the sample's json. `names` are those of all columns, where a CSV's first line does not have them. The table may lie
    at a URL.
    """

    path: str | os.PathLike[str]
    key: str | None = None
    label: str | None = None
    fields: Sequence[str] = ()
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        path = os.fspath(self.path)
        object.__setattr__(self, "path", path if is_remote(path) else os.fspath(Path(path).expanduser()))
        object.__setattr__(self, "fields", tuple(self.fields))
        object.__setattr__(self, "names", tuple(self.names))
        if len(set(self.fields)) < len(self.fields):
            raise ValueError(f"the label fields must differ, not {', '.join(self.fields)}")

    def read(self) -> "LabelColumns":
        """The columns. ValueError where none would be packed, and as of `columns`."""
        found = self.columns()
        if found.labels is None and not found.fields:
            raise ValueError(
                f"{self.path} has no column {_LABEL!r} but {', '.join(found.all)}: say which holds the classes by "
                f"--label-column (label=), or which go into a json by --label-fields (fields=)"
            )
        return found

    def columns(self) -> "LabelColumns":
        """The columns, among them labels if there are any. ValueError where one is not there, or it is no table."""
        path = os.fspath(self.path)
        with near(path) as copy:
            key = self.key if self.key is not None else next(iter(self._read(copy, [])), "")
            columns = self._read(copy, [key])
        if not columns:
            raise ValueError(f"{path} is empty: a table of labels has a row for each image")
        label = self.label if self.label is not None else _LABEL if _LABEL in columns else None
        return LabelColumns(
            _column(path, columns, key),
            _column(path, columns, label) if label else None,
            [_column(path, columns, field) for field in self.fields],
            tuple(columns),
        )

    def _read(self, copy: str, as_text: Sequence[str]) -> Columns:
        return read_columns(copy, as_text, self.names, os.fspath(self.path))


@dataclass(frozen=True)
class LabelColumns:
    """What was read of a table: the images' names, their labels, and further columns; and the names of all."""

    names: Column
    labels: Column | None
    fields: Sequence[Column]
    all: Sequence[str]


def with_labels(source: Source, labels: Labels, missing: Missing = "error") -> Source:
    """The samples with class and json from their rows of the table.

    Classes are indexes where all labels in the table are integers; else they are names, and the sorted names of the
    whole table have the indexes from 0. Columns of a CSV are numbers where all their cells are, see `read_columns`.

    Raises PackError for an image without a row, a label or one of the fields, unless `missing` is "allow", and where no
    row is of any image; ValueError for two rows of one image, a label that is neither, and what is no such table.
    """
    table = labels.read()
    rows = join_rows(source.scan, table.names, missing)
    unused = len(table.names.values) - len(set(rows) - {-1})
    if unused:
        left_out = {**source.left_out, f"rows of {Path(labels.path).name} without an image": unused}
        source = dataclasses.replace(source, left_out=left_out)
    return with_rows(source, table, rows, missing)


def with_rows(source: Source, table: LabelColumns, rows: Sequence[int], missing: Missing) -> Source:
    """The samples with class and json from these rows of the table, -1 for one without; raises as `with_labels`."""
    if table.labels is not None:
        source = _with_classes(source, table.labels, rows, missing)
    return _with_json(source, table.fields, rows, missing) if table.fields else source


def _column(path: str, columns: dict[str, list[Any]], name: str) -> Column:
    if name not in columns:
        raise ValueError(f"{path} has no column {name!r}: it has {', '.join(columns)}")
    return Column(path, name, columns[name])


def _with_classes(source: Source, labels: Column, rows: Sequence[int], missing: Missing) -> Source:
    indexes, classes = class_indexes(labels)
    targets = np.array([indexes[row] if row >= 0 else -1 for row in rows], np.int64)
    source = _noted(source, labels, "cls", (target < 0 for target in targets.tolist()), missing)
    class_to_idx = {name: index for index, name in enumerate(classes)}
    scan = dataclasses.replace(source.scan, targets=targets, classes=classes, class_to_idx=class_to_idx)
    return dataclasses.replace(source, scan=scan)


def _with_json(source: Source, fields: Sequence[Column], rows: Sequence[int], missing: Missing) -> Source:
    for field in fields:
        absent = (row < 0 or field.values[row] is None for row in rows)
        source = _noted(source, field, f"column {field.name}", absent, missing)
    objects = json_objects(fields)
    return dataclasses.replace(source, columns=[objects[row] if row >= 0 else b"" for row in rows])


def _noted(source: Source, column: Column, what: str, absent: Iterable[bool], missing: Missing) -> Source:
    """The source that counts the samples without a value; PackError that names the first, unless that is allowed."""
    without = [i for i, lacks in enumerate(absent) if lacks]
    if not without:
        return source
    if missing == "error":
        raise PackError(
            f"{column.path} has nothing for {source.scan.paths[without[0]]} in its column {column.name!r} "
            f"({len(without)} of {len(source.scan)} images): add it, or say --missing-fields allow (missing='allow')"
        )
    return dataclasses.replace(source, lacking={**source.lacking, what: len(without)})
