"""What a table's values become in a shard: class indexes, and JSON."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastdata.packing.table import ABSENT, TEXT_FORMATS, Column

_INDEX = re.compile(r"\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)  # JSON's, so '007' stays a text


def class_indexes(labels: Column) -> tuple[list[int], list[str]]:
    """The class index of each row, -1 where it is empty, and the classes' names, none where labels are indexes.

    Labels are indexes where all of them are; else all must be texts, names, which are numbered as sorted.
    ValueError for others, such as 1.0, -1 or true.
    """
    given = [label not in ("", None, ABSENT) for label in labels.values]
    there = [row for row, is_given in enumerate(given) if is_given]
    for row in there:
        if isinstance(labels.values[row], bool) or not isinstance(labels.values[row], str | int):
            _refuse(labels, row)
    texts = [str(label) if is_given else "" for label, is_given in zip(labels.values, given, strict=True)]
    others = [row for row in there if not _INDEX.fullmatch(texts[row])]
    if not others:
        return [int(text) if is_given else -1 for text, is_given in zip(texts, given, strict=True)], []
    names = all(isinstance(labels.values[row], str) for row in there)
    if not names or all(_is_number(texts[row]) for row in there):
        _refuse(labels, others[0])
    classes = sorted({texts[row] for row in there})
    index = {name: number for number, name in enumerate(classes)}
    return [index[text] if is_given else -1 for text, is_given in zip(texts, given, strict=True)], classes


def json_objects(fields: Sequence[Column]) -> list[bytes]:
    """A JSON object for each row, with the fields in this order; in ASCII, which every reader decodes.

    A row of JSON Lines that lacks a field has an object without it. ValueError for what JSON has no way to write.
    """
    parsed = [_parsed(field) for field in fields]
    objects = []
    for row in range(len(fields[0].values)):
        values = {
            field.name: column[row] for field, column in zip(fields, parsed, strict=True) if column[row] is not ABSENT
        }
        try:
            objects.append(json.dumps(values, allow_nan=False).encode("ascii"))
        except (TypeError, ValueError) as error:  # a date or NaN in Parquet
            fields[0].refuse(row, f"can't be written as JSON: {error}")
    return objects


def _parsed(field: Column) -> Sequence[Any]:
    """The values; of a format that has texts only they are numbers where the whole column is of numbers."""
    texts = field.values
    if Path(field.path).suffix.lower() not in TEXT_FORMATS:
        return texts
    if not any(texts) or not all(text == "" or _NUMBER.fullmatch(text) for text in texts):
        return texts
    return [json.loads(text) if text else None for text in texts]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse(labels: Column, row: int) -> None:
    problem = f"{labels.values[row]!r} in the column {labels.name!r} is no class"
    labels.refuse(row, f"{problem}: classes are indexes from 0, all of them, or names")
