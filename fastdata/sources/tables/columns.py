"""The columns of a table's file: CSV, JSON lines or Parquet."""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from fastdata.sources.columnar.parquet import arrow_faults, pyarrow_parquet

Columns = dict[str, list[Any]]
"""The values of each column, by its name; None where there is none."""

# Only what is written back as it was read: "007" and "1e5" are names, not numbers.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+][0-9]+)?|nan")


class _File(NamedTuple):
    """A table's file, and what it is called in messages."""

    path: str
    name: str

    @property
    def kind(self) -> str:
        """What its name ends in, but for .gz."""
        return Path(self.path.lower().removesuffix(".gz")).suffix

    def open(self, newline: str | None = None) -> TextIO:
        if self.path.lower().endswith(".gz"):
            return gzip.open(self.path, "rt", encoding="utf-8-sig", newline=newline)
        return open(self.path, encoding="utf-8-sig", newline=newline)  # noqa: PTH123 -- the path may be any str


def read_columns(path: str, as_text: Collection[str] = (), names: Sequence[str] = (), called: str = "") -> Columns:
    """The columns of a .csv, .tsv, .jsonl or .parquet file, each as long as the table has rows; the first three may be
    compressed (.csv.gz).

    CSV has the columns' `names` in its first line, or they are given. One of its columns is of integers or numbers
    where all its cells are such, but for empty ones, which are None there; otherwise, and where `as_text` names it, it
    is text. `called` is what messages call the file, where that is not its path. FileNotFoundError where it is not
    there, ValueError that names file and line for what is no table, ImportError that says what to install for Parquet.
    """
    file = _File(path, called or path)
    if not Path(path).exists():
        raise FileNotFoundError(f"no table {file.name}: check the path")
    if names and file.kind not in (".csv", ".tsv"):
        raise ValueError(f"{file.name}: columns are named for a .csv or .tsv file; others name them themselves")
    match file.kind:
        case ".csv" | ".tsv":
            cells = _cells(file, names)
            return {name: list(column) if name in as_text else typed(column) for name, column in cells.items()}
        case ".jsonl" | ".ndjson":
            return _json_lines(file)
        case ".parquet":
            return _parquet(file)
        case _:
            raise ValueError(
                f"{file.name}: a table is a .csv, .tsv, .jsonl or .parquet file, not {file.kind or 'this'}"
            )


def read_cells(path: str) -> dict[str, list[str]]:
    """The columns of a .csv or .tsv file as text."""
    return _cells(_File(path, path), ())


def _cells(file: _File, given: Sequence[str]) -> dict[str, list[str]]:
    with file.open(newline="") as stream:
        rows = csv.reader(stream, delimiter="\t" if file.kind == ".tsv" else ",", strict=True)
        try:
            names = list(given) or next(rows, [])
            if not names or len(set(names)) != len(names):
                raise ValueError(f"{file.name}: its first line must name the columns, each once, got {names}")
            columns: list[list[str]] = [[] for _ in names]
            for row in rows:
                if not row:
                    continue  # an empty line
                if len(row) != len(names):
                    raise ValueError(
                        f"{file.name}, line {rows.line_num}: has {len(row)} cells where there are {len(names)} columns"
                    )
                for column, cell in zip(columns, row, strict=True):
                    column.append(cell)
        except csv.Error as error:
            raise ValueError(f"{file.name}, line {rows.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{file.name}: is not UTF-8 ({error})") from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{file.name}: is damaged, or cut short ({error})") from error
    return dict(zip(names, columns, strict=True))


def typed(cells: list[str]) -> list[Any]:
    """Cells of text as int or float where all that are not empty are such; empty ones are None then."""
    for pattern, kind in ((_INTEGER, int), (_NUMBER, float)):
        if any(cells) and all(not cell or pattern.fullmatch(cell) for cell in cells):
            return [kind(cell) if cell else None for cell in cells]
    return list(cells)


def _json_lines(file: _File) -> Columns:
    rows: list[dict[str, Any]] = []
    with file.open() as stream:
        try:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    rows.append(_json_row(file, number, line))
        except UnicodeDecodeError as error:
            raise ValueError(f"{file.name}: is not UTF-8 ({error})") from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{file.name}: is damaged, or cut short ({error})") from error
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _json_row(file: _File, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file.name}, line {number}: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{file.name}, line {number}: is no JSON object but a {type(row).__name__}")
    return row


def _parquet(file: _File) -> Columns:
    parquet = pyarrow_parquet(file.name)
    try:
        with arrow_faults(file.name):
            columns: Columns = parquet.ParquetFile(file.path).read().to_pydict()
    except OSError as error:
        if error.errno is not None:  # it can't be read
            raise
        raise ValueError(str(error)) from error
    return columns
