"""Histograms as shapes to draw: bins of equal width, or of equal ratio where values differ a lot."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 320, 100
"""Of the bars, in units of the drawing."""

_BINS = 24
_FAR_APART = 20  # times the least, from where on bins are of equal ratio


class Bar(NamedTuple):
    """A bin from `first` up to `last`, with the number of samples in it and its place in the drawing."""

    first: float
    last: float
    samples: int
    x: float
    y: float
    width: float
    height: float


class Histogram(NamedTuple):
    """The bars from left to right, their edges least, middle and most; and the values' median."""

    bars: list[Bar]
    edges: tuple[float, float, float]
    median: float
    by_ratio: bool


def histogram(values: npt.NDArray[np.float64]) -> Histogram | None:
    """Of positive numbers, shape (n,); None of none."""
    if not len(values):
        return None
    least, most = float(values.min()), float(values.max())
    by_ratio = most > _FAR_APART * least > 0
    if least == most:
        edges = np.array([least, most])
        counts = np.array([len(values)])
    else:
        edges = np.geomspace(least, most, _BINS + 1) if by_ratio else np.linspace(least, most, _BINS + 1)
        edges[0], edges[-1] = least, most  # exactly, whatever was rounded
        counts, _ = np.histogram(values, edges)
    width, most_in_one = WIDTH / len(counts), int(counts.max())
    bars = [
        Bar(first, last, count, place * width, HEIGHT * (1 - count / most_in_one), width, HEIGHT * count / most_in_one)
        for place, (first, last, count) in enumerate(
            zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        )
    ]
    middle = float(np.sqrt(least * most)) if by_ratio else (least + most) / 2
    return Histogram(bars, (least, middle, most), float(np.median(values)), by_ratio)
