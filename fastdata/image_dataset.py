"""What every dataset of images has: one line from a sample's number to its pixels, by `read`, `draw` and decoding."""

import functools
import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import cv2
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from fastdata.decode import Header, Part, Pixels, decode_box, find_part, read_header, resample
from fastdata.sample import Sample, SampleError
from fastdata.tar import TarError
from fastdata.transforms import Step, Transform, View, as_transform, draw, sample_rng

Transforms = Transform | Iterable[Step] | None
Lap = Callable[[], object]


class Drawn(NamedTuple):
    """A sample that is read and drawn, and only to be decoded; `part` is as much of it as that takes, if known yet."""

    number: int
    sample: Sample[bytes]
    header: Header
    view: View
    part: Part | None = None


def _no_clock() -> None:
    pass


class ImageDataset(ABC):
    """What every dataset of images has: samples by number, from 0 to `num_samples`, and one epoch at a time."""

    def __init__(self, transform: Transforms, seed: int, max_pixels: int) -> None:
        self.transform = as_transform(transform)
        self.seed = operator.index(seed)
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.max_pixels = max_pixels
        # The epoch, and the position from which it is run. In shared memory, so that workers that live through several
        # epochs see it change.
        self._now: Tensor = torch.zeros(2, dtype=torch.int64, device="cpu").share_memory_()  # type: ignore[no-untyped-call]
        self._now_here = self._now.numpy()  # the same memory, read for each sample: a tenth of what torch takes for it

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_now_here"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A copy, or what was unpickled from a file, has an epoch of its own; a worker that starts has its parent's.
        if not self._now.is_shared():  # type: ignore[no-untyped-call]
            self._now.share_memory_()  # type: ignore[no-untyped-call]
        self._now_here = self._now.numpy()

    @property
    def epoch(self) -> int:
        """The epoch whose views are drawn."""
        return int(self._now_here[0])

    def set_epoch(self, epoch: int) -> None:
        """Draw new views from now on, in workers too, and for shuffled shards take a new order."""
        epoch = operator.index(epoch)
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}")
        if epoch != self.epoch:
            self._go_to(epoch, 0)

    def _go_to(self, epoch: int, position: int) -> None:
        # At once: where each worker loads the same state, none may see another's half of it.
        self._now.copy_(torch.tensor([epoch, position], device="cpu"))

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """The number of samples, over all ranks and workers."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A short name of the samples and their order, by which a resumed run knows its dataset."""

    @abstractmethod
    def where(self, index: int) -> str:
        """The file of sample `index`, or its shard and offset, for messages."""

    @abstractmethod
    def _read(self, index: int) -> Sample[bytes]: ...

    @abstractmethod
    def key(self, index: int) -> str:
        """The key of sample `index`."""

    def read(self, index: int) -> Sample[bytes]:
        """Sample `index` as it is stored. SampleError where it can't be read, with key, place and cause."""
        try:
            return self._read(index)
        except (OSError, TarError) as error:
            raise SampleError.of(self._key_if_readable(index), self.where(index), error) from error

    def draw(self, sample: Sample[bytes]) -> tuple[Header, View]:
        """The view of a sample in this epoch: a function of seed, epoch and key. DecodeError for a bad header."""
        header = read_header(sample.image, self.max_pixels)
        return header, draw(self.transform, header.size, sample_rng(self.seed, self.epoch, sample.key))

    def load(self, index: int, out: Pixels | None = None) -> Sample[Pixels]:
        """Sample `index`, its pixels uint8 of shape (H, W, 3), in `out` where it is given.

        SampleError where the sample can't be read or decoded, with key, place and cause.
        """
        return self.decode(self.read_and_draw(index), out)

    def read_and_draw(self, index: int, lap: Lap = _no_clock) -> Drawn:
        """The first half of `load`. `lap` is called after each stage (read, draw), for whoever takes the time."""
        sample = self.read(index)
        lap()
        try:
            header, view = self.draw(sample)
        except ValueError as error:  # DecodeError is one
            raise SampleError.of(sample.key, self.where(index), error) from error
        lap()
        return Drawn(index, sample, header, view)

    def cut(self, drawn: Drawn) -> Drawn:
        """What `decode` would begin with, for who does that for several samples at once."""
        number, sample, header, view, _ = drawn
        try:
            return Drawn(number, sample, header, view, find_part(sample.image, view, header))
        except ValueError as error:
            raise SampleError.of(sample.key, self.where(number), error) from error

    def decode(self, drawn: Drawn, out: Pixels | None = None, lap: Lap = _no_clock) -> Sample[Pixels]:
        """The second half of `load`. `lap` is called after each stage (decode, resize)."""
        number, sample, header, view, part = drawn
        try:
            source = decode_box(sample.image, view, header, part)
            lap()
            pixels = resample(source, view, header, out)
        except ValueError as error:
            raise SampleError.of(sample.key, self.where(number), error) from error
        lap()
        return Sample(sample.key, pixels, sample.target)

    def _pair(self, index: int) -> tuple[Tensor, Any]:
        _stay_in_one_thread(os.getpid())
        sample = self.load(index)
        return torch.from_numpy(sample.image).permute(2, 0, 1), sample.target

    def _key_if_readable(self, index: int) -> str:
        try:
            return self.key(index)
        except (OSError, TarError):
            return f"number {index}"


@functools.cache
def _stay_in_one_thread(pid: int) -> None:
    """Keep OpenCV from starting threads in each of a DataLoader's workers, as torch does for itself."""
    if get_worker_info() is not None:
        cv2.setNumThreads(0)
