"""COCO's json of a detection data set."""

import json
from pathlib import Path
from typing import Any

import pytest

from fastdata.sources.tables.coco import Coco

IMAGES = [{"id": 9, "file_name": "b.jpg", "width": 5}, {"id": 4, "file_name": "a.jpg"}, {"id": 5, "file_name": "c.jpg"}]
CATEGORIES = [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
ANNOTATIONS: list[dict[str, Any]] = [
    {"image_id": 4, "category_id": 90, "bbox": [1, 2, 3, 4], "iscrowd": 0, "area": 3, "segmentation": [[1, 2]]},
    {"image_id": 9, "category_id": 1, "bbox": [0.5, 0, 1.25, 1]},
    {"image_id": 4, "category_id": 18, "bbox": [5, 6, 7, 8], "iscrowd": 0},
    {"image_id": 4, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
]


def write(path: Path, **changes: Any) -> Path:
    parts = {"info": {}, "images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES, **changes}
    path.write_text(json.dumps(parts))
    return path


def test_boxes_and_labels_are_those_of_the_image_in_the_files_order(tmp_path: Path) -> None:
    coco = Coco(write(tmp_path / "i.json"))
    assert coco.classes == ["person", "dog", "toothbrush"]
    assert coco.category_ids == [1, 18, 90]
    rows = coco.read()
    assert rows.names == ["b.jpg", "a.jpg", "c.jpg"]
    found = [rows.value(row) for row in range(3)]
    assert [each.image_id for each in found] == [9, 4, 5]
    assert [each.boxes.tolist() for each in found] == [[[0.5, 0, 1.75, 1]], [[1, 2, 4, 6], [5, 6, 12, 14]], []]
    assert [each.labels.tolist() for each in found if each.labels is not None] == [[0], [2, 1], []]
    assert found[2].boxes.shape == (0, 4)
    assert Coco(tmp_path / "i.json", crowds=True).read().value(1).boxes.shape == (3, 4)
    assert Coco(tmp_path / "i.json", prefix="val/").read().names[0] == "val/b.jpg"


def test_without_any_annotation_no_image_has_boxes(tmp_path: Path) -> None:
    rows = Coco(write(tmp_path / "i.json", annotations=[])).read()
    assert [rows.value(row).boxes.shape for row in range(3)] == [(0, 4)] * 3


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    coco = Coco(write(tmp_path / "i.json"))
    assert len(coco.classes) == 3
    write(tmp_path / "i.json", categories=CATEGORIES[:1], annotations=[])
    assert coco.classes == ["toothbrush"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"images": {}}, r"i\.json is no COCO json of detection: Expected `array`.*\$\.images"),
        ({"annotations": [{"image_id": 4, "category_id": 1, "bbox": [1, 2]}]}, "length 4"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]}]}, "image 7 and category 1,"),
        ({"annotations": [{"image_id": 4, "category_id": 2, "bbox": [1, 2, 3, 4]}]}, "image 4 and category 2,"),
        ({"annotations": [{"image_id": 4, "category_id": 1, "bbox": [1, 2, -3, 4]}]}, "ends before it begins"),
        ({"images": [*IMAGES, IMAGES[0]]}, "lists an id of its images twice"),
        ({"categories": [*CATEGORIES, CATEGORIES[0]]}, "lists an id of its categories twice"),
    ],
)  # fmt: skip
def test_what_is_no_such_json_is_an_error_that_says_why(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Coco(write(tmp_path / "i.json", **changes)).read()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"images": [{"id": 2**63, "file_name": "a.jpg"}]}, r"Expected `int` <= .*images\[0\]\.id"),
        ({"categories": [{"id": -(10**400), "name": "dog"}]}, r"categories\[0\]\.id"),
        ({"annotations": [{"image_id": 4, "category_id": 1, "bbox": [1e300, 0, 1, 1]}]}, "not finite as float32"),
        ({"annotations": [{"image_id": 4, "category_id": 1, "bbox": [3e38, 0, 3e38, 1]}]}, "not finite as float32"),
    ],
)
def test_numbers_that_no_array_holds_are_an_error_that_names_the_file(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    path = write(tmp_path / "i.json", **changes)
    with pytest.raises(ValueError, match=problem) as caught:
        Coco(path).read()
    assert str(path) in str(caught.value)
