"""What every dataset of images has: one line from a sample's number to its pixels, by `read`, `draw` and decoding."""

import functools
import operator
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from torch.utils.data import get_worker_info

from fastdata.datasets.fields import follows, in_view
from fastdata.datasets.mapping import Map, SampleMap
from fastdata.errors import DecodeError, DrawError, ReadError, SampleError, TarError, TargetError
from fastdata.images import kernel
from fastdata.images.colour import recolour
from fastdata.images.decode import decode_into
from fastdata.images.header import Header, read_header
from fastdata.images.jobs import JOB
from fastdata.images.reference import Encoded
from fastdata.sample import Pair, Pixels, Sample, key_hash
from fastdata.transforms.draw import draw, sample_rng, sample_rngs
from fastdata.transforms.steps import Transform, TransformStep, View, as_transform

Transforms = Transform | Iterable[TransformStep] | None

# Decoding leaves the CPU's caches without what reading and drawing need, which then take twice as long: so that is done
# for several samples first. Not for more of them than the caches hold.
BYTES_AT_ONCE = 1 << 21
_SAMPLES_AT_ONCE = 16

Data = bytes | memoryview
T = TypeVar("T")

LookFor = Callable[[Sequence[int]], kernel.Look]
"""What the kernel is to find out of samples while it reads them, by their `key_hash`es."""

Seen = tuple[list[Sample[Data] | SampleError], kernel.Look | None]
"""Samples that were read, and what was seen of each."""

_NOTHING = Sample[Data]("", b"", None)


class Prepared(NamedTuple):
    """A sample that is read and drawn, and only to be decoded.

    What is done with its pixels then `dataset` says, the one that it was drawn by.
    """

    number: int
    key: str
    target: Any
    image: Encoded
    dataset: "ImageDataset"


class Task(NamedTuple):
    """Some samples that are read and drawn, or what is wrong with them; and the nanoseconds that it took."""

    samples: list[Prepared | SampleError]
    read_ns: int
    draw_ns: int


