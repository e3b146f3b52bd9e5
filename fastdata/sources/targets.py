"""A field's value from the bytes of its component, up to what only the image and its view can tell."""

import json
from typing import Any, NamedTuple, assert_never

import numpy as np

from fastdata.errors import TargetError
from fastdata.sources.npy import read_npy
from fastdata.transforms.fields import Boxes, Field, Json, Label, Mask, Npy, Points, Raw, Text
from fastdata.transforms.follow import Floats


class StoredMask(NamedTuple):
    """A mask's file."""

    data: bytes
    field: Mask


class StoredBoxes(NamedTuple):
    """XYXY boxes (n, 4) of the image, as `field` has them, their int64 labels (n,), and COCO's id of the image."""

    boxes: Floats
    labels: np.ndarray[Any, np.dtype[np.int64]] | None
    field: Boxes
    image_id: int | None = None


class StoredPoints(NamedTuple):
    """Points (n, 2) of the image, or (n, 3) with their visibility."""

    points: Floats
    field: Points


def read_field(field: Field, data: bytes) -> Any:
    """The field in these bytes; of a mask, boxes and points what is stored. TargetError where they hold no such thing.

    Nothing is unpickled: an array of Python objects is an error.
    """
    try:
        return _read(field, data)
    except RecursionError:
        raise TargetError("is nested too deeply") from None
    except TargetError:
        raise
    except ValueError as error:
        raise TargetError(str(error)) from error


def _read(field: Field, data: bytes) -> Any:
    match field:
        case Label():
            return _class_index(data)
        case Text():
            return data.decode("utf-8")
        case Json():
            return _at(_json_object(data), field.path)
        case Npy():
            return read_npy(data)
        case Raw():
            return data
        case Mask():
            return StoredMask(data, field)
        case Boxes():
            return _boxes(field, data)
        case Points():
            return StoredPoints(_points(field, data), field)
        case _:
            assert_never(field)


def _class_index(data: bytes) -> int:
    number = int(data)
    if not -(2**63) < number < 2**63:
        raise ValueError(f"{number} is no 64-bit integer")
    return number


def _json_object(data: bytes) -> dict[str, Any]:
    target = json.loads(data)
    if not isinstance(target, dict):
        raise ValueError(f"holds no JSON object but a {type(target).__name__}")
    return target


def _at(value: Any, path: str) -> Any:
    """What lies at a path of names; of a list what lies in each of its items."""
    if not path:
        return value
    if isinstance(value, list):
        return [_at(item, path) for item in value]
    name, _, rest = path.partition(".")
    if not isinstance(value, dict):
        raise ValueError(f"has no {name!r} where a {type(value).__name__} lies")
    if name not in value:
        raise ValueError(f"has no {name!r}, but {', '.join(map(repr, list(value)[:10])) or 'nothing'}")
    return _at(value[name], rest)


def _parsed(component: str, data: bytes) -> Any:
    return read_npy(data) if component.rpartition(".")[2].lower() == "npy" else json.loads(data)


def _numbers(found: Any, path: str, widths: tuple[int, ...]) -> Floats:
    """The rows of so many numbers at a path, finite ones: float32."""
    if not isinstance(found, np.ndarray):
        found = _at(found, path)
    if not isinstance(found, list) and not (isinstance(found, np.ndarray) and found.ndim):
        raise ValueError(f"has no list at {path!r} but a {type(found).__name__}")
    if len(found) == 0:
        return np.zeros((0, widths[0]), np.float32)
    wanted = " or ".join(map(str, widths))
    try:
        rows = np.array(found)
    except ValueError:
        raise ValueError(f"holds rows of different lengths, not of {wanted} numbers each") from None
    if rows.dtype.kind not in "iuf" or rows.ndim != 2 or rows.shape[1] not in widths:
        raise ValueError(f"holds {rows.dtype} of shape {rows.shape}, not rows of {wanted} numbers")
    with np.errstate(over="ignore"):  # to infinity, which is refused
        numbers = rows.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError("holds a number that is not finite")
    return numbers


def _boxes(field: Boxes, data: bytes) -> StoredBoxes:
    found = _parsed(field.component, data)
    boxes = xyxy(_numbers(found, field.path, (4,)), field.format)
    if field.labels is None:
        return StoredBoxes(boxes, None, field)
    labels = _labels(_at(found, field.labels), field)
    if len(labels) != len(boxes):
        raise ValueError(f"has {len(boxes)} boxes at {field.path!r} and {len(labels)} labels at {field.labels!r}")
    return StoredBoxes(boxes, labels, field)


def xyxy(boxes: Floats, format: str) -> Floats:
    """Boxes (n, 4) of a format as XYXY, computed as torchvision does. ValueError for one of negative extent."""
    converted = boxes.copy()
    if format == "cxcywh":
        converted[:, :2] -= boxes[:, 2:] / 2
    if format != "xyxy":
        converted[:, 2:] += converted[:, :2]
    negative = (converted[:, 2:] < converted[:, :2]).any(axis=1)
    if negative.any():
        raise ValueError(f"holds the box {boxes[negative][0].tolist()}, which as {format} ends before it begins")
    return converted


def _labels(found: Any, field: Boxes) -> np.ndarray[Any, np.dtype[np.int64]]:
    if not isinstance(found, list):
        raise ValueError(f"has no list of labels at {field.labels!r} but a {type(found).__name__}")
    if field.classes is not None:
        places = {name: place for place, name in enumerate(field.classes)}
        unknown = [label for label in found if not isinstance(label, str) or label not in places]
        if unknown:
            raise ValueError(f"has the label {unknown[0]!r}, which is none of the {len(places)} classes")
        return np.array([places[label] for label in found], np.int64)
    odd = [label for label in found if not isinstance(label, int) or isinstance(label, bool)]
    if odd:
        raise ValueError(f"has the label {odd[0]!r}, which is no integer: say classes=, the names in their order")
    if any(not -(2**63) <= label < 2**63 for label in found):
        raise ValueError("has a label that is no 64-bit integer")
    return np.array(found, np.int64)


def _points(field: Points, data: bytes) -> Floats:
    points = _numbers(_parsed(field.component, data), field.path, (2, 3))
    last = max((number for pair in field.flip_pairs for number in pair), default=-1)
    if len(points) <= last:
        raise ValueError(f"has {len(points)} points, of which flip_pairs names number {last}")
    return points
