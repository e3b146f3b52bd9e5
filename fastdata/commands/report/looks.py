"""A look at samples of a dataset, each read and decoded to its end: what they are, and which can't be."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import xxhash

from fastdata.commands.report.source import Fault
from fastdata.cpus import available_cpus
from fastdata.datasets.base import ImageDataset
from fastdata.errors import SampleError
from fastdata.images.cut import is_crop_ready
from fastdata.images.decode import decode

FORMATS = ("JPEG", "PNG", "WebP", "BMP", "TIFF", "PNM", "GIF", "other")
_MAGIC = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG": "PNG",
    b"RIFF": "WebP",
    b"BM": "BMP",
    b"II": "TIFF",
    b"MM": "TIFF",
    b"P": "PNM",
    b"GIF8": "GIF",
}

LOOK = np.dtype(
    [
        ("number", np.int64),
        ("bytes", np.int64),
        ("hash", "S16"),  # xxh3_128 of the bytes
        ("width", np.int32),  # of the upright image, as the height
        ("height", np.int32),
        ("format", np.int8),  # its place in FORMATS
        ("turned", np.bool_),  # by its EXIF orientation
        ("crop_ready", np.bool_),
        ("good", np.bool_),  # only then is anything after `number` known
    ]
)

_AT_ONCE = 64


class Looks(NamedTuple):
    """Rows of `LOOK` in the order of the numbers, shape (n,), and what is wrong with those that are not good."""

    rows: npt.NDArray[np.void]
    faults: list[Fault]

    @classmethod
    def of_none(cls) -> Self:
        return cls(np.zeros(0, LOOK), [])

    @property
    def good(self) -> npt.NDArray[np.void]:
        """The rows of images that could be decoded."""
        rows: npt.NDArray[np.void] = self.rows[self.rows["good"]]
        return rows


def look_at(dataset: ImageDataset, numbers: Sequence[int], advance: Callable[[int], None]) -> Looks:
    """Reads and decodes these samples by a thread for each CPU; says how many are done since it said so last.

    OSError where the machine is at fault.
    """
    rows = np.zeros(len(numbers), LOOK)
    faults: list[Fault] = []
    parts = [numbers[first : first + _AT_ONCE] for first in range(0, len(numbers), _AT_ONCE)]
    place = 0
    dataset.expect(numbers)
    threads = ThreadPoolExecutor(available_cpus(), "fastdata-report")
    try:
        for found in threads.map(partial(_some, dataset), parts):
            for one in found:
                if isinstance(one, Fault):
                    rows[place]["number"] = numbers[place]
                    faults.append(one)
                else:
                    rows[place] = one
                place += 1
            advance(len(found))
    finally:
        threads.shutdown(cancel_futures=True)
        dataset.expect_nothing()
    return Looks(rows, faults)


def _some(dataset: ImageDataset, numbers: Sequence[int]) -> list[tuple[object, ...] | Fault]:
    return [_one(dataset, number) for number in numbers]


def _one(dataset: ImageDataset, number: int) -> tuple[object, ...] | Fault:
    """A row of `LOOK`, or what is wrong with the sample."""
    try:
        sample = dataset.read(number)
        header, view = dataset.draw(sample, 0)
        decode(sample.image, view, header=header)
    except SampleError as error:
        return Fault(error.key or dataset.key(number), error.where or dataset.where(number), error.cause)
    data = sample.image
    name = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), "other")
    digest = xxhash.xxh3_128_digest(data)
    turned = header.orientation != 1
    return number, len(data), digest, *header.size, FORMATS.index(name), turned, is_crop_ready(data), True
