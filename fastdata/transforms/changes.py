"""What is to be done with the pixels of some images: what pixel steps draw, and what `images.colour` carries out."""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]
Values = npt.NDArray[np.float64]


class Operation(Enum):
    """What can be done with an image's pixels, and the numbers that say how, in the order of `Change.values`.

    Pixels and colours are in units of 0 to 255; `left`, `top`, `width`, `height` in pixels.
    """

    BRIGHTNESS = "factor"
    CONTRAST = "contrast's factor"
    SATURATION = "saturation's factor"
    HUE = "shift, in turns of the colour wheel, from -0.5 to 0.5"
    GRAYSCALE = "nothing"
    SOLARIZE = "threshold"
    POSTERIZE = "bits that are kept, from 0 to 8"
    INVERT = "nothing, inverted"
    AUTOCONTRAST = "nothing, stretched"
    EQUALIZE = "nothing, equalized"
    SHARPNESS = "sharpness's factor"
    BLUR = "kernel's width, kernel's height, sigma"
    NEAREST = "inverse affine matrix (6, in pixels from the image's centre), red, green, blue outside, or NaN"
    BILINEAR = "the same, bilinear"
    ERASE = "left, top, width, height, red, green, blue"
    ERASE_WITH_NOISE = "left, top, width, height, seed"


class Change(NamedTuple):
    """One operation on some of n images: `rows`, intp (m,), are their numbers, `values`, float64 (m, k), say how."""

    operation: Operation
    rows: Rows
    values: Values


def change_all(operation: Operation, *columns: npt.ArrayLike, count: int) -> Change:
    """The operation on all of `count` images, by columns of `count` numbers, or one for all."""
    return Change(operation, np.arange(count), table(columns, count))


def table(columns: Iterable[npt.ArrayLike], count: int) -> Values:
    """float64 (count, k) of k columns."""
    arrays = [np.broadcast_to(np.asarray(column, np.float64), (count,)) for column in columns]
    return np.stack(arrays, axis=1) if arrays else np.empty((count, 0))


def only(changes: Iterable[Change], chosen: npt.NDArray[np.bool_]) -> list[Change]:
    """The changes, to those images alone that are `chosen`, bool (n,)."""
    return [
        Change(operation, rows[kept], values[kept])
        for operation, rows, values in changes
        if (kept := chosen[rows]).any()
    ]
