"""Classes, and further columns, from a table with a row for each image."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastdata.errors import PackError
from fastdata.packing.join import join_rows
from fastdata.packing.source import Missing, Source
from fastdata.packing.table import ABSENT, Column, columns_of, rows_of
from fastdata.packing.values import class_indexes, json_objects

_LABEL = "label"


@dataclass(frozen=True)
class Labels:
    """The table of labels at `path` (CSV, TSV, JSON Lines, Parquet), and its columns.

    `key` names the image: its path relative to the folder, with or without its extension (default: the first column).
    `label` is its class, as an index or as a name (default: the column 'label', if there is one). `fields` go into
    the sample's json.
    """

    path: str | os.PathLike[str]
    key: str | None = None
    label: str | None = None
    fields: Sequence[str] = ()

    def resolved(self) -> "Labels":
        """The same with all columns named. ValueError where it is not clear which are meant, or none is packed."""
        there = columns_of(self.path)
        fields = tuple(self.fields)
        label = self.label if self.label is not None else _LABEL if _LABEL in there else None
        if label is None and not fields:
            raise ValueError(
                f"{self.path} has no column {_LABEL!r} but {', '.join(there)}: say which holds the classes by "
                f"--label-column (label=), or which go into a json by --label-fields (fields=)"
            )
        key = self.key if self.key is not None else there[0]
        for column in (key, *([] if label is None else [label]), *fields):
            if column not in there:
                raise ValueError(f"{self.path} has no column {column!r}: it has {', '.join(there)}")
        if len(set(fields)) < len(fields):
            raise ValueError(f"the label fields must differ, not {', '.join(fields)}")
        return Labels(self.path, key, label, fields)


def with_labels(source: Source, labels: Labels, missing: Missing = "error") -> Source:
    """The samples with class and json from their rows of the table.

    Classes are indexes where all labels in the table are integers; else they are names, and the sorted names of the
    whole table have the indexes from 0. A column of a CSV becomes numbers where all of it are (null where it is empty),
    else texts.

    Raises PackError for an image without a row, a label or one of the fields, unless `missing` is "allow", and where no
    row is of any image; ValueError for two rows of one image, a label that is neither, and what is no such table.
    """
    labels = labels.resolved()
    names = [name for name in (labels.key, labels.label, *labels.fields) if name is not None]
    lines, columns = _columns(labels.path, names)
    rows = join_rows(source.scan, Column(labels.path, names[0], lines, columns[0]), missing)
    unused = len(lines) - len(set(rows) - {-1})
    if unused:
        left_out = {**source.left_out, f"rows of {Path(labels.path).name} without an image": unused}
        source = dataclasses.replace(source, left_out=left_out)
    if labels.label is not None:
        source = _with_classes(source, Column(labels.path, labels.label, lines, columns[1]), rows, missing)
    fields = [
        Column(labels.path, name, lines, values)
        for name, values in zip(labels.fields, columns[len(names) - len(labels.fields) :], strict=True)
    ]
    return _with_json(source, fields, rows, missing) if fields else source


def _columns(path: str | os.PathLike[str], names: Sequence[str]) -> tuple[list[int], list[list[object]]]:
    """The rows' lines, and the values of each column."""
    lines: list[int] = []
    columns: list[list[object]] = [[] for _ in names]
    for line, values in rows_of(path, names):
        lines.append(line)
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return lines, columns


def _with_classes(source: Source, labels: Column, rows: Sequence[int], missing: Missing) -> Source:
    indexes, classes = class_indexes(labels)
    targets = np.array([indexes[row] if row >= 0 else -1 for row in rows], np.int64)
    source = _noted(source, labels, "cls", (target < 0 for target in targets.tolist()), missing)
    class_to_idx = {name: index for index, name in enumerate(classes)}
    scan = dataclasses.replace(source.scan, targets=targets, classes=classes, class_to_idx=class_to_idx)
    return dataclasses.replace(source, scan=scan)


def _with_json(source: Source, fields: Sequence[Column], rows: Sequence[int], missing: Missing) -> Source:
    for field in fields:
        absent = (row < 0 or field.values[row] is ABSENT for row in rows)
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
