"""What a dataset's target is made of: one field, or several by name, read with a sample and finished in its view."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastdata.errors import TarError, TargetError
from fastdata.images.header import Header
from fastdata.images.mask import decode_mask
from fastdata.sample import Fields
from fastdata.sources.tables.coco import Coco
from fastdata.sources.tables.join import Joined
from fastdata.sources.tables.table import Table
from fastdata.sources.targets import StoredBoxes, StoredMask, StoredPoints
from fastdata.transforms.fields import Boxes, Field, Mask, Points, field_of
from fastdata.transforms.follow import (
    boxes_in_view,
    mask_in_view,
    points_in_view,
    swapped,
    upright_boxes,
    upright_points,
)
from fastdata.transforms.transform import Transform
from fastdata.transforms.view import View
from fastdata.transforms.views import Views

OneTarget = str | Field | Table | Coco
Target = OneTarget | Sequence[str] | Mapping[str, object] | None
"""What a user may say: a component ("cls", "caption.txt"), a field, a table, a list of components, or any of them by
name. Of a list and of a dict targets are dicts by name. To type checkers a dict may have anything, as that is what they
take strings and fields in one variable for; `declared` looks."""


@dataclass(frozen=True)
class Declared:
    """The fields that a target names; `named` where it is a dict of them."""

    fields: Mapping[str, Field | Table | Coco]
    named: bool

    @property
    def components(self) -> list[str]:
        """What is stored with the samples."""
        return [field.component for field in self.fields.values() if isinstance(field, Field)]

    @property
    def classes(self) -> list[str] | None:
        """The names that a target's places stand for, where it is a table's column or COCO's labels; else None."""
        if self.named:
            return None
        (field,) = self.fields.values()
        return list(field.classes) if isinstance(field, Table | Coco) and field.classes is not None else None


@dataclass(frozen=True)
class Wanted:
    """The same with the tables joined: what is read with each sample."""

    fields: Mapping[str, Field | Joined]
    named: bool

    def read(self, number: int, one: Callable[[Field], Any]) -> Any:
        """The target of sample `number`; `one` reads a field of it, TargetError or TarError where it can't."""
        values = {name: self._read(name, field, number, one) for name, field in self.fields.items()}
        return Fields(values) if self.named else next(iter(values.values()))

    def _read(self, name: str, field: Field | Joined, number: int, one: Callable[[Field], Any]) -> Any:
        if isinstance(field, Joined):
            return field.value(number)
        try:
            return one(field)
        except (TargetError, TarError) as error:
            which = f"field {name!r}, component" if self.named else "component"
            raise TargetError(f"its {which} {field.component!r} can't be used: {error}") from error


def declared(target: Target, named: Callable[[str], Field] = field_of) -> Declared | None:
    """The fields that a `target=` names; `named` says which one a string is. TypeError or ValueError for what names
    none.
    """
    if target is None:
        return None
    if isinstance(target, str | Field | Table | Coco):
        return Declared({"target": _field(target, named)}, named=False)
    if isinstance(target, Mapping):
        fields = {_checked_name(name): _field(field, named) for name, field in target.items()}
    elif isinstance(target, Iterable):
        components = [_checked_name(component) for component in target]
        if len(set(components)) != len(components):
            raise ValueError(f"target names a component twice: {components}")
        fields = {component: named(component) for component in components}
    else:
        raise TypeError(f"target must be a component, a field, a list or a dict of them, or None, got {target!r}")
    if not fields:
        raise ValueError("target names no field: say None for samples without a target")
    return Declared(fields, named=True)


def _field(target: Any, named: Callable[[str], Field]) -> Field | Table | Coco:
    if isinstance(target, str):
        return named(target)
    if not isinstance(target, Field | Table | Coco):
        raise TypeError(f"a field is a component or one of fd.Label, fd.Text, fd.Mask, … or a table, got {target!r}")
    return target


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"fields are known by their names, got {name!r}: say a dict of names and fields")
    return name


def check_followed(target: Declared, transform: Transform | Views) -> None:
    """ValueError where a field is to follow its image's view, and the transform has something that it can't follow."""
    following = [name for name, field in target.fields.items() if isinstance(field, Mask | Boxes | Points | Coco)]
    if not following:
        return
    which = f"field {following[0]!r}: " if target.named else ""
    if isinstance(transform, Views):
        raise ValueError(
            f"{which}masks, boxes and points follow one view of an image, and Views has several: leave them out of the "
            "target, or give the dataset one transform instead of Views"
        )
    for _, step in transform.pixel_steps:
        if step.moves_pixels:
            raise ValueError(
                f"{which}masks, boxes and points follow crops, resizes and flips, but not {step}, which moves pixels: "
                "take steps that leave them in place (ColorJitter, GaussianBlur, RandomErasing, …), or move image and "
                "target together in a map= of both"
            )


def follows(target: Any) -> bool:
    """Whether some of a target is yet to be finished in its image's view."""
    return isinstance(target, Fields | StoredMask | StoredBoxes | StoredPoints)


def in_view(target: Any, header: Header, view: View) -> Any:
    """A target that was read with its image, as it is in a view of that. TargetError where it is not of that image."""
    if isinstance(target, Fields):
        return Fields({name: _in_view(f"field {name!r}", value, header, view) for name, value in target.items()})
    return _in_view("target", target, header, view)


def _in_view(name: str, value: Any, header: Header, view: View) -> Any:
    try:
        if isinstance(value, StoredMask):
            mask = decode_mask(value.data, header, value.field.upright)
            return torch.from_numpy(mask_in_view(mask, view))
        if isinstance(value, StoredBoxes):
            return _boxes(value, header, view)
        if isinstance(value, StoredPoints):
            return _points(value, header, view)
    except TargetError as error:
        raise TargetError(f"its {name} can't be used: it {error.cause}") from error
    return value


def _boxes(stored: StoredBoxes, header: Header, view: View) -> Tensor | dict[str, Any]:
    field, boxes = stored.field, stored.boxes
    if not field.upright:
        boxes = upright_boxes(boxes, header.orientation, header.size)
    shown, kept = boxes_in_view(boxes, view, field.min_area, field.min_visibility)
    if stored.labels is None:
        return torch.from_numpy(shown)
    objects: dict[str, Any] = {"boxes": torch.from_numpy(shown), "labels": torch.from_numpy(stored.labels[kept])}
    return objects if stored.image_id is None else {**objects, "image_id": stored.image_id}


def _points(stored: StoredPoints, header: Header, view: View) -> Tensor:
    field, places = stored.field, stored.points[:, :2]
    if not field.upright:
        places = upright_points(places, header.orientation, header.size)
    shown, inside = points_in_view(places, view, field.flip_pairs)
    if stored.points.shape[1] == 2:
        return torch.from_numpy(shown)
    order = swapped(len(shown), field.flip_pairs) if view.flip else slice(None)
    visible = stored.points[order, 2:]
    known = inside[:, np.newaxis] & (visible > 0)
    return torch.from_numpy(np.where(known, np.concatenate([shown, visible], axis=1), np.float32(0)))
