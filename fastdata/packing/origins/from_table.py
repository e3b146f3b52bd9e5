"""A table as what is packed: the images that it names, in its order, with its classes and columns."""

import os
import reprlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from fastdata.packing.origins.beside import with_fields
from fastdata.packing.origins.from_url_table import are_urls, collect_urls
from fastdata.packing.origins.labels import Labels, with_rows
from fastdata.packing.origins.source import Missing, Source
from fastdata.packing.origins.values import Column
from fastdata.sources.folder import FolderScan, refuse_links_out
from fastdata.sources.paths import Paths, keys_of
from fastdata.sources.urls import is_remote, local_folder

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".ndjson.gz")
"""What the names of tables end in."""


def collect_table(
    table: Labels,
    root: str | os.PathLike[str] | None = None,
    fields: Iterable[str] = (),
    missing: Missing = "error",
    *,
    follow_links: bool = True,
) -> Source:
    """The images that a table names, a row each, for `pack`; its order is theirs.

    The table's key column has the images' paths: below `root` (default: the table's folder), or absolute and in it; or
    URLs, see `collect_urls`. Its label column, if there is one, has their classes, and its `fields` go into a json, see
    `with_labels`. `fields` here are extensions of what lies beside the images, see `with_fields`.

    Raises what these raise, and ValueError that names the row for a path that is there twice, or leaves `root`, and for
    fields of what lies at URLs.
    """
    columns = table.columns()
    if not columns.names.values:
        raise ValueError(f"{table.path} has no rows: nothing to pack")
    where = os.fspath(root) if root is not None else None
    beside = os.fspath(table.path).rpartition("/")[0]
    if are_urls(columns.names, where or beside):
        if list(fields):
            raise ValueError(
                "--fields (fields=) are for folders: of URLs in a table nobody knows what lies beside them"
            )
        is_path = not is_remote(str(columns.names.values[0]))
        return collect_urls(columns, where or (beside if is_path else None), missing)
    base = str(local_folder(root) if root is not None else Path(table.path).parent)
    paths = Paths.of(_below(base, columns.names))
    if not follow_links:
        refuse_links_out(base, paths)
    scan = FolderScan(base, paths, np.full(len(paths), -1, np.int64), [], {}, keys_of(paths))
    source = with_fields(scan, fields, missing, follow_links=follow_links)
    if len(source.scan) != len(scan):
        less = len(scan) - len(source.scan)
        raise ValueError(f"{table.path}: {less} rows name files of the fields {', '.join(fields)}: leave them out")
    return with_rows(source, columns, range(len(scan)), missing)


def _below(base: str, names: Column) -> Iterator[str]:
    """The paths below `base`, as the table's rows name them."""
    rows: dict[str, int] = {}
    whole = os.path.abspath(base)  # noqa: PTH100 -- without its '..', as which absolute paths have none
    for row, value in enumerate(names.values):
        if not isinstance(value, str) or not value:
            names.refuse(row, f"the column {names.name!r} names no image: it holds {reprlib.repr(value)}")
        if is_remote(value):
            names.refuse(row, f"{value!r} is a URL, and {names.values[0]!r} is none: pack these by themselves")
        path = value.removeprefix("./")
        if path.startswith("/"):
            if not path.startswith(f"{whole}/"):
                names.refuse(row, f"{value!r} is not in {whole}: say by --root (root=) where images are")
            path = path[len(whole) + 1 :]
        if {"", ".", ".."} & set(path.split("/")) or "\0" in path:
            names.refuse(row, f"{value!r} is no plain path below {base}: '..', '.' and '//' are not followed")
        if (first := rows.setdefault(path, row)) != row:
            names.refuse(row, f"{value!r} again, after row {first + 1}: remove one of these rows")
        yield path
