"""The rows of a table: CSV, TSV, JSON Lines, or Parquet where pyarrow is installed."""

import csv
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

ABSENT: Final = object()
"""The value of a column that a row of JSON Lines lacks."""

TEXT_FORMATS: Final = (".csv", ".tsv")
"""Extensions of tables whose values are texts."""

_JSON_FORMATS = (".jsonl", ".ndjson")
_FORMATS = (*TEXT_FORMATS, *_JSON_FORMATS, ".parquet")


class Row(NamedTuple):
    """A row's values of some columns, and its line in the file (of Parquet its number, from 1)."""

    line: int
    values: tuple[Any, ...]


class Column(NamedTuple):
    """A column of the table at `path`: its rows' values, and the lines that these stand in."""

    path: str | os.PathLike[str]
    name: str
    lines: Sequence[int]
    values: Sequence[Any]

    def refuse(self, row: int, problem: str) -> NoReturn:
        """Raises ValueError that names the file and the row's line."""
        _refuse(self.path, self.lines[row], problem)


def columns_of(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names of a table's columns, of JSON Lines those in its first row. Raises as `rows_of`."""
    file = _checked(path)
    match file.suffix.lower():
        case ".csv" | ".tsv":
            return next(_lines_of_csv(file))[1]
        case ".parquet":
            return tuple(_parquet(file).schema_arrow.names)
    first = next(_lines_of_json(file), None)
    if first is None:
        raise ValueError(f"{file} is empty: a table has a row for each sample")
    return tuple(first[1])


def rows_of(path: str | os.PathLike[str], columns: Sequence[str]) -> Iterator[Row]:
    """The rows' values of these columns, in order: texts from CSV, what it holds from the others.

    A row of JSON Lines may lack a column: its value is ABSENT.

    The format is the path's extension. ValueError that names file and line for what is no such table, or has no such
    column, ImportError for Parquet without pyarrow, OSError for a file that can't be read.
    """
    file = _checked(path)
    there = columns_of(file)
    jsonl = file.suffix.lower() in _JSON_FORMATS
    for column in columns:
        if column not in there and not jsonl:
            raise ValueError(f"{file} has no column {column!r}: it has {', '.join(there)}")
    match file.suffix.lower():
        case ".csv" | ".tsv":
            places = [there.index(column) for column in columns]
            for line, row in itertools.islice(_lines_of_csv(file), 1, None):
                yield Row(line, tuple(row[place] for place in places))
        case ".parquet":
            yield from _rows_of_parquet(file, columns)
        case _:
            for line, document in _lines_of_json(file):
                yield Row(line, tuple(document.get(column, ABSENT) for column in columns))


def _checked(path: str | os.PathLike[str]) -> Path:
    file = Path(path).expanduser()
    if file.suffix.lower() not in _FORMATS:
        raise ValueError(f"{file} is no table that can be read: its name must end in one of {', '.join(_FORMATS)}")
    if not file.exists():
        raise FileNotFoundError(f"no table {file}: check the path")
    if not file.is_file():
        raise ValueError(f"{file} is no regular file: give a table")
    return file


def _lines_of_csv(file: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Its rows with their lines, the header first; blank lines are none. All have as many fields as the header."""
    width = 0
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    with file.open(encoding="utf-8-sig", newline="") as stream:  # spreadsheets begin UTF-8 with a byte order mark
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                if not row:
                    continue
                width = width or _width_of(file, row)
                if len(row) != width:
                    problem = f"has {len(row)} fields where the header has {width}: quote fields with {delimiter!r}"
                    _refuse(file, reader.line_num, problem)
                yield reader.line_num, tuple(row)
        except csv.Error as error:
            _refuse(file, reader.line_num, str(error))
        except UnicodeDecodeError as error:  # in some line after this one: text is decoded some kilobytes ahead
            raise ValueError(f"{file}, after line {reader.line_num}: is not UTF-8 ({error}): save it as such") from None
    if not width:
        raise ValueError(f"{file} is empty: a table begins with the names of its columns")


def _width_of(file: Path, header: Sequence[str]) -> int:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        _refuse(file, 1, f"has the column {twice!r} twice")
    return len(header)


def _lines_of_json(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Its objects with their lines; blank lines are none."""
    with file.open("rb") as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            try:
                document = json.loads(text, parse_constant=_refuse_constant)
            except RecursionError:
                _refuse(file, line, "is nested too deeply")
            except ValueError as error:
                _refuse(file, line, f"is no JSON: {error}")
            if not isinstance(document, dict):
                _refuse(file, line, f"holds no JSON object but a {type(document).__name__}")
            yield line, document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is none of its numbers: write null")


def _rows_of_parquet(file: Path, columns: Sequence[str]) -> Iterator[Row]:
    line = 0
    for batch in _parquet(file).iter_batches(columns=list(dict.fromkeys(columns))):
        for values in zip(*(batch.column(column).to_pylist() for column in columns), strict=True):
            line += 1
            yield Row(line, values)


def _parquet(file: Path) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ImportError(
            f"{file}: Parquet is read by pyarrow: pip install pyarrow, or write the table as CSV"
        ) from error
    try:
        return ParquetFile(file)
    except ArrowException as error:
        raise ValueError(f"{file} is no Parquet file: {error}") from error


def _refuse(file: str | os.PathLike[str], line: int, problem: str) -> NoReturn:
    raise ValueError(f"{file}, line {line}: {problem}")
