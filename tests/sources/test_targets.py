"""What the bytes of a component become, by its field."""

import io
import json
import pickle
from typing import Any

import numpy as np
import pytest

from fastdata.errors import TargetError
from fastdata.sources.targets import read_field, xyxy
from fastdata.transforms.fields import Boxes, Json, Label, Mask, Npy, Points, Raw, Text, field_of


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    return file.getvalue()


META = {
    "caption": "a dog",
    "objects": {"bbox": [[1, 2, 3, 4], [5, 6, 7.5, 8]], "category": [3, 1], "name": ["dog", "cat"]},
    "list": [{"bbox": [1, 2, 3, 4], "category": 3}, {"bbox": [5, 6, 7.5, 8], "category": 1}],
    "none": {"bbox": [], "category": []},
    "landmarks": [[1, 2, 2], [3, 4, 0]],
}
DATA = json.dumps(META).encode()


def test_a_component_says_by_its_extension_what_it_is() -> None:
    assert field_of("cls") == Label("cls")
    assert field_of("caption.txt") == Text("caption.txt")
    assert field_of("json") == Json("json")
    assert field_of("npy") == Npy("npy")
    with pytest.raises(ValueError, match=r"one of cls, txt, json, npy, got 'seg\.png': .*fd\.Mask\('seg\.png'\)"):
        field_of("seg.png")


@pytest.mark.parametrize(
    ("field", "data", "value"),
    [
        (Label("cls"), b"7", 7),
        (Label("cls"), b"9223372036854775807", 2**63 - 1),
        (Text(), b"\xc3\xbc", "ü"),
        (Json(), DATA, META),
        (Json("json", "caption"), DATA, "a dog"),
        (Json("json", "list.category"), DATA, [3, 1]),
        (Raw("bin"), b"\x00\xff", b"\x00\xff"),
    ],
)
def test_a_value_is_read(field: Any, data: bytes, value: Any) -> None:
    assert read_field(field, data) == value


@pytest.mark.parametrize("path", ["objects", "list"])
def test_boxes_are_read_from_lists_beside_each_other_and_from_a_list_of_objects(path: str) -> None:
    stored = read_field(Boxes("json", f"{path}.bbox", "xywh", f"{path}.category"), DATA)
    assert stored.boxes.dtype == np.float32
    assert stored.boxes.tolist() == [[1, 2, 4, 6], [5, 6, 12.5, 14]]
    assert stored.labels.tolist() == [3, 1]


def test_labels_may_be_names_and_boxes_may_be_none() -> None:
    stored = read_field(Boxes("json", "objects.bbox", "xywh", "objects.name", classes=["cat", "dog"]), DATA)
    assert stored.labels.tolist() == [1, 0]
    none = read_field(Boxes("json", "none.bbox", "xywh", "none.category"), DATA)
    assert (none.boxes.shape, none.labels.shape, none.labels.dtype) == ((0, 4), (0,), np.int64)
    assert read_field(Boxes("npy"), npy(np.zeros((0, 4)))).boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("format", "box"), [("xyxy", [1, 2, 4, 8]), ("xywh", [1, 2, 3, 6]), ("cxcywh", [2.5, 5, 3, 6])]
)
def test_formats_of_boxes(format: str, box: list[float]) -> None:
    assert xyxy(np.array([box], np.float32), format).tolist() == [[1, 2, 4, 8]]


def test_points_are_read_from_arrays_and_json() -> None:
    assert read_field(Points("npy"), npy([[1, 2], [3, 4]])).points.tolist() == [[1, 2], [3, 4]]
    assert read_field(Points("json", "landmarks"), DATA).points.tolist() == META["landmarks"]


@pytest.mark.parametrize(
    ("field", "data", "problem"),
    [
        (Label(), b"cat", "invalid literal"),
        (Label(), b"9223372036854775808", "is no 64-bit integer"),
        (Text(), b"\xff", "utf-8"),
        (Json(), b"[1]", "no JSON object but a list"),
        (Json(), b'{"a":' * 100_000, "nested too deeply"),
        (Json("json", "objects.boxes"), DATA, r"has no 'boxes', but 'bbox', 'category', 'name'"),
        (Json("json", "caption.x"), DATA, "has no 'x' where a str lies"),
        (Boxes("json", "caption"), DATA, "no list at 'caption' but a str"),
        (Boxes("json", "landmarks"), DATA, r"shape \(2, 3\), not rows of 4 numbers"),
        (Boxes("json", "b"), b'{"b": [[1, 2, 3], [1]]}', "different lengths"),
        (Boxes("json", "b"), b'{"b": [["1", "2", "3", "4"]]}', "not rows of 4 numbers"),
        (Boxes("json", "b"), b'{"b": [[1, 2, NaN, 4]]}', "not finite"),
        (Boxes("json", "b"), b'{"b": [[1, 2, 1e300, 4]]}', "not finite"),
        (Boxes("json", "b"), b'{"b": [[3, 2, 1, 4]]}', "as xyxy ends before it begins"),
        (Boxes("json", "b"), b'{"b": [[[[1]]]]}', "not rows of 4 numbers"),
        (Boxes("json", "objects.bbox", "xywh", "caption"), DATA, "no list of labels at 'caption'"),
        (Boxes("json", "objects.bbox", "xywh", "none.category"), DATA, "2 boxes at .* and 0 labels"),
        (Boxes("json", "objects.bbox", "xywh", "objects.name"), DATA, "label 'dog', which is no integer: say classes="),
        (Boxes("json", "objects.bbox", "xywh", "objects.name", ["cat"]), DATA, "'dog', which is none of the 1 classes"),
        (Points("npy"), npy(np.zeros((2, 4))), "not rows of 2 or 3 numbers"),
        (Points("npy"), npy(5), "no list"),
        (Points("npy", flip_pairs=[(0, 5)]), npy([[1, 2]]), "has 1 points, of which flip_pairs names number 5"),
        (Points("npy"), b"no array", "npy"),
    ],
)  # fmt: skip
def test_what_is_no_such_field_is_an_error_that_says_why(field: Any, data: bytes, problem: str) -> None:
    with pytest.raises(TargetError, match=problem):
        read_field(field, data)


def test_fields_are_checked_when_they_are_declared() -> None:
    with pytest.raises(ValueError, match="format must be one of xyxy, xywh, cxcywh, got 'yolo'"):
        Boxes(format="yolo")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="labels are read from JSON"):
        Boxes("npy", labels="category")
    with pytest.raises(ValueError, match="classes are of the labels"):
        Boxes("json", classes=["cat"])
    with pytest.raises(ValueError, match="min_area"):
        Boxes(min_area=-1)
    with pytest.raises(ValueError, match="min_visibility"):
        Boxes(min_visibility=1.5)
    with pytest.raises(ValueError, match="each point at most once"):
        Points(flip_pairs=[(0, 1), (1, 2)])


def test_what_is_stored_goes_to_other_processes() -> None:
    for field, data in ((Mask("png"), b"mask"), (Boxes("json", "objects.bbox", "xywh"), DATA)):
        stored = read_field(field, data)
        assert pickle.loads(pickle.dumps(stored)).field == field
