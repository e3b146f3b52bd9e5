"""What a table's values become: classes and JSON, none of them guessed."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.packing.table import ABSENT, Column
from fastdata.packing.values import class_indexes, json_objects


def column(values: Sequence[Any], path: str = "labels.csv", name: str = "label") -> Column:
    return Column(path, name, range(2, len(values) + 2), values)


@pytest.mark.parametrize(
    ("labels", "indexes", "classes"),
    [
        (["dog", "cat", "dog"], [1, 0, 1], ["cat", "dog"]),
        (["3", "0", "10"], [3, 0, 10], []),
        ([3, 0, 10], [3, 0, 10], []),
        (["3", "cat"], [0, 1], ["3", "cat"]),
        (["cat", "", None, ABSENT], [0, -1, -1, -1], ["cat"]),
        (["7", ""], [7, -1], []),
        (["", ""], [-1, -1], []),
        (["Zebra", "ant", "Ähre"], [0, 1, 2], ["Zebra", "ant", "Ähre"]),
    ],
)
def test_labels_are_indexes_or_names_that_are_numbered_as_sorted(
    labels: list[Any], indexes: list[int], classes: list[str]
) -> None:
    assert class_indexes(column(labels)) == (indexes, classes)


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (["1", "1.0"], 3),
        (["-1"], 2),
        ([0, True], 3),
        ([1.5], 2),
        ([1, "cat"], 3),
        ([["cat"]], 2),
        ([{}], 2),
        (["nan", "1"], 2),
        (["1" * 19], 2),
        ([10**18], 2),
    ],
)
def test_what_is_no_class_is_named_with_its_line(labels: list[Any], line: int) -> None:
    with pytest.raises(ValueError, match=f"labels.csv, line {line}: .* in the column 'label' is no class"):
        class_indexes(column(labels))


@given(st.lists(st.text(min_size=1).filter(lambda text: not text.strip().isdigit()), min_size=1))
def test_names_come_back_by_their_indexes(labels: list[str]) -> None:
    labels = ["a name", *labels]
    indexes, classes = class_indexes(column(labels))
    assert [classes[index] for index in indexes] == labels
    assert classes == sorted(set(labels))


def objects(path: str, **columns: Sequence[Any]) -> list[str]:
    made = json_objects([column(values, path, name) for name, values in columns.items()])
    return [data.decode("ascii") for data in made]


def test_columns_of_a_csv_are_numbers_where_all_of_it_is() -> None:
    assert objects("a.csv", score=["0.5", "", "-3"], id=["007", "12", "3"], text=["a", "", "ü"]) == [
        '{"score": 0.5, "id": "007", "text": "a"}',
        '{"score": null, "id": "12", "text": ""}',
        '{"score": -3, "id": "3", "text": "\\u00fc"}',
    ]


@pytest.mark.parametrize("odd", ["nan", "inf", "1_000", " 1", "0x1", "+1", "1.", ".5", "١"])
def test_what_only_looks_like_a_number_stays_a_text(odd: str) -> None:
    assert json.loads(objects("a.csv", n=["1", odd])[0]) == {"n": "1"}


def test_an_empty_column_stays_texts() -> None:
    assert objects("a.csv", n=["", ""]) == ['{"n": ""}', '{"n": ""}']


def test_other_tables_keep_their_types() -> None:
    assert objects("a.jsonl", n=["1", 1, None, ABSENT, [{"x": 1.5}]]) == [
        '{"n": "1"}',
        '{"n": 1}',
        '{"n": null}',
        "{}",
        '{"n": [{"x": 1.5}]}',
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {1, 2}])
def test_what_json_can_not_write_is_named_with_its_line(value: object) -> None:
    with pytest.raises(ValueError, match=r"a\.parquet, line 3: can't be written as JSON"):
        objects("a.parquet", n=[1, value])
