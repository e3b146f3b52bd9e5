"""Thumbnails, small enough that a page of hundreds is a small page."""

import base64
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastdata.cpus import available_cpus
from fastdata.datasets.base import ImageDataset
from fastdata.errors import SampleError

_QUALITY = 75
_OPEN, _CLOSED = 12, 48  # classes whose thumbnails are there at once, and those that are folded
_OF_OPEN, _OF_CLOSED, _OF_ALL = 8, 4, 48


class Picture(NamedTuple):
    """A sample's key, and its thumbnail: a JPEG in base64, or why there is none."""

    key: str
    jpeg: str
    cause: str


class Gallery(NamedTuple):
    """Thumbnails of a class by its index (-1: of all samples), `folded` where they need not be seen at once."""

    class_index: int
    pictures: list[Picture]
    folded: bool


def galleries(dataset: ImageDataset, classes: npt.NDArray[np.int64], largest: Iterable[int]) -> list[Gallery]:
    """Some of each of the `largest` classes, evenly spread; where there is none, some of all samples."""
    shown = list(largest)[: _OPEN + _CLOSED]
    wanted: dict[int, list[int]] = {}
    for place, index in enumerate(shown):
        wanted[index] = _spread(np.flatnonzero(classes == index), _OF_OPEN if place < _OPEN else _OF_CLOSED)
    if not wanted:
        wanted[-1] = _spread(np.arange(len(classes)), _OF_ALL)
    made = pictures(dataset, {number for numbers in wanted.values() for number in numbers})
    folded = frozenset(shown[_OPEN:])
    return [Gallery(index, [made[n] for n in numbers], index in folded) for index, numbers in wanted.items()]


def pictures(dataset: ImageDataset, numbers: Iterable[int]) -> Mapping[int, Picture]:
    """The thumbnails of these samples by number."""
    wanted = sorted(numbers)
    dataset.expect(wanted)
    try:
        with ThreadPoolExecutor(available_cpus(), "fastdata-report") as threads:
            return dict(zip(wanted, threads.map(partial(_picture, dataset), wanted), strict=True))
    finally:
        dataset.expect_nothing()


def _picture(dataset: ImageDataset, number: int) -> Picture:
    try:
        sample = dataset.load(number, 0)
    except SampleError as error:
        return Picture(error.key, "", error.cause)
    file = io.BytesIO()
    Image.fromarray(sample.image).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return Picture(sample.key, base64.b64encode(file.getvalue()).decode("ascii"), "")


def _spread(numbers: npt.NDArray[np.int64], count: int) -> list[int]:
    """So many of the numbers, evenly spread."""
    places = np.linspace(0, len(numbers) - 1, min(count, len(numbers)))
    found: list[int] = numbers[places.astype(np.int64)].tolist()
    return found
