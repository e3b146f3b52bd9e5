"""Boxes of the image that came out, mapped back to the upright source image."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastdata.images.decode import decode
from fastdata.transforms.draw import draw
from fastdata.transforms.steps import (
    CenterCrop,
    Pad,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    TransformStep,
)
from fastdata.transforms.transform import Transform
from fastdata.transforms.view import View
from support.pictures import encoded

TRANSFORMS: list[list[TransformStep]] = [
    [RandomResizedCrop((24, 40)), RandomHorizontalFlip(), RandomVerticalFlip()],
    [Resize(30), CenterCrop(40), RandomHorizontalFlip(), RandomVerticalFlip()],
    [Pad(7), RandomVerticalFlip(1.0)],
    [CenterCrop(20), RandomHorizontalFlip(1.0)],
    [],
]


def forward(view: View, x: float, y: float) -> tuple[float, float]:
    """Where a point of the source comes out, by what `View` says of itself."""
    x = (x - view.box.left) * view.size[0] / view.box.width - view.window.left
    y = (y - view.box.top) * view.size[1] / view.box.height - view.window.top
    return (view.window.width - x if view.flip else x), (view.window.height - y if view.flip_vertical else y)


@given(
    st.sampled_from(TRANSFORMS),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(0, 2**64 - 1),
    st.lists(st.floats(-50, 150), min_size=4, max_size=4),
)
def test_it_undoes_what_the_view_does(
    steps: list[TransformStep], size: tuple[int, int], rng: int, edges: list[float]
) -> None:
    view = draw(Transform(steps), size, rng)
    left, top, right, bottom = min(edges[::2]), min(edges[1::2]), max(edges[::2]), max(edges[1::2])
    (x0, y0), (x1, y1) = forward(view, left, top), forward(view, right, bottom)
    seen = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
    for boxes in (np.array([seen, seen]), torch.tensor([seen, seen], dtype=torch.float64)):
        source: Any = view.to_source(boxes)
        assert type(source) is type(boxes)
        np.testing.assert_allclose(np.asarray(source), [[left, top, right, bottom]] * 2, atol=1e-6)
        assert np.asarray(boxes).tolist() == [seen, seen]


@pytest.mark.parametrize("steps", TRANSFORMS[:2])
@pytest.mark.parametrize("rng", range(4))
def test_what_is_found_in_the_pixels_lies_there_in_the_source(steps: list[TransformStep], rng: int) -> None:
    pixels = np.zeros((80, 60, 3), np.uint8)
    pixels[30:50, 25:40] = 255
    view = draw(Transform([*steps]), (60, 80), rng)
    bright = decode(encoded(pixels, "PNG"), view)[..., 0] > 127
    rows, columns = np.nonzero(bright)
    found = torch.tensor([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
    (source,) = view.to_source(found).tolist()
    shown = view.box
    expected = [max(25, shown.left), max(30, shown.top), min(40, shown.right), min(50, shown.bottom)]
    assert source == pytest.approx(expected, abs=2.5)
