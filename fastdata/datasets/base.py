"""What every dataset of images has: one line from a sample's number to its pixels, by `read`, `draw` and decoding."""

import functools
import operator
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from fastdata.epoch.orders import Order
from fastdata.errors import DecodeError, DrawError, ReadError, SampleError, TarError
from fastdata.images.decode import decode_into
from fastdata.images.header import Header, read_header, read_headers
from fastdata.images.reference import Encoded
from fastdata.sample import Pixels, Sample, key_hash
from fastdata.transforms.draw import draw, draw_some, sample_rng, sample_rngs
from fastdata.transforms.steps import Transform, TransformStep, View, as_transform

Transforms = Transform | Iterable[TransformStep] | None

# Decoding leaves the CPU's caches without what reading and drawing need, which then take twice as long: so that is done
# for several samples first. Not for more of them than the caches hold.
BYTES_AT_ONCE = 1 << 21
_SAMPLES_AT_ONCE = 16

Data = bytes | memoryview
T = TypeVar("T")


class Prepared(NamedTuple):
    """A sample that is read and drawn, and only to be decoded."""

    number: int
    key: str
    target: Any
    image: Encoded


class Task(NamedTuple):
    """Some samples that are read and drawn, or what is wrong with them; and the nanoseconds that it took."""

    samples: list[Prepared | SampleError]
    read_ns: int
    draw_ns: int


class ImageDataset(ABC):
    """Samples by number, from 0 to `num_samples`: read, drawn in an epoch, decoded."""

    # What a dataset may say for its Loader; these of a DataLoader's datasets are its own.
    shuffle = False
    order: Order | None = None
    ranks: tuple[int | None, int | None] = (None, None)

    def __init__(self, transform: Transforms, seed: int, max_pixels: int) -> None:
        self.transform = as_transform(transform)
        self.seed = operator.index(seed)
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.max_pixels = max_pixels

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

    def key_hashes(self) -> npt.NDArray[np.uint64]:
        """The `key_hash` of every sample's key, uint64 of shape (num_samples,)."""
        keys = (self.key(number) for number in range(self.num_samples))
        return np.fromiter(map(key_hash, keys), np.uint64, self.num_samples)

    @abstractmethod
    def where(self, number: int) -> str:
        """The file of sample `number`, or its shard and offset, for messages."""

    @abstractmethod
    def _read(self, number: int) -> Sample[bytes]: ...

    def read(self, number: int) -> Sample[bytes]:
        """Sample `number` as it is stored. ReadError or TargetError where it can't be read."""
        sample = self._tried(number, partial(self._read, number))
        if isinstance(sample, SampleError):
            raise sample
        return sample

    def read_some(self, numbers: Sequence[int]) -> "list[Sample[Data] | SampleError]":
        """The first of these samples, at least one, or what is wrong with them; where the kernel is there, in one call.

        No more than about `BYTES_AT_ONCE`, where sizes are known beforehand.
        """
        samples: list[Sample[Data] | SampleError] = []
        size = 0
        for number in numbers:
            sample = self._tried(number, partial(self._read, number))
            samples.append(sample)  # type: ignore[arg-type] # Sample is a tuple, so of bytes or more
            size += 0 if isinstance(sample, SampleError) else len(sample.image)
            if size > BYTES_AT_ONCE:
                break
        return samples

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

    def prepare(self, numbers: Sequence[int], epochs: int | Sequence[int]) -> Task:
        """Read and draw the first of these samples: at least one, and no more than `decode_into` should get at once.

        Views are those of an epoch, or of an epoch for each number.
        """
        begun = time.perf_counter_ns()
        samples = self.read_some(numbers)
        read = time.perf_counter_ns()
        prepared = self._draw_some(numbers, samples, epochs)
        return Task(prepared, read - begun, time.perf_counter_ns() - read)

    def _draw_some(
        self, numbers: Sequence[int], samples: "list[Sample[Data] | SampleError]", epochs: int | Sequence[int]
    ) -> list[Prepared | SampleError]:
        images = [sample.image for sample in samples if not isinstance(sample, SampleError)]
        keys = [key_hash(sample.key) for sample in samples if not isinstance(sample, SampleError)]
        if not isinstance(epochs, int):
            epochs = [e for e, sample in zip(epochs, samples, strict=False) if not isinstance(sample, SampleError)]
        headers = read_headers(images, self.max_pixels)
        sizes = [(1, 1) if isinstance(header, DecodeError) else header.size for header in headers]
        views = draw_some(self.transform, sizes, sample_rngs(self.seed, epochs, np.array(keys, np.uint64)))
        drawn = iter(zip(headers, views, strict=True))
        prepared: list[Prepared | SampleError] = []
        for number, sample in zip(numbers, samples, strict=False):
            if isinstance(sample, SampleError):
                prepared.append(sample)
                continue
            header, view = next(drawn)
            if isinstance(header, DecodeError):
                prepared.append(header.at(sample.key, self.where(number)))
            elif isinstance(view, DrawError):
                prepared.append(view.at(sample.key, self.where(number)))
            else:
                image = Encoded(sample.image, header, view)
                prepared.append(Prepared(number, sample.key, sample.target, image))
        return prepared

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

    def pair(self, number: int, epoch: int) -> tuple[Tensor, Any]:
        """Sample `number` as torch has it: (uint8 tensor of shape (3, H, W), target)."""
        (pair,) = self.pairs([number], epoch)
        return pair

    def pairs(self, numbers: Sequence[int], epochs: int | Sequence[int]) -> list[tuple[Tensor, Any]]:
        """The same of some samples at once. SampleError for the first that can't be read or decoded."""
        _stay_in_one_thread(os.getpid())
        pairs: list[tuple[Tensor, Any]] = []
        while left := numbers[len(pairs) : len(pairs) + _SAMPLES_AT_ONCE]:
            good = []
            for sample in self.prepare(left, epochs if isinstance(epochs, int) else epochs[len(pairs) :]).samples:
                if isinstance(sample, SampleError):
                    raise sample
                good.append(sample)
            rows = [np.empty((s.image.view.window.height, s.image.view.window.width, 3), np.uint8) for s in good]
            for error in self.decode_into(good, rows).errors:
                if error is not None:
                    raise error
            pairs += [(torch.from_numpy(row).permute(2, 0, 1), s.target) for row, s in zip(rows, good, strict=True)]
        return pairs

    def _key_if_readable(self, number: int) -> str:
        try:
            return self.key(number)
        except (OSError, TarError):
            return f"number {number}"


class DecodedSamples(NamedTuple):
    """What became of some samples: for each what is wrong with it, or None; and nanoseconds spent on all of them."""

    errors: Sequence[SampleError | None]
    decode_ns: int
    resize_ns: int


@functools.cache
def _stay_in_one_thread(pid: int) -> None:
    """Keep OpenCV from starting threads in each of a DataLoader's workers, as torch does for itself."""
    if get_worker_info() is not None:
        cv2.setNumThreads(0)
