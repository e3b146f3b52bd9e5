"""Tables of CSV, JSON lines and Parquet, and how their rows find the samples."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.sample import Fields, key_hash
from fastdata.sources.tables.columns import read_columns, typed
from fastdata.sources.tables.join import Join, join
from fastdata.sources.tables.table import Table

ROWS = [
    {"file": "a/1.jpg", "label": 3, "score": 0.5, "split": "train", "caption": "one, two"},
    {"file": "a/2.jpg", "label": 4, "score": 1.5, "split": "val", "caption": 'a "b"'},
    {"file": "b/3.jpg", "label": 5, "score": 2.0, "split": "train", "caption": "ü"},
]


def csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def as_csv(folder: Path) -> Path:
    lines = ["file,label,score,split,caption"]
    for row in ROWS:
        quoted = str(row["caption"]).replace('"', '""')
        lines.append(f'{row["file"]},{row["label"]},{row["score"]},{row["split"]},"{quoted}"')
    return csv(folder / "t.csv", "\ufeff" + "\r\n".join(lines) + "\r\n\r\n")


def as_tsv(folder: Path) -> Path:
    lines = ["\t".join(ROWS[0])] + ["\t".join(str(v).replace('"', '""') for v in row.values()) for row in ROWS]
    return csv(folder / "t.tsv", "\n".join(lines).replace('a ""b""', '"a ""b"""'))


def as_jsonl(folder: Path) -> Path:
    return csv(folder / "t.jsonl", "\n\n".join(map(json.dumps, ROWS)))


def as_parquet(folder: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "t.parquet")
    return folder / "t.parquet"


@pytest.mark.parametrize("write", [as_csv, as_tsv, as_jsonl, as_parquet])
def test_a_table_is_the_same_in_each_format(write: Any, tmp_path: Path) -> None:
    path = write(tmp_path)
    assert read_columns(str(path)) == {name: [row[name] for row in ROWS] for name in ROWS[0]}
    rows = Table(path, "file", ["label", "score", "caption"]).read()
    value = rows.value(1)
    assert isinstance(value, Fields)
    assert value == {"label": 4, "score": 1.5, "caption": 'a "b"'}
    assert [type(each) for each in value.values()] == [int, float, str]
    assert Table(path, "file", "label").read().value(2) == 5


def test_a_column_is_of_numbers_only_where_they_are_written_back_as_they_are() -> None:
    assert typed(["1", "-20", "0"]) == [1, -20, 0]
    assert typed(["1", "", "2.5"]) == [1.0, None, 2.5]
    assert typed(["1e-05", "2", "nan"])[:2] == [1e-05, 2.0]
    for names in (["007", "1"], ["1e5"], ["+1"], ["1_000"], ["1", "x"], ["", ""], ["١"], [" 1"], ["inf"]):
        assert typed(names) == names


@given(st.lists(st.integers(-(10**18) + 1, 10**18 - 1) | st.none()))
def test_integers_survive(numbers: list[int | None]) -> None:
    read = typed(["" if number is None else str(number) for number in numbers])
    assert read == (numbers if any(number is not None for number in numbers) else [""] * len(numbers))


@pytest.mark.parametrize("number", [-(2**63) - 1, -(2**63), 2**63 - 1, 2**63, 10**30])
def test_integers_of_any_size_survive(tmp_path: Path, number: int) -> None:
    path = csv(tmp_path / "a.jsonl", f'{{"key": "a", "n": {number}}}\n{{"key": "b", "n": 1}}\n')
    assert values(Table(path, "key", "n"), ["a", "b"]) == [number, 1]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_survive(numbers: list[float]) -> None:
    assert typed([repr(number) for number in numbers]) == numbers


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.csv", "", "its first line must name the columns"),
        ("a.csv", "a,a\n1,2\n", "must name the columns, each once"),
        ("a.csv", "a,b\n1,2\n1,2,3\n", r"a\.csv, line 3: has 3 cells where there are 2 columns"),
        ("a.csv", 'a,b\n1,"2\n', r"a\.csv, line \d: unexpected end of data"),
        ("a.jsonl", '{"a": 1}\n{"a"\n', r"a\.jsonl, line 2: "),
        ("a.jsonl", "[1]", r"a\.jsonl, line 1: is no JSON object but a list"),
        ("a.jsonl", '{"a":' * 100_000, r"a\.jsonl, line 1: "),
        ("a.xlsx", "", r"a table is a \.csv, \.tsv, \.jsonl or \.parquet file, not \.xlsx"),
    ],
)
def test_what_is_no_table_is_an_error_with_its_line(tmp_path: Path, name: str, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_columns(str(csv(tmp_path / name, text)))


def test_a_table_that_is_no_utf_8_or_no_parquet_is_an_error(tmp_path: Path) -> None:
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / name).write_bytes(b"a,b\n\xff,1\n")
        with pytest.raises(ValueError, match=f"{name}: is not UTF-8"):
            read_columns(str(tmp_path / name))
    pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=r"a\.parquet: "):
        read_columns(str(csv(tmp_path / "a.parquet", "no parquet")))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'fastdata-images\[parquet\]'"):
        read_columns(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl.gz", "a.parquet"])
def test_a_table_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"^no table {tmp_path}/{name}: check the path$"):
        read_columns(str(tmp_path / name))


def joined(table: Table, keys: Sequence[str]) -> Join:
    return join(table.read(), np.array([key_hash(key) for key in keys], np.uint64), keys.__getitem__)


