"""Masks, boxes and points follow their image's view: as torchvision's v2 functions move them, and as pixels move."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fastdata.transforms.draw import draw
from fastdata.transforms.follow import (
    boxes_in_view,
    mask_in_view,
    points_in_view,
    upright_boxes,
    upright_mask,
    upright_points,
)
from fastdata.transforms.steps import CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize, Step
from fastdata.transforms.view import Box, View
from support.torchvision import torchvision

ORIENTATIONS = range(1, 9)


@pytest.fixture(scope="module")
def theirs() -> Iterator[Any]:
    with torchvision() as found:
        yield found.transforms.v2.functional


def a_mask(width: int, height: int) -> np.ndarray:
    """Each pixel another number."""
    return np.arange(1, width * height + 1, dtype=np.int32).reshape(height, width)


@st.composite
def views(draws: st.DrawFn) -> tuple[tuple[int, int], View]:
    """An image's size, and a box of it resized to something, of which a window is shown that may reach beyond."""
    width, height = draws(st.integers(1, 40)), draws(st.integers(1, 40))
    left, top = draws(st.integers(0, width - 1)), draws(st.integers(0, height - 1))
    box = Box(left, top, draws(st.integers(left + 1, width)), draws(st.integers(top + 1, height)))
    size = draws(st.integers(1, 50)), draws(st.integers(1, 50))
    x, y = draws(st.integers(-9, size[0] - 1)), draws(st.integers(-9, size[1] - 1))
    window = Box(x, y, draws(st.integers(x + 1, size[0] + 9)), draws(st.integers(y + 1, size[1] + 9)))
    return (width, height), View(box, size, window, draws(st.booleans()))


@given(views())
def test_a_mask_is_resized_as_torch_does_by_nearest_neighbour(drawn: tuple[tuple[int, int], View]) -> None:
    (width, height), view = drawn
    mask = a_mask(width, height)
    cropped = torch.from_numpy(mask)[view.box.top : view.box.bottom, view.box.left : view.box.right]
    resized = torch.nn.functional.interpolate(cropped[None, None].float(), view.size[::-1], mode="nearest")[0, 0]
    image = Image.fromarray(resized.numpy().astype(np.int32)).crop(view.window)  # 0 outside
    expected = np.asarray(ImageOps.mirror(image) if view.flip else image)
    shown = mask_in_view(mask, view)
    assert shown.dtype == np.int32
    assert shown.flags.c_contiguous
    assert np.array_equal(shown, expected)


@pytest.mark.parametrize(("extent", "size"), [(2, 82), (62, 224), (234, 224)])
def test_a_source_that_float32_rounds_down_is_the_one_that_torch_takes(extent: int, size: int) -> None:
    mask = a_mask(extent, 1)
    view = View(Box(0, 0, extent, 1), (size, 1), Box(0, 0, size, 1), flip=False)
    expected = torch.nn.functional.interpolate(torch.from_numpy(mask)[None].float(), size, mode="nearest")[0]
    assert np.array_equal(mask_in_view(mask, view), expected.numpy())
    assert not np.array_equal(mask_in_view(mask, view)[0], mask[0, np.arange(size) * extent // size])


@given(views(), st.integers(0, 2**32 - 1))
def test_boxes_that_are_whole_pixels_are_where_their_pixels_are(drawn: tuple[tuple[int, int], View], seed: int) -> None:
    """At the image's own scale a box of ones in a mask ends as the box's ones."""
    (width, height), view = drawn
    view = view._replace(size=(view.box.width, view.box.height))
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.integers(0, width + 1, 2)), np.sort(rng.integers(0, height + 1, 2))
    mask = np.zeros((height, width), np.uint8)
    mask[y[0] : y[1], x[0] : x[1]] = 1
    boxes, kept = boxes_in_view(np.array([[x[0], y[0], x[1], y[1]]], np.float32), view, 1.0, 0.0)
    rows, columns = mask_in_view(mask, view).nonzero()
    assert kept.tolist() == [len(rows) > 0]
    if len(rows):
        assert boxes.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]


