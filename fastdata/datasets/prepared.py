"""Samples between reading and decoding: what is known of them, and what the kernel finds out while it reads them."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from fastdata import splitmix
from fastdata.errors import SampleError
from fastdata.images import kernel
from fastdata.images.header import Header
from fastdata.images.jobs import JOB, LazyViews
from fastdata.images.reference import Encoded
from fastdata.sample import Pixels, Sample
from fastdata.transforms.transform import Transform
from fastdata.transforms.views import rngs_of_view

if TYPE_CHECKING:
    from fastdata.datasets.base import ImageDataset

Data = bytes | memoryview


class Prepared(NamedTuple):
    """A sample that is read and drawn, and only to be decoded: an image for each of its views.

    What is done with its pixels then `dataset` says, the one that it was drawn by; `rng` is where its random numbers
    start.
    """

    number: int
    key: str
    target: Any
    images: tuple[Encoded, ...]
    dataset: "ImageDataset"
    rng: int

    @property
    def image(self) -> Encoded:
        """Its only view, or the first."""
        return self.images[0]

    @property
    def views(self) -> LazyViews:
        """What was drawn, view by view."""
        return LazyViews([image.drawn for image in self.images])


class Task(NamedTuple):
    """Some samples that are read and drawn, or what is wrong with them; and the nanoseconds that it took."""

    samples: list[Prepared | SampleError]
    read_ns: int
    draw_ns: int


class DecodedSamples(NamedTuple):
    """What became of some samples: for each what is wrong with it, or None; and nanoseconds spent on all of them."""

    errors: Sequence[SampleError | None]
    decode_ns: int
    resize_ns: int


class Looks:
    """What the kernel finds out about n samples: headers, and a view of each by each of some transforms.

    The first transform's while it reads them, those of others then.
    """

    def __init__(self, transforms: Sequence[Transform], rngs: splitmix.Words, max_pixels: int) -> None:
        self._transforms = transforms
        self._rngs = rngs
        self._max_pixels = max_pixels
        self._looks = [kernel.Look(transforms[0], rngs, max_pixels)]

    @property
    def first(self) -> kernel.Look:
        """To be handed to the kernel's reading."""
        return self._looks[0]

    def finish(self, files: Sequence[Data], checked: Sequence[bool] | None = None) -> Self:
        """All else, once the files are read; and which of them are known to be undamaged."""
        for view, transform in enumerate(self._transforms[1:], 1):
            self._looks.append(kernel.Look(transform, rngs_of_view(self._rngs, view), self._max_pixels).at(files))
        for look in self._looks:
            if checked is not None:
                look.jobs["checked"] = checked
        self.rngs: list[int] = self._rngs.tolist()
        self._headers: list[list[int]] = self.first.headers.tolist()
        self._kinds: list[int] = np.bitwise_or.reduce([look.headers[:, 3] for look in self._looks]).tolist()
        self._jobs = [look.jobs.tobytes() for look in self._looks]
        return self

    def at(self, files: Sequence[Data]) -> Self:
        """All of it, of files that are read already."""
        self.first.at(files)
        return self.finish(files)

    def encoded(self, place: int, data: Data) -> tuple[Encoded, ...] | None:
        """The views of the sample at a place; None where Python has to say what they are, or what is wrong."""
        if self._kinds[place]:  # anything but Kind.DECODABLE, which is 0
            return None
        width, height, orientation, _ = self._headers[place]
        if orientation >= 5:
            width, height = height, width
        header = Header(width, height, orientation, None, by_kernel=True)
        at = place * JOB.itemsize
        return tuple([Encoded(data, header, job=jobs[at : at + JOB.itemsize]) for jobs in self._jobs])


LookFor = Callable[[Sequence[int]], Looks]
"""What the kernel is to find out of samples while it reads them, by their `key_hash`es."""

Seen = tuple[list[Sample[Data] | SampleError], Looks | None]
"""Samples that were read, and what was seen of each."""


def split(memory: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    """Its parts, one after another."""
    return [memory[end - size : end] for end, size in zip(accumulate(sizes), sizes, strict=True)]


def new_rows(samples: Sequence[Prepared]) -> list[Pixels]:
    """An array for the pixels of each of the samples' views, in its size."""
    windows = [image.view.window for sample in samples for image in sample.images]
    return [np.empty((window.height, window.width, 3), np.uint8) for window in windows]
