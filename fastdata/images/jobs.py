"""What the compiled kernel is told, as it lies in memory: the steps of a transform, to draw views by, and views."""

import functools
import math
import struct
from collections.abc import Sequence
from typing import Any, Final, assert_never, cast

import numpy as np
import numpy.typing as npt

from fastdata.transforms.draw import numbers_of
from fastdata.transforms.steps import (
    MAX_SIDE,
    CenterCrop,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
)
from fastdata.transforms.transform import Transform
from fastdata.transforms.view import Box, Interpolation, View

JOB: Final = np.dtype(
    [
        ("box", np.int32, 4),  # left, top, right, bottom, of the upright image
        ("size", np.int32, 2),  # width, height
        ("window", np.int32, 4),  # left, top, right, bottom, of the resized box
        ("flip", np.int32),  # 1: left to right, 2: top to bottom, 3: both
        ("orientation", np.int32),  # EXIF's, 1 to 8
        (
            "filter",
            np.int32,
        ),  # 0: plain bilinear, 1 and 2: antialiased bilinear and bicubic, 3: for the reference
        ("checked", np.int32),  # 1: known to be undamaged; decoding stops at the box's last row
        ("reducing_gap", np.float64),  # 0: never decode at a fraction of the size
    ]
)
"""One sample's view, 64 bytes, as `struct job` in csrc/transforms/view.h."""


def jobs(views: Sequence[View], orientations: Sequence[int], checked: bool = False) -> npt.NDArray[np.void]:
    """The views of some images, whose EXIF orientations are given, as `decode` takes them: JOB, shape (n,)."""
    records = [
        (
            view.box,
            view.size,
            view.window,
            view.flip | view.flip_vertical << 1,
            orientation,
            filter_of(view.interpolation, view.antialias),
            checked,
            view.reducing_gap or 0.0,
        )
        for view, orientation in zip(views, orientations, strict=True)
    ]
    return np.array(records, JOB)


def filter_of(interpolation: str, antialias: bool) -> int:
    """As JOB has it. OpenCV's plain bicubic is the reference's alone."""
    return (1 if antialias else 0) if interpolation == "bilinear" else 2 if antialias else 3


_JOB_FIELDS = struct.Struct("=4i2i4i4id")


def view_of(job: bytes) -> View:
    """The view in the bytes of a JOB."""
    left, top, right, bottom, width, height, x, y, x_end, y_end, flip, _, kind, _, gap = _JOB_FIELDS.unpack(job)
    interpolation: Interpolation = "bilinear" if kind < 2 else "bicubic"
    box, window = Box(left, top, right, bottom), Box(x, y, x_end, y_end)
    antialias, vertical = 0 < kind < 3, bool(flip & 2)
    return View(box, (width, height), window, bool(flip & 1), antialias, gap or None, vertical, interpolation)


class LazyViews(Sequence[Any]):
    """Views, each made of what was drawn, a view or a JOB, only when it is asked for; or lists of such."""

    def __init__(self, drawn: "Sequence[View | bytes | LazyViews]") -> None:
        self._drawn = drawn

    def __len__(self) -> int:
        return len(self._drawn)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return LazyViews(self._drawn[index])
        drawn = self._drawn[index]
        return view_of(drawn) if isinstance(drawn, bytes) else drawn


STEP: Final = np.dtype(
    [
        ("kind", np.int32),  # by position in _STEPS
        ("first_number", np.int32),
        ("size", np.int32, 2),  # width, height; the shorter side, twice
        ("longest", np.int32),  # 0: no bound
        ("pad_if_needed", np.int32),
        ("padding", np.int32, 4),
        ("values", np.float64, 4),  # probability; or scale and logarithms of ratio
        ("ratio", np.float64, 2),
    ]
)
"""A step to be drawn by the kernel, 88 bytes, as `struct step` in csrc/transforms/draw.h."""

(
    _RANDOM_RESIZED_CROP,
    _RANDOM_HORIZONTAL_FLIP,
    _RANDOM_VERTICAL_FLIP,
    _RESIZE,
    _RESIZE_SHORTER,
    _CENTER_CROP,
    _RANDOM_CROP,
    _PAD,
) = range(8)


@functools.lru_cache(64)
def program(transform: Transform) -> npt.NDArray[np.void]:
    """The steps of a transform as the kernel draws them: STEP, shape (number of steps,)."""
    records = np.zeros(len(transform.closed_steps), STEP)
    first = 0
    for record, step in zip(records, transform.closed_steps, strict=True):
        record["first_number"] = first
        first += numbers_of(step)
        match step:
            case RandomResizedCrop():
                record["kind"] = _RANDOM_RESIZED_CROP
                record["values"] = *step.scale, *map(math.log, step.ratio)
                record["ratio"] = step.ratio
            case RandomHorizontalFlip():
                record["kind"], record["values"] = _RANDOM_HORIZONTAL_FLIP, step.p
            case RandomVerticalFlip():
                record["kind"], record["values"] = _RANDOM_VERTICAL_FLIP, step.p
            case Resize():
                record["kind"] = _RESIZE_SHORTER if isinstance(step.size, int) else _RESIZE
                record["longest"] = min(step.max_size or 0, MAX_SIDE)
            case CenterCrop():
                record["kind"] = _CENTER_CROP
            case RandomCrop():
                record["kind"], record["pad_if_needed"] = _RANDOM_CROP, step.pad_if_needed
            case Pad():
                record["kind"] = _PAD
            case _:
                assert_never(step)
        if not isinstance(step, RandomHorizontalFlip | RandomVerticalFlip | Pad):
            record["size"] = step.size if isinstance(step.size, int) else step.size[::-1]
        if isinstance(step, RandomCrop | Pad):
            record["padding"] = cast("tuple[int, ...]", step.padding)
    return records
