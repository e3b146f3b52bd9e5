"""Masks, boxes and points follow the view of their image. Formulas and rounding are torchvision v2's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdata.transforms.view import View

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

# What turns a stored image upright, by EXIF orientation: first rows become columns, then it is mirrored.
_TRANSPOSED, _MIRRORED_X, _MIRRORED_Y = {5, 6, 7, 8}, {2, 3, 6, 7}, {3, 4, 7, 8}


def upright_mask(mask: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """A mask (H, W), turned as EXIF orientation turns its image. Nothing is copied."""
    turned = mask.T if orientation in _TRANSPOSED else mask
    return _mirrored(turned, orientation in _MIRRORED_X, orientation in _MIRRORED_Y)


def upright_boxes(boxes: Floats, orientation: int, size: tuple[int, int]) -> Floats:
    """XYXY boxes (n, 4) of the stored image in pixels of the upright one, which has that `size` (width, height)."""
    turned = boxes[:, [1, 0, 3, 2]] if orientation in _TRANSPOSED else boxes
    return _mirrored_boxes(turned, size, orientation in _MIRRORED_X, orientation in _MIRRORED_Y)


def upright_points(points: Floats, orientation: int, size: tuple[int, int]) -> Floats:
    """Points (n, 2) of the stored image in pixels of the upright one, which has that `size` (width, height)."""
    turned = points[:, ::-1] if orientation in _TRANSPOSED else points
    return _mirrored_points(turned, size, orientation in _MIRRORED_X, orientation in _MIRRORED_Y)


def mask_in_view(mask: npt.NDArray[Any], view: View) -> npt.NDArray[Any]:
    """The view of an upright mask (H, W), by nearest neighbour; 0 where it reaches beyond the mask."""
    box, window = view.box, view.window
    to_x, from_x = _nearest(box.width, view.size[0], window.left, window.right)
    to_y, from_y = _nearest(box.height, view.size[1], window.top, window.bottom)
    shown = np.zeros((window.height, window.width), mask.dtype)
    shown[to_y, to_x] = mask[np.ix_(box.top + from_y, box.left + from_x)]
    return np.ascontiguousarray(_mirrored(shown, view.flip, view.flip_vertical))


def _nearest(extent: int, size: int, begin: int, end: int) -> tuple[slice, npt.NDArray[np.int64]]:
    """The pixels from `begin` to `end` of what is resized from `extent` to `size`: which lie in it, and where from.

    As torch's interpolate(mode="nearest") computes them: in float32.
    """
    inside = np.arange(max(begin, 0), max(min(end, size), max(begin, 0)))
    source = np.floor(inside.astype(np.float32) * (np.float32(extent) / np.float32(size))).astype(np.int64)
    first = max(-begin, 0)
    return slice(first, first + len(inside)), np.minimum(source, extent - 1)


def boxes_in_view(boxes: Floats, view: View, min_area: float, min_visibility: float) -> tuple[Floats, Flags]:
    """Upright XYXY boxes (n, 4) in pixels of the view, clipped to it, but those to drop; and which (n,) are kept."""
    origin = np.array([view.box.left, view.box.top] * 2, np.float32)
    ratio = np.array([view.size[0] / view.box.width, view.size[1] / view.box.height] * 2, np.float32)
    shift = np.array([view.window.left, view.window.top] * 2, np.float32)
    moved = boxes - origin
    inside = _clipped(moved, view.box.width, view.box.height) * ratio - shift
    clipped = _clipped(inside, view.window.width, view.window.height)
    area, whole = _areas(clipped), _areas(moved * ratio)
    kept = (area > 0) & (area >= min_area) & (area >= min_visibility * whole)
    size = view.window.width, view.window.height
    return _mirrored_boxes(clipped, size, view.flip, view.flip_vertical)[kept], kept


def points_in_view(points: Floats, view: View, flip_pairs: Sequence[tuple[int, int]] = ()) -> tuple[Floats, Flags]:
    """Upright points (n, 2) in pixels of the view, and which of them (n,) lie in it."""
    ratio = np.array([view.size[0] / view.box.width, view.size[1] / view.box.height], np.float32)
    origin = np.array([view.box.left, view.box.top], np.float32)
    shift = np.array([view.window.left, view.window.top], np.float32)
    shown = view.window.width, view.window.height
    moved = _mirrored_points((points - origin) * ratio - shift, shown, view.flip, view.flip_vertical)
    if view.flip and flip_pairs:
        moved = moved[swapped(len(moved), flip_pairs)]
    # A pixel reaches half a pixel to each side of its centre.
    inside = (moved >= -0.5) & (moved < np.array(shown, np.float32) - 0.5)
    return moved, inside[:, 0] & inside[:, 1]


def swapped(count: int, pairs: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """The numbers from 0 to `count`, of which each of the pairs have changed places."""
    numbers = np.arange(count)
    for one, other in pairs:
        numbers[[one, other]] = other, one
    return numbers


def _mirrored(mask: npt.NDArray[Any], x: bool, y: bool) -> npt.NDArray[Any]:
    return mask[:: -1 if y else 1, :: -1 if x else 1]


def _mirrored_boxes(boxes: Floats, size: tuple[int, int], x: bool, y: bool) -> Floats:
    """Edges change sides: what lay to the left ends to the right."""
    mirrored = boxes.copy()
    if x:
        mirrored[:, [0, 2]] = size[0] - mirrored[:, [2, 0]]
    if y:
        mirrored[:, [1, 3]] = size[1] - mirrored[:, [3, 1]]
    return mirrored


def _mirrored_points(points: Floats, size: tuple[int, int], x: bool, y: bool) -> Floats:
    """The first pixel's centre becomes the last one's."""
    mirrored = points.copy()
    if x:
        mirrored[:, 0] = size[0] - 1 - mirrored[:, 0]
    if y:
        mirrored[:, 1] = size[1] - 1 - mirrored[:, 1]
    return mirrored


def _clipped(boxes: Floats, width: int, height: int) -> Floats:
    clipped: Floats = np.clip(boxes, np.float32(0), np.array([width, height] * 2, np.float32))
    return clipped


def _areas(boxes: Floats) -> Floats:
    areas: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas
