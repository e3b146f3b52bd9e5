"""What a table's values become: classes and JSON, none of them guessed."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.packing.origins.values import Column, class_indexes, json_objects


def column(values: Sequence[Any], path: str = "labels.csv", name: str = "label") -> Column:
    return Column(path, name, values)


@pytest.mark.parametrize(
    ("labels", "indexes", "classes"),
    [
        (["dog", "cat", "dog"], [1, 0, 1], ["cat", "dog"]),
        (["3", "0", "10"], [3, 0, 10], []),
        ([3, 0, 10], [3, 0, 10], []),
        (["3", "cat"], [0, 1], ["3", "cat"]),
        (["cat", "", None], [0, -1, -1], ["cat"]),
        ([3, None], [3, -1], []),
        (["7", ""], [7, -1], []),
        (["", ""], [-1, -1], []),
        (["007", "2"], [0, 1], ["007", "2"]),
        (["Zebra", "ant", "Ähre"], [0, 1, 2], ["Zebra", "ant", "Ähre"]),
    ],
)
def test_labels_are_indexes_or_names_that_are_numbered_as_sorted(
    labels: list[Any], indexes: list[int], classes: list[str]
) -> None:
    assert class_indexes(column(labels)) == (indexes, classes)


@pytest.mark.parametrize(
    ("labels", "row"),
    [
        (["1", "1.0"], 1),
        (["-1"], 1),
        ([0, True], 2),
        ([0, -1], 2),
        ([1.5], 1),
        ([1, "cat"], 2),
        (["cat", 1], 2),
        ([["cat"]], 1),
        ([{}], 1),
        (["nan", "1"], 1),
        (["1" * 19], 1),
    ],
)
def test_what_is_no_class_is_named_with_its_row(labels: list[Any], row: int) -> None:
    with pytest.raises(ValueError, match=rf"labels\.csv, row {row}: .* in the column 'label' is no class"):
        class_indexes(column(labels))


@given(st.lists(st.text(min_size=1).filter(lambda text: not text.strip().isdigit()), min_size=1))
def test_names_come_back_by_their_indexes(labels: list[str]) -> None:
    labels = ["a name", *labels]
    indexes, classes = class_indexes(column(labels))
    assert [classes[index] for index in indexes] == labels
    assert classes == sorted(set(labels))


def objects(**columns: Sequence[Any]) -> list[str]:
    made = json_objects([column(values, "a.parquet", name) for name, values in columns.items()])
    return [data.decode("ascii") for data in made]


def test_columns_become_objects_that_keep_their_order_and_types() -> None:
    assert objects(score=[0.5, None, -3], id=["007", "12", ""], more=[{"x": [1]}, True, "ü"]) == [
        '{"score": 0.5, "id": "007", "more": {"x": [1]}}',
        '{"score": null, "id": "12", "more": true}',
        '{"score": -3, "id": "", "more": "\\u00fc"}',
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {1, 2}])
def test_what_json_can_not_write_is_named_with_its_row(value: object) -> None:
    with pytest.raises(ValueError, match=r"a\.parquet, row 2: can't be written as JSON"):
        objects(n=[1, value])
