"""Masks, boxes and points, drawn into their image."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from fastdata.commands.lettering import lettering

_NO_CLASS = 255  # of masks
_COLOURS = np.array([(230, 25, 75), (60, 180, 75), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240)])
_PER_PIXEL = 112  # pixels of the image's longer side, for each of a line's width: 2 of 224


class Drawing(NamedTuple):
    """A mask (H, W), boxes (n, 4), or points (n, 2) or (n, 3), told apart by their shapes; and the boxes' labels."""

    values: npt.NDArray[Any]
    labels: Sequence[object]


def as_array(value: Any) -> npt.NDArray[Any]:
    """A tensor, wherever it lies, or an array."""
    return np.asarray(value.cpu() if hasattr(value, "cpu") else value)


def drawn_in(pixels: npt.NDArray[np.uint8], drawings: Sequence[Drawing]) -> Image.Image:
    """An image of these pixels, uint8 of shape (H, W, 3), below what is drawn in it. Lines are so wide that they still
    show when it is made as small as a tile."""
    for mask in (drawing.values for drawing in drawings if drawing.values.shape == pixels.shape[:2]):
        coloured = (_COLOURS[mask.astype(np.int64) % len(_COLOURS)] + pixels.astype(np.int64)) // 2
        pixels = np.where(((mask != 0) & (mask != _NO_CLASS))[:, :, np.newaxis], coloured, pixels).astype(np.uint8)
    image = Image.fromarray(pixels)
    width = max(2, max(image.size) // _PER_PIXEL)
    for drawing in drawings:
        if drawing.values.shape == pixels.shape[:2]:
            continue
        if drawing.values.shape[1] == 4:
            _boxes(ImageDraw.Draw(image), drawing, width)
        elif drawing.values.shape[1] in (2, 3):
            _points(ImageDraw.Draw(image), drawing.values, width)
    return image


def _boxes(draw: ImageDraw.ImageDraw, drawing: Drawing, width: int) -> None:
    for number, (left, top, right, bottom) in enumerate(drawing.values.tolist()):
        colour = _colour(number)
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=width)
        if drawing.labels:
            place, (text, font) = (left + width, top + width), lettering(drawing.labels[number], 6 * width)
            draw.rectangle(draw.textbbox(place, text, font), fill=colour)
            draw.text(place, text, "white", font)


def _points(draw: ImageDraw.ImageDraw, points: npt.NDArray[Any], radius: int) -> None:
    for number, (x, y, *visible) in enumerate(points.tolist()):
        if visible != [0]:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(number))


def _colour(number: int) -> tuple[int, ...]:
    return tuple(_COLOURS[number % len(_COLOURS)].tolist())
