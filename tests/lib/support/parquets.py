"""Parquet files of images, as Hugging Face's datasets write them and as others do."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class Row(NamedTuple):
    """An image's file, its label, and the path that it came from."""

    data: bytes | None
    label: Any
    path: str | None = None


def features(**columns: Sequence[str]) -> dict[bytes, bytes]:
    """The metadata of a schema that Hugging Face's datasets write, with the names of the classes in some columns."""
    of_labels = {name: {"names": list(names), "_type": "ClassLabel"} for name, names in columns.items()}
    return {b"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}, **of_labels}}}).encode()}


def write_parquet(path: Path, rows: Sequence[Row], plain: bool = False, **how: Any) -> Path:
    """The rows in columns `image` and `label`; with `plain` the images' bytes alone, without their paths."""
    images = [row.data if plain else {"bytes": row.data, "path": row.path} for row in rows]
    columns = {"image": pa.array(images, pa.binary() if plain else IMAGE), "label": pa.array([r.label for r in rows])}
    return write_columns(path, columns, **how)


def write_columns(path: Path, columns: dict[str, Any], metadata: dict[bytes, bytes] | None = None, **how: Any) -> Path:
    """A file of these columns."""
    table = pa.table(columns).replace_schema_metadata(metadata)
    parquet.write_table(table, path, **{"row_group_size": 4} | how)
    return path
