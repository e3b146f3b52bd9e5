"""Affine maps of images: for each pixel of the output, where in the input it comes from.

Each is six columns a, b, c, d, e, f of float64 (n,): (x, y) comes from (ax + by + c, dx + ey + f), in pixels from the
image's centre, y downwards. Angles, signs and centres are those that torchvision's RandAugment gives its `affine` and
`rotate`.
"""

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.float64]
Matrix = tuple[Column, Column, Column, Column, Column, Column]


def translate(pixels: Column, axis: str) -> Matrix:
    """By whole pixels along "X" or "Y"."""
    one, zero = np.ones_like(pixels), np.zeros_like(pixels)
    return (one, zero, -pixels, zero, one, zero) if axis == "X" else (one, zero, zero, zero, one, -pixels)


def rotate(degrees: Column) -> Matrix:
    """About the centre, anticlockwise."""
    angle = np.radians(-degrees)
    cos, sin, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return cos, sin, zero, -sin, cos, zero


def shear(slopes: Column, axis: str, size: tuple[int, int]) -> Matrix:
    """Along "X" or "Y", with the upper left corner of an image of `size` (width, height) where it was."""
    one, zero = np.ones_like(slopes), np.zeros_like(slopes)
    if axis == "X":
        return one, slopes, slopes * size[1] / 2, zero, one, zero
    return one, zero, zero, slopes, one, slopes * size[0] / 2