@given(views(), st.integers(0, 2**32 - 1))
def test_a_point_is_where_its_pixel_is(drawn: tuple[tuple[int, int], View], seed: int) -> None:
    (width, height), view = drawn
    view = view._replace(size=(view.box.width, view.box.height))
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, width), rng.integers(0, height)
    mask = np.zeros((height, width), np.uint8)
    mask[y, x] = 1
    points, inside = points_in_view(np.array([[x, y]], np.float32), view)
    within_box = view.box.left <= x < view.box.right and view.box.top <= y < view.box.bottom
    rows, columns = mask_in_view(mask, view).nonzero()
    if within_box:
        assert inside.tolist() == [len(rows) > 0]
    if len(rows):
        assert points.tolist() == [[columns[0], rows[0]]]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_all_is_turned_upright_as_pillow_turns_the_image(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(a_mask(7, 5))
    stored.info["exif"] = exif.tobytes()
    upright = np.asarray(ImageOps.exif_transpose(stored))
    mask = upright_mask(a_mask(7, 5), orientation)
    assert np.array_equal(mask, upright)
    size = upright.shape[1], upright.shape[0]
    x, y = 2, 1  # the pixel 1 * 7 + 2 + 1 = 10
    (row,), (column,) = (upright == 10).nonzero()
    points = upright_points(np.array([[x, y]], np.float32), orientation, size)
    assert points.tolist() == [[column, row]]
    boxes = upright_boxes(np.array([[x, y, x + 1, y + 1]], np.float32), orientation, size)
    assert boxes.tolist() == [[column, row, column + 1, row + 1]]


WHOLE = View(Box(0, 0, 10, 10), (10, 10), Box(0, 0, 10, 10), flip=False)


@pytest.mark.parametrize(
    ("box", "min_area", "min_visibility", "kept"),
    [
        ([1, 1, 3, 3], 4.0, 0.0, True),
        ([1, 1, 3, 3], 4.1, 0.0, False),
        ([8, 0, 12, 2], 1.0, 0.5, True),
        ([8, 0, 12, 2], 1.0, 0.6, False),
        ([10, 0, 12, 2], 0.0, 0.0, False),
        ([1, 1, 1, 3], 0.0, 0.0, False),
        ([1, 1, 1.5, 1.5], 0.0, 0.0, True),
    ],
)
def test_a_box_is_kept_where_enough_of_it_is_left(
    box: list[float], min_area: float, min_visibility: float, kept: bool
) -> None:
    boxes, flags = boxes_in_view(np.array([box], np.float32), WHOLE, min_area, min_visibility)
    assert (flags.tolist(), len(boxes)) == ([kept], int(kept))


def test_no_boxes_and_no_points_stay_none() -> None:
    none = np.zeros((0, 4), np.float32)
    assert boxes_in_view(upright_boxes(none, 6, (3, 4)), WHOLE, 1.0, 0.0)[0].shape == (0, 4)
    assert points_in_view(upright_points(none[:, :2], 6, (3, 4)), WHOLE._replace(flip=True))[0].shape == (0, 2)


def test_the_left_eye_becomes_the_right_one() -> None:
    points = np.array([[1, 1], [6, 1], [4, 8]], np.float32)
    assert points_in_view(points, WHOLE, [(0, 1)])[0].tolist() == points.tolist()
    mirrored, _ = points_in_view(points, WHOLE._replace(flip=True), [(0, 1)])
    assert mirrored.tolist() == [[3, 1], [8, 1], [5, 8]]


class UpsideDown(View):
    """A view that is mirrored top to bottom."""

    flip_vertical = True


@given(views())
def test_what_is_upside_down_is_so_with_all_its_fields(drawn: tuple[tuple[int, int], View]) -> None:
    (width, height), view = drawn
    turned = UpsideDown(*view[:4])
    mask, place = a_mask(width, height), np.array([[1.5, 2.5]], np.float32)
    assert np.array_equal(mask_in_view(mask, turned), mask_in_view(mask, view)[::-1])
    (x, y), (u, v) = points_in_view(place, view)[0][0], points_in_view(place, turned)[0][0]
    assert (u, v) == (x, view.window.height - 1 - y)
    box = np.array([[0, 0, width / 2, height / 2]], np.float32)
    for (left, top, right, bottom), there in zip(
        boxes_in_view(box, view, 0, 0)[0], boxes_in_view(box, turned, 0, 0)[0], strict=True
    ):
        assert there.tolist() == [left, view.window.height - bottom, right, view.window.height - top]


TRAINING: list[Step] = [RandomResizedCrop((33, 47)), RandomHorizontalFlip()]
EVALUATION: list[Step] = [Resize(41), CenterCrop((32, 64))]


def by_torchvision(functional: Any, kind: str, value: torch.Tensor, image: tuple[int, int], view: View) -> torch.Tensor:
    """Crop, resize, crop the window, flip: each by torchvision's function for a mask, boxes or keypoints."""
    canvas = image[::-1]

    def call(step: str, *arguments: Any, **named: Any) -> None:
        nonlocal value, canvas
        made = getattr(functional, f"{step}_{kind}")(value, *arguments, **named)
        value, canvas = made if isinstance(made, tuple) else (made, canvas)

    xyxy = format_of_boxes() if kind == "bounding_boxes" else None
    crop = {} if xyxy is None else {"format": xyxy}
    for box, resized in ((view.box, True), (view.window, False)):
        call("crop", top=box.top, left=box.left, height=box.height, width=box.width, **crop)
        if resized and kind == "mask":
            call("resize", list(view.size[::-1]))
        elif resized:
            call("resize", canvas_size=canvas, size=list(view.size[::-1]))
    if view.flip and kind == "mask":
        call("horizontal_flip")
    elif view.flip:
        call("horizontal_flip", canvas_size=canvas, **crop)
    return value


def format_of_boxes() -> Any:
    from torchvision.tv_tensors import BoundingBoxFormat

    return BoundingBoxFormat.XYXY


@pytest.mark.parametrize("steps", [TRAINING, EVALUATION], ids=["training", "evaluation"])
def test_masks_boxes_and_points_are_torchvisions_under_the_same_draw(theirs: Any, steps: list[Step]) -> None:
    for number in range(100):
        rng = np.random.default_rng(number)
        width, height = (int(side) for side in rng.integers(20, 300, 2))
        view = draw(steps, (width, height), number)
        mask = rng.integers(0, 256, (height, width), np.uint8)
        shown = torch.from_numpy(mask_in_view(mask, view))
        assert torch.equal(
            shown, by_torchvision(theirs, "mask", torch.from_numpy(mask)[None], (width, height), view)[0]
        )
        ends = [np.sort(rng.uniform(0, side, (20, 2)).astype(np.float32)) for side in (width, height)]
        boxes = np.stack([ends[0][:, 0], ends[1][:, 0], ends[0][:, 1], ends[1][:, 1]], axis=1)
        moved, kept = boxes_in_view(boxes, view, 1.0, 0.0)
        expected = by_torchvision(theirs, "bounding_boxes", torch.from_numpy(boxes), (width, height), view)
        assert torch.equal(torch.from_numpy(moved), expected[torch.from_numpy(kept)])
        areas = (expected[:, 2] - expected[:, 0]) * (expected[:, 3] - expected[:, 1])
        assert torch.equal(torch.from_numpy(kept), areas >= 1)
        points = rng.uniform(0, (width, height), (20, 2)).astype(np.float32)
        expected = by_torchvision(theirs, "keypoints", torch.from_numpy(points), (width, height), view)
        assert torch.equal(torch.from_numpy(points_in_view(points, view)[0]), expected)