def values(table: Table, keys: Sequence[str]) -> list[Any]:
    found = joined(table, keys)
    return [found.joined.value(number) for number in np.flatnonzero(found.kept).tolist()]


def test_rows_find_samples_by_key_or_path(tmp_path: Path) -> None:
    names = ["./a/1.jpg", "a/2", "b.c/x.y.jpeg", "b.c/v1.2", "same.jpg", "same.png", "007", "10"]
    path = csv(tmp_path / "t.csv", "key,n\n" + "".join(f"{name},{n}\n" for n, name in enumerate(names)))
    keys = ["10", "a/2", "a/1", "b.c/x_y", "b.c/v1_2", "same_jpg", "same_png", "007"]
    assert values(Table(path, "key", "n"), keys) == [7, 1, 0, 2, 3, 4, 5, 6]
    assert values(Table(path, "key", "n", prefix="top/"), ["top/a/2"]) == [1]


def test_samples_without_a_row_are_an_error_or_left_out_and_counted(tmp_path: Path) -> None:
    path = as_csv(tmp_path)
    with pytest.raises(ValueError, match=r"t\.csv has no row for 2 of 4 samples: 'x', 'y'; missing='drop'"):
        joined(Table(path, "file", "label"), ["a/1", "x", "a/2", "y"])
    found = joined(Table(path, "file", "label", missing="drop"), ["a/1", "x", "a/2", "y"])
    assert found.kept.tolist() == [True, False, True, False]
    assert found.left_out == {f"samples without a row in {path}": 2, f"rows of {path} without a sample": 1}
    with pytest.raises(
        ValueError, match=r"no row for any sample: it names 'a/1\.jpg', .*samples are 'x', 'y'; prefix="
    ):
        joined(Table(path, "file", "label", missing="drop"), ["x", "y"])


@pytest.mark.parametrize(
    "where",
    [
        {"split": "train"},
        {"label": [3, 5]},
        {"split": "train", "label": {3, 5}},
        lambda row: row["split"] == "train",
    ],
)
def test_samples_of_rows_that_are_not_wanted_are_left_out_and_counted(tmp_path: Path, where: Any) -> None:
    path = as_csv(tmp_path)
    keys = ["a/2", "b/3", "a/1"]
    assert values(Table(path, "file", "label", where), keys) == [5, 3]
    assert joined(Table(path, "file", "label", where), keys).left_out == {
        f"samples that where= leaves out by {path}": 1
    }
    with pytest.raises(ValueError, match="leaves no sample"):
        joined(Table(path, "file", "label", {"split": "test"}), keys)


def test_two_rows_of_one_sample_are_an_error_unless_one_is_not_wanted(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "key,n,fold\na.jpg,1,0\nb,2,0\na.jpg,3,1\n")
    with pytest.raises(ValueError, match=r"several rows for the sample 'a': number 1, 'a\.jpg', and number 3"):
        joined(Table(path, "key", "n"), ["b", "a"])
    assert values(Table(path, "key", "n"), ["b"]) == [2]
    assert values(Table(path, "key", "n", {"fold": 1}, missing="drop"), ["a"]) == [3]


def test_a_gap_in_a_target_is_an_error_where_its_row_is_wanted(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "key,n\na,1\nb,\nc,3\n")
    with pytest.raises(ValueError, match=r"row 2: its column 'n' is empty"):
        Table(path, "key", "n").read()
    assert values(Table(path, "key", "n", lambda row: row["n"] is not None), ["a", "b", "c"]) == [1, 3]
    with pytest.raises(ValueError, match=r"row 2: has no key in its column 'n'"):
        Table(path, "n", "key").read()


def test_names_of_classes_become_their_places(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "key,name\na,dog\nb,cat\n")
    assert values(Table(path, "key", "name", classes=["cat", "dog"]), ["a", "b"]) == [1, 0]
    with pytest.raises(ValueError, match=r"row 1: 'dog' in its column 'name' is none of the 1 classes"):
        Table(path, "key", "name", classes=["cat"]).read()


def test_a_table_is_checked_when_it_is_declared_and_read(tmp_path: Path) -> None:
    path = as_csv(tmp_path)
    with pytest.raises(ValueError, match=r"has no column 'klass', but 'file', 'label'"):
        Table(path, "file", "klass").read()
    with pytest.raises(ValueError, match=r"has no column 'klass'"):
        Table(path, "file", "label", {"klass": 1}).read()
    with pytest.raises(ValueError, match="missing must be 'error' or 'drop'"):
        Table(path, "file", "label", missing="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="target must name one or more columns, each once"):
        Table(path, "file", [])
    with pytest.raises(ValueError, match="target must be one column"):
        Table(path, "file", ["label"], classes=["a"])
    with pytest.raises(FileNotFoundError):
        Table(tmp_path / "none.csv", "file", "label").read()


class Named:
    """Rows that are nothing but their names."""

    path, missing = "made.csv", "error"

    def __init__(self, names: list[str]) -> None:
        self.names, self.wanted = names, np.ones(len(names), np.bool_)

    def value(self, row: int) -> str:
        return self.names[row]


@given(st.lists(st.text("ab/_-", min_size=1), unique=True, min_size=1), st.randoms(use_true_random=False))
def test_every_sample_finds_the_row_that_names_its_key(keys: list[str], random: Any) -> None:
    rows = Named(random.sample(keys, len(keys)))
    found = join(rows, np.array([key_hash(key) for key in keys], np.uint64), keys.__getitem__)  # type: ignore[arg-type]
    assert [found.joined.value(number) for number in range(len(keys))] == keys
