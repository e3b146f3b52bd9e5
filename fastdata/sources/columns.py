"""The columns of a table's file: CSV, JSON lines or Parquet."""

import csv
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fastdata.sources.parquet import arrow_faults, pyarrow_parquet

Columns = dict[str, list[Any]]
"""The values of each column, by its name; None where there is none."""

# Only what is written back as it was read: "007" and "1e5" are names, not numbers.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+][0-9]+)?|nan")


def read_columns(path: str, as_text: Collection[str] = ()) -> Columns:
    """The columns of a .csv, .tsv, .jsonl or .parquet file, each as long as the table has rows.

    CSV has the columns' names in its first line. One of its columns is of integers or numbers where all its cells are
    such, but for empty ones, which are None there; otherwise, and where `as_text` names it, it is text. ValueError
    that names file and line for what is no table, ImportError that says what to install for Parquet.
    """
    suffix = Path(path).suffix.lower()
    match suffix:
        case ".csv" | ".tsv":
            cells = read_cells(path)
            return {name: list(column) if name in as_text else typed(column) for name, column in cells.items()}
        case ".jsonl" | ".ndjson":
            return _json_lines(path)
        case ".parquet":
            return _parquet(path)
        case _:
            raise ValueError(f"{path}: a table is a .csv, .tsv, .jsonl or .parquet file, not {suffix or 'this'}")


def read_cells(path: str) -> dict[str, list[str]]:
    """The columns of a .csv or .tsv file as text."""
    with open(path, encoding="utf-8-sig", newline="") as file:  # noqa: PTH123 -- the path may be any str
        rows = csv.reader(file, delimiter="\t" if path.lower().endswith(".tsv") else ",", strict=True)
        try:
            names = next(rows, [])
            if not names or len(set(names)) != len(names):
                raise ValueError(f"{path}: its first line must name the columns, each once, got {names}")
            columns: list[list[str]] = [[] for _ in names]
            for row in rows:
                if not row:
                    continue  # an empty line
                if len(row) != len(names):
                    raise ValueError(
                        f"{path}, line {rows.line_num}: has {len(row)} cells where there are {len(names)} columns"
                    )
                for column, cell in zip(columns, row, strict=True):
                    column.append(cell)
        except csv.Error as error:
            raise ValueError(f"{path}, line {rows.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: is not UTF-8 ({error})") from error
    return dict(zip(names, columns, strict=True))


def typed(cells: list[str]) -> list[Any]:
    """Cells of text as int or float where all that are not empty are such; empty ones are None then."""
    for pattern, kind in ((_INTEGER, int), (_NUMBER, float)):
        if any(cells) and all(not cell or pattern.fullmatch(cell) for cell in cells):
            return [kind(cell) if cell else None for cell in cells]
    return list(cells)


def _json_lines(path: str) -> Columns:
    rows: list[dict[str, Any]] = []
    with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123 -- as above
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    rows.append(_json_row(path, number, line))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: is not UTF-8 ({error})") from error
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _json_row(path: str, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}, line {number}: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{path}, line {number}: is no JSON object but a {type(row).__name__}")
    return row


def _parquet(path: str) -> Columns:
    parquet = pyarrow_parquet(path)
    try:
        with arrow_faults(path):
            columns: Columns = parquet.ParquetFile(path).read().to_pydict()
    except OSError as error:
        if error.errno is not None:  # it can't be read
            raise
        raise ValueError(str(error)) from error
    return columns
