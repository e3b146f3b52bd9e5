"""Tables are read as they are, or the error names file and line."""

import json
from pathlib import Path
from typing import Any

import pytest

from fastdata.packing.table import ABSENT, columns_of, rows_of


def table(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def values(path: Path, *columns: str) -> list[tuple[Any, ...]]:
    return [row.values for row in rows_of(path, columns)]


def test_a_csv_is_texts_by_column(tmp_path: Path) -> None:
    path = table(tmp_path, "a.csv", '\ufefffile,caption,n\r\n1.jpg,"a, ""b""\nc",3\r\n\r\n2.jpg,,\r\n')
    assert columns_of(path) == ("file", "caption", "n")
    assert values(path, "n", "caption") == [("3", 'a, "b"\nc'), ("", "")]
    assert [row.line for row in rows_of(path, ["file"])] == [3, 5]


def test_a_tsv_is_split_at_tabs(tmp_path: Path) -> None:
    assert values(table(tmp_path, "a.TSV", "file\tn\na,b\t1\n"), "file") == [("a,b",)]


def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    path = table(tmp_path, "a.jsonl", '{"file": "1.jpg", "n": 3}\n\n{"n": null, "file": "2.jpg", "more": [1]}\n')
    assert columns_of(path) == ("file", "n")
    assert values(path, "n", "more") == [(3, ABSENT), (None, [1])]
    assert [row.line for row in rows_of(path, ["file"])] == [1, 3]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"file": ["1.jpg", "2.jpg"], "n": [3, None], "v": [[1.5], []]}), path)
    assert columns_of(path) == ("file", "n", "v")
    assert values(path, "v", "file", "n") == [([1.5], "1.jpg", 3), ([], "2.jpg", None)]
    with pytest.raises(ValueError, match=r"b\.parquet is no Parquet file"):
        columns_of(table(tmp_path, "b.parquet", "file,label\n"))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match="pip install pyarrow, or write the table as CSV"):
        columns_of(table(tmp_path, "a.parquet", "PAR1"))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", "", r"a\.csv is empty"),
        ("a.csv", "file,n\n1,2\n1,2,3\n", r"a\.csv, line 3: has 3 fields where the header has 2"),
        ("a.csv", "file,n\n1\n", r"line 2: has 1 fields"),
        ("a.csv", "n,file,n\n", r"line 1: has the column 'n' twice"),
        ("a.csv", b"file,n\n1,\xff\n", r"a\.csv, after line \d: is not UTF-8"),
        ("a.csv", 'file,n\n1,"2\n', r"a\.csv, line \d: "),
        ("a.csv", 'file,n\n1,"2"3\n', r"a\.csv, line 2: ',' expected"),
        ("a.csv", "n\n" + "x" * 200_000, r"a\.csv, line 2: field larger than"),
        ("a.csv", "file\n1\n", r"a\.csv has no column 'n': it has file"),
        ("a.jsonl", "", r"a\.jsonl is empty"),
        ("a.jsonl", '{"n": 1}\n{n: 1}', r"a\.jsonl, line 2: is no JSON"),
        ("a.jsonl", "[1]", r"line 1: holds no JSON object but a list"),
        ("a.jsonl", '{"n": NaN}', r"line 1: is no JSON: NaN is none"),
        ("a.jsonl", b'{"n": "\xff"}', r"line 1: is no JSON"),
        ("a.jsonl", "[" * 100_000, r"line 1: is (nested too deeply|no JSON)"),
        ("a.xlsx", "", r"must end in one of \.csv, \.tsv, \.jsonl, \.ndjson, \.parquet"),
    ],
)
def test_what_is_no_table_is_named_with_its_line(tmp_path: Path, name: str, content: str | bytes, problem: str) -> None:
    path = table(tmp_path, name, content)
    with pytest.raises(ValueError, match=problem):
        list(rows_of(path, ["n"]))


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no table .*a\.csv: check the path"):
        columns_of(tmp_path / "a.csv")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(ValueError, match="no regular file"):
        columns_of(tmp_path / "b.csv")


def test_rows_are_read_one_by_one(tmp_path: Path) -> None:
    path = table(tmp_path, "a.jsonl", json.dumps({"n": 1}) + "\nnonsense")
    assert next(iter(rows_of(path, ["n"]))).values == (1,)