class ImageDataset(ABC):
    """Samples by number, from 0 to `num_samples`: read, drawn in an epoch, decoded."""

    # What a dataset may say for its Loader; these of a DataLoader's datasets are its own.
    shuffle = False
    ranks: tuple[int | None, int | None] = (None, None)

    def __init__(self, transform: Transforms, seed: int, max_pixels: int, map: Map | None = None) -> None:
        self.transform = as_transform(transform)
        self.map = map
        self._map = None if map is None else SampleMap(map)
        self.seed = operator.index(seed)
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.max_pixels = max_pixels

    @property
    def is_mapped(self) -> bool:
        """Whether a `map` makes something else of some of its samples."""
        return self.map is not None

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """The number of samples, over all ranks and workers."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A short name of the samples and their order, by which a resumed run knows its dataset."""

    @abstractmethod
    def key(self, number: int) -> str:
        """The key of sample `number`."""

    @abstractmethod
    def where(self, number: int) -> str:
        """The file of sample `number`, or its shard and offset, for messages."""

    @abstractmethod
    def _read(self, number: int) -> Sample[bytes]: ...

    def read(self, number: int) -> Sample[bytes]:
        """Sample `number` as it is stored, its boxes too, say. ReadError or TargetError where it can't be read."""
        sample = self._tried(number, partial(self._read, number))
        if isinstance(sample, SampleError):
            raise sample
        return sample

    def read_some(self, numbers: Sequence[int]) -> "list[Sample[Data] | SampleError]":
        """The first of these samples, at least one, or what is wrong with them; where the kernel is there, in one call.

        No more than about `BYTES_AT_ONCE`, where sizes are known beforehand.
        """
        return self._read_some(numbers, None)[0]

    def _read_some(self, numbers: Sequence[int], look_for: "LookFor | None") -> "Seen":
        """The same; and where the kernel is there to draw views, what it saw of as many as were asked for."""
        samples: list[Sample[Data] | SampleError] = []
        size = 0
        for number in numbers:
            sample = self._tried(number, partial(self._read, number))
            samples.append(sample)  # type: ignore[arg-type] # Sample is a tuple, so of bytes or more
            size += 0 if isinstance(sample, SampleError) else len(sample.image)
            if size > BYTES_AT_ONCE:
                break
        if look_for is None:
            return samples, None
        good = [sample if isinstance(sample, Sample) else _NOTHING for sample in samples]
        return samples, look_for([key_hash(sample.key) for sample in good]).at([sample.image for sample in good])

    def _tried(self, number: int, do: Callable[[], T]) -> T | SampleError:
        """What it gives, or what is wrong with this sample."""
        try:
            return do()
        except SampleError as error:
            return error.without_frames()
        except (OSError, TarError) as error:
            located = ReadError(str(error), self._key_if_readable(number), self.where(number))
            located.__cause__ = error
            return located.without_frames()

    def draw(self, sample: Sample[bytes], epoch: int) -> tuple[Header, View]:
        """The view of a sample in an epoch: a function of seed, epoch and key.

        DecodeError for a bad header, DrawError for an image that the transform has no view of.
        """
        header = read_header(sample.image, self.max_pixels)
        return header, draw(self.transform, header.size, sample_rng(self.seed, epoch, sample.key))

    def prepare(self, numbers: Sequence[int], epoch: int) -> Task:
        """Read and draw the first of these samples: at least one, and no more than `decode_into` should get at once."""
        begun = time.perf_counter_ns()
        look_for = None if kernel.KERNEL is None else partial(self._look, epoch)
        samples, look = self._read_some(numbers, look_for)
        read = time.perf_counter_ns()
        pairs = zip(numbers, samples, strict=False)
        if look is None:
            prepared = [self._drawn(number, sample, epoch) for number, sample in pairs]
        else:
            jobs = [*_split(look.jobs.tobytes(), JOB.itemsize)]
            seen = zip(pairs, look.headers.tolist(), jobs, strict=False)
            prepared = [
                self._drawn(*pair, epoch) if header[3] else self._seen(*pair, header, job) for pair, header, job in seen
            ]
        return Task(prepared, read - begun, time.perf_counter_ns() - read)

    def _look(self, epoch: int, key_hashes: Sequence[int]) -> kernel.Look:
        return kernel.Look(self.transform, sample_rngs(self.seed, epoch, key_hashes), self.max_pixels)

    def _seen(
        self, number: int, sample: "Sample[Data] | SampleError", seen: list[int], job: bytes
    ) -> Prepared | SampleError:
        """A sample whose view the kernel has drawn."""
        if isinstance(sample, SampleError):
            return sample
        width, height, orientation, _ = seen
        if orientation >= 5:
            width, height = height, width
        image = Encoded(sample.image, Header(width, height, orientation, None, by_kernel=True), job=job)
        return self._in_view(Prepared(number, sample.key, sample.target, image, self))

    def _drawn(self, number: int, sample: "Sample[Data] | SampleError", epoch: int) -> Prepared | SampleError:
        """A sample whose view is drawn here, or what is wrong with it."""
        if isinstance(sample, SampleError):
            return sample
        whole = Sample(sample.key, bytes(sample.image), sample.target)
        try:
            header, view = self.draw(whole, epoch)
        except (DecodeError, DrawError) as error:
            return error.at(sample.key, self.where(number)).without_frames()
        return self._in_view(Prepared(number, sample.key, sample.target, Encoded(whole.image, header, view), self))

    def _in_view(self, sample: Prepared) -> Prepared | SampleError:
        """The sample with the fields that follow its view; TargetError where one can't."""
        if not follows(sample.target):
            return sample
        try:
            return sample._replace(target=in_view(sample.target, sample.image.header, sample.image.view))
        except TargetError as error:
            return error.at(sample.key, self.where(sample.number)).without_frames()

    def decode_into(self, samples: Sequence[Prepared], rows: Sequence[Pixels]) -> "DecodedSamples":
        """Decode samples into their rows, each of the transform's output size: uint8, shape (H, W, 3)."""
        errors, decode_ns, resize_ns = decode_into([sample.image for sample in samples], rows)
        located = [error and error.at(s.key, self.where(s.number)) for error, s in zip(errors, samples, strict=True)]
        return DecodedSamples(located, decode_ns, resize_ns)

    def load(self, number: int, epoch: int, out: Pixels | None = None) -> Sample[Pixels]:
        """Sample `number` in an epoch, its pixels uint8 of shape (H, W, 3), in `out` where it is given.

        SampleError where the sample can't be read or decoded, with key, place and cause.
        """
        (sample,) = self.prepare([number], epoch).samples
        if isinstance(sample, SampleError):
            raise sample
        window = sample.image.view.window
        pixels = np.empty((window.height, window.width, 3), np.uint8) if out is None else out
        (error,) = self.decode_into([sample], [pixels]).errors
        if error is not None:
            raise error
        return Sample(sample.key, pixels, sample.target)

    def pair(self, number: int, epoch: int) -> Pair:
        """Sample `number` as torch has it: (uint8 tensor of shape (3, H, W), target), or what `map` makes of that."""
        (pair,) = self.pairs([number], epoch)
        return pair

    def pairs(self, numbers: Sequence[int], epoch: int) -> list[Pair]:
        """The same of some samples at once. SampleError for the first that can't be read or decoded."""
        _stay_in_one_thread(os.getpid())
        pairs: list[Pair] = []
        while left := numbers[len(pairs) : len(pairs) + _SAMPLES_AT_ONCE]:
            good = []
            for sample in self.prepare(left, epoch).samples:
                if isinstance(sample, SampleError):
                    raise sample
                good.append(sample)
            rows = new_rows(good)
            for sample, row, error in zip(good, rows, self.decode_into(good, rows).errors, strict=True):
                if error is not None:
                    raise error
                pairs.append(sample.dataset.finished(sample, row, epoch))
        return pairs

    def finished(self, sample: Prepared, pixels: Pixels, epoch: int) -> Pair:
        """A sample of this dataset as torch has it: its colour steps carried out, and `map`."""
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        if self.transform.pixel_steps:
            rngs = sample_rngs(self.seed, epoch, [key_hash(sample.key)])
            image = recolour(image[None], self.transform, rngs)[0]
        pair = Pair(image, sample.target, sample.key, sample.image.view)
        return pair if self._map is None else self._map(pair, sample_rng(self.seed, epoch, sample.key))

    def _key_if_readable(self, number: int) -> str:
        try:
            return self.key(number)
        except (OSError, TarError):
            return f"number {number}"


def new_rows(samples: Sequence[Prepared]) -> list[Pixels]:
    """An array for each sample's pixels, in its view's size."""
    windows = [sample.image.view.window for sample in samples]
    return [np.empty((window.height, window.width, 3), np.uint8) for window in windows]


class DecodedSamples(NamedTuple):
    """What became of some samples: for each what is wrong with it, or None; and nanoseconds spent on all of them."""

    errors: Sequence[SampleError | None]
    decode_ns: int
    resize_ns: int


def _split(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@functools.cache
def _stay_in_one_thread(pid: int) -> None:
    """Keep OpenCV from starting threads in each of a DataLoader's workers, as torch does for itself."""
    if get_worker_info() is not None:
        cv2.setNumThreads(0)
