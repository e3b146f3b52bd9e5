"""COCO's json of a detection data set: the boxes of images, by file name."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from fastdata.sources.node.cache import local
from fastdata.sources.tables.join import Missing
from fastdata.sources.tables.table import check_missing
from fastdata.sources.targets import StoredBoxes, xyxy
from fastdata.transforms.fields import Boxes, check_kept
from fastdata.transforms.follow import Floats

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Coco:
    """Boxes and labels from COCO's json ("instances_train2017.json"), which join samples by the images' file names.

    The field is {"boxes": float32 (n, 4) XYXY in pixels of the view, "labels": int64 (n,), "image_id": int}; which
    boxes are dropped is as in `Boxes`. Labels are places in `classes`, the names of the categories in the order of
    their ids. Boxes of crowds count only with `crowds`. An image without annotations has no boxes, and is a sample;
    one that the json does not list is an error, or left out where `missing` is "drop". `prefix` is put before file
    names, where keys have a folder that these lack.
    """

    path: str | os.PathLike[str]
    min_area: float = 1.0
    min_visibility: float = 0.0
    crowds: bool = False
    missing: Missing = "error"
    prefix: str = ""
    upright: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))
        check_missing("Coco", self.missing)
        check_kept("Coco", self.min_area, self.min_visibility)

    @property
    def classes(self) -> list[str]:
        """The names of the categories, each at the place that is its label."""
        return list(self._instances().classes)

    @property
    def category_ids(self) -> list[int]:
        """The id of each of them, as COCO's results name a category: that of label i is `category_ids[i]`."""
        return list(self._instances().category_ids)

    def read(self) -> "CocoRows":
        """Its images. ValueError or OSError where the file is no such json."""
        field = Boxes(format="xywh", min_area=self.min_area, min_visibility=self.min_visibility, upright=self.upright)
        return CocoRows(self._instances(), field, self.missing, self.prefix)

    def _instances(self) -> "Instances":
        path = local(os.fspath(self.path))
        status = Path(path).stat()
        return _read(path, self.crowds, (status.st_mtime_ns, status.st_size))


@dataclass(frozen=True, eq=False)
class Instances:
    """What the json says: image i has the boxes (XYXY) and labels from `ends[i - 1]` to `ends[i]`."""

    path: str
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    file_names: list[str]
    image_ids: Ints
    ends: Ints
    boxes: Floats
    labels: Ints


@dataclass(frozen=True, eq=False)
class CocoRows:
    """COCO's images, as rows of a table."""

    instances: Instances
    field: Boxes
    missing: Missing
    prefix: str

    @property
    def path(self) -> str:
        return self.instances.path

    @cached_property
    def names(self) -> Sequence[str]:
        return [self.prefix + name for name in self.instances.file_names]

    @cached_property
    def wanted(self) -> npt.NDArray[np.bool_]:
        return np.ones(len(self.names), np.bool_)

    def value(self, row: int) -> StoredBoxes:
        """The boxes of an image, as they are stored."""
        ends = self.instances.ends
        part = slice(int(ends[row - 1]) if row else 0, int(ends[row]))
        boxes, labels = self.instances.boxes[part], self.instances.labels[part]
        return StoredBoxes(boxes, labels, self.field, int(self.instances.image_ids[row]))


_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Image(msgspec.Struct):
    id: _Id
    file_name: str


class _Annotation(msgspec.Struct):
    image_id: _Id
    category_id: _Id
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _Category(msgspec.Struct):
    id: _Id
    name: str


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@lru_cache(4)
def _read(path: str, crowds: bool, state: tuple[int, int]) -> Instances:
    """The file in this state (time in ns, size)."""
    try:
        file = msgspec.json.decode(Path(path).read_bytes(), type=_File)
    except msgspec.DecodeError as error:  # a ValidationError, which names the field, is one too
        raise ValueError(f"{path} is no COCO json of detection: {error}") from error
    images = _places(path, "images", [image.id for image in file.images])
    categories = sorted(file.categories, key=lambda category: category.id)
    labels = _places(path, "categories", [category.id for category in categories])
    counted = [one for one in file.annotations if crowds or not one.iscrowd]
    for one in counted:
        if one.image_id not in images or one.category_id not in labels:
            raise ValueError(
                f"{path}: an annotation is of image {one.image_id} and category {one.category_id}, "
                "of which one is not listed"
            )
    counted.sort(key=lambda one: images[one.image_id])
    owners = np.array([images[one.image_id] for one in counted], np.int64)
    try:
        boxes = _xyxy([one.bbox for one in counted])
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error
    return Instances(
        path,
        tuple(category.name for category in categories),
        tuple(category.id for category in categories),
        [image.file_name for image in file.images],
        np.array([image.id for image in file.images], np.int64),
        np.searchsorted(owners, np.arange(len(file.images)), side="right"),
        boxes,
        np.array([labels[one.category_id] for one in counted], np.int64),
    )


def _xyxy(boxes: list[tuple[float, float, float, float]]) -> Floats:
    with np.errstate(over="ignore"):  # to infinity, which is refused
        converted = xyxy(np.array(boxes, np.float32).reshape(-1, 4), "xywh")
    odd = np.flatnonzero(~np.isfinite(converted).all(axis=1))
    if len(odd):
        raise ValueError(f"holds the box {list(boxes[odd[0]])}, whose edges are not finite as float32")
    return converted


def _places(path: str, what: str, ids: list[int]) -> dict[int, int]:
    places = {each: place for place, each in enumerate(ids)}
    if len(places) != len(ids):
        raise ValueError(f"{path} lists an id of its {what} twice")
    return places
