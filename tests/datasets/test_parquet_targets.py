"""Targets in columns of Parquet files."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fastdata as fd
from fastdata.datasets.parquet import ParquetImageDataset
from fastdata.errors import TargetError
from support.annotated import plain
from support.parquets import IMAGE, features, write_columns, write_parquet
from support.photo_rows import COUNT, ROWS, dataset, of_columns
from support.pictures import encoded, jpeg, photo

TARGETS: dict[str, tuple[Any, Any]] = {
    "int": (list(range(COUNT)), 7),
    "small int": (pa.array(range(COUNT), pa.uint8()), 7),
    "bool": ([number > 3 for number in range(COUNT)], 1),
    "float": ([number / 4 for number in range(COUNT)], 1.75),
    "text": ([f"number {number}" for number in range(COUNT)], "number 7"),
    "categories": (pa.array([f"{number % 2}" for number in range(COUNT)]).dictionary_encode(), "1"),
    "numbers": ([[float(number), 1.0] for number in range(COUNT)], ("float64", [7.0, 1.0])),
    "fixed numbers": (
        pa.array([[number, 1] for number in range(COUNT)], pa.list_(pa.int16(), 2)),
        ("int16", [7, 1]),
    ),
    "no numbers": ([[]] * 7 + [[], [1]] + [[]] * 2, ("int64", [])),
    "gaps": ([[number, None] for number in range(COUNT)], [7, None]),
    "lists of lists": ([[[number]] for number in range(COUNT)], [[7]]),
    "struct": ([{"a": number, "b": "c"} for number in range(COUNT)], {"a": 7, "b": "c"}),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_is_what_is_in_its_column(tmp_path: Path, name: str) -> None:
    column, expected = TARGETS[name]
    ours = of_columns(tmp_path, "label", label=column)
    assert plain(ours.read(7).target) == expected
    assert plain(ours.samples[7][1]) == expected
    assert plain(list(ours.targets)[7]) == expected
    named = of_columns(tmp_path, {"mine": "label"}, label=column)
    assert plain(named.read(7).target) == {"mine": expected}


def test_bytes_are_what_their_column_is_named_after_or_what_is_said(tmp_path: Path) -> None:
    columns = {
        "caption.txt": [f"number {number}".encode() for number in range(COUNT)],
        "cls": [b"%d" % number for number in range(COUNT)],
        "seg": pa.array([{"bytes": encoded(photo(64, 48), "PNG", mode="L"), "path": None}] * COUNT, IMAGE),
    }
    ours = of_columns(tmp_path, ["caption.txt", "cls"], **columns)
    assert ours.read(7).target == {"caption.txt": "number 7", "cls": 7}
    path = tmp_path / "a.parquet"
    assert dataset(path, target=fd.Raw("cls")).read(7).target == b"7"
    with pytest.raises(ValueError, match="say what it is by a field"):
        dataset(path, target="seg")


def test_boxes_and_masks_in_columns_follow_the_view(tmp_path: Path) -> None:
    objects = [{"bbox": [[1.0, 2.0, 30.0, 20.0]] * (number % 3), "category": [5] * (number % 3)} for number in range(6)]
    masks = [{"bytes": encoded(photo(64, 48, number), "PNG", mode="L"), "path": None} for number in range(6)]
    images = [{"bytes": jpeg(64, 48, number), "path": f"{number}.jpg"} for number in range(6)]
    path = write_columns(
        tmp_path / "a.parquet",
        {"image": pa.array(images, IMAGE), "objects": objects, "mask": pa.array(masks, IMAGE)},
    )
    fields: dict[str, Any] = {
        "objects": fd.Boxes("objects", "bbox", "xywh", labels="category"),
        "mask": fd.Mask("mask"),
    }
    ours = ParquetImageDataset(path, [fd.CenterCrop((40, 50))], target=fields)
    _, target = ours[2]
    assert target["mask"].shape == (40, 50)
    assert target["objects"]["boxes"].tolist() == [[0.0, 0.0, 24.0, 18.0]] * 2
    assert target["objects"]["labels"].tolist() == [5, 5]


def test_what_is_null_is_an_error_that_says_which(tmp_path: Path) -> None:
    label = [None if number == 7 else number for number in range(COUNT)]
    ours = of_columns(tmp_path, "label", label=label)
    for ask in (ours.read, lambda number: ours.targets[number]):
        with pytest.raises(TargetError, match=r"sample 'a/007' in .*a\.parquet, row 3 of row group 1: .*is null"):
            ask(7)


def test_targets_are_known_at_once_where_they_are_integers(tmp_path: Path) -> None:
    ours = of_columns(tmp_path, "label", label=pa.array(range(COUNT), pa.int8()))
    assert isinstance(ours.targets, np.ndarray)
    assert (ours.targets.dtype, ours.targets.tolist()) == (np.dtype(np.int64), list(range(COUNT)))


def test_classes_are_those_of_hugging_faces_label(tmp_path: Path) -> None:
    for name, classes in {"a": ["cat", "dog"], "b": ["dog", "cat"]}.items():
        write_parquet(tmp_path / f"{name}.parquet", ROWS[:3], metadata=features(label=classes))
    ours = dataset(tmp_path / "a.parquet")
    assert (ours.classes, ours.class_to_idx) == (["cat", "dog"], {"cat": 0, "dog": 1})
    assert dataset(tmp_path / "a.parquet", target=None).classes == []
    with pytest.raises(ValueError, match=r"b\.parquet has other classes in its column 'label' than .*a\.parquet"):
        dataset(tmp_path / "*.parquet")


@pytest.mark.parametrize(
    "metadata", [b"", b"[", b"[]", b'{"info": 3}', b"[" * 10000, b"\xff", b'{"info": {"features": ']
)
def test_metadata_of_somebody_else_are_no_classes(tmp_path: Path, metadata: bytes) -> None:
    assert dataset(write_parquet(tmp_path / "a.parquet", ROWS, metadata={b"huggingface": metadata})).classes == []


def test_a_table_joins_the_rows_by_key(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", ROWS)
    (tmp_path / "t.csv").write_text(
        "file,label,split\n" + "".join(f"a/{n:03}.jpg,{n * 2},{n % 2}\n" for n in range(11))
    )
    table = fd.Table(tmp_path / "t.csv", "file", "label", where={"split": 1})
    ours = dataset(path, target=table)
    assert [ours.read(number).target for number in range(len(ours))] == [2, 6, 10, 14, 18]
    assert [ours.key(number) for number in range(len(ours))] == ["a/001", "a/003", "a/005", "a/007", "a/009"]
    assert ours.key_hashes().shape == (5,)
    assert ours.block_ends.tolist() == [2, 4, 5]
    assert ours.left_out
    assert ours.fingerprint != dataset(path).fingerprint
