"""What a table's values become in a shard: class indexes, and JSON."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from fastdata.sources.tables.columns import typed


class Column(NamedTuple):
    """A column of the table at `path`, with the value of each row, None where it is empty."""

    path: str
    name: str
    values: Sequence[Any]

    def refuse(self, row: int, problem: str) -> NoReturn:
        """Raises ValueError that names the file and the row, counted from 1."""
        raise ValueError(f"{self.path}, row {row + 1}: {problem}")


def class_indexes(labels: Column) -> tuple[list[int], list[str]]:
    """The class index of each row, -1 where it is empty, and the classes' names, none where labels are indexes.

    Labels are indexes where all of them are integers, or names where all are texts, which are numbered as sorted.
    ValueError for others, such as 1.0, -1 or true.
    """
    values = labels.values
    if all(isinstance(value, str) or value is None for value in values):
        values = typed([value or "" for value in values])  # digits in JSON's quotes are numbers, too
    given = [value is not None and value != "" for value in values]
    kind = next((type(value) for value, is_given in zip(values, given, strict=True) if is_given), int)
    for row, value in enumerate(values):
        if given[row] and (kind not in (int, str) or type(value) is not kind or (kind is int and value < 0)):
            problem = f"{value!r} in the column {labels.name!r} is no class"
            labels.refuse(row, f"{problem}: classes are indexes from 0, all of them, or names")
    if kind is int:
        return [value if is_given else -1 for value, is_given in zip(values, given, strict=True)], []
    classes = sorted({value for value, is_given in zip(values, given, strict=True) if is_given})
    index = {name: number for number, name in enumerate(classes)}
    return [index[value] if is_given else -1 for value, is_given in zip(values, given, strict=True)], classes


def json_objects(fields: Sequence[Column]) -> list[bytes]:
    """A JSON object for each row, with the fields in this order; in ASCII, which every reader decodes.

    ValueError for what JSON has no way to write, such as NaN.
    """
    objects = []
    for row, values in enumerate(zip(*(field.values for field in fields), strict=True)):
        named = {field.name: value for field, value in zip(fields, values, strict=True)}
        try:
            objects.append(json.dumps(named, allow_nan=False).encode("ascii"))
        except (TypeError, ValueError) as error:  # a date in Parquet, NaN in any
            fields[0].refuse(row, f"can't be written as JSON: {error}")
    return objects
