"""One batch from sample ids to tensors: the work that the Loader's threads share."""

import math
import mmap
import time
import weakref
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import get_ident
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastdata.collate import collate_targets
from fastdata.decode import Pixels
from fastdata.encoded import Encoded, encoded, layout, placeholder
from fastdata.image_dataset import Drawn, ImageDataset
from fastdata.order import Ids
from fastdata.sample import Batch, SampleError

_DRAW, _DECODE = 1, 2  # numbers of stages

# Decoding leaves the CPU's caches without what reading, drawing and cutting need, which then take twice as long: so a
# thread does that for several samples, and then decodes them. Not for more of them than the caches hold.
_BYTES_AT_ONCE = 1 << 21


class StageTimes:
    """Nanoseconds that one thread has spent in the stages of samples: read, draw, decode, resize."""

    def __init__(self) -> None:
        self.spent = [0, 0, 0, 0]
        self._stage = 0
        self._since = 0

    def start(self, stage: int = 0) -> None:
        """A sample begins, or goes on, with this stage."""
        self._stage = stage
        self._since = time.perf_counter_ns()

    def lap(self) -> None:
        """A stage of it is done."""
        now = time.perf_counter_ns()
        self.spent[self._stage] += now - self._since
        self._stage += 1
        self._since = now


class Memory:
    """Arrays for batches, all of one shape. One is used again only when nothing holds it any more.

    `pinned` memory is what a GPU copies from; it is dear to allocate, which is why arrays are used again at all. Up to
    `keep` are kept for that. Methods are to be called by one thread at a time.
    """

    def __init__(self, shape: tuple[int, ...], pinned: bool, keep: int) -> None:
        self.shape = shape
        self._pinned = pinned
        self._keep = keep
        self._free: list[Pixels] = []
        self._lent: dict[int, tuple[weakref.ref[Pixels], Pixels]] = {}
        # What is dropped puts itself in here by C code alone: Python's would be a place for Ctrl-C to be raised in,
        # where it is ignored, and for a garbage collection in the middle of `lend` to wait for a lock.
        self._dropped: SimpleQueue[weakref.ref[Pixels]] = SimpleQueue()

    def lend(self) -> Pixels:
        """A uint8 array of `shape`, for as long as that very object lives; views of it don't count, tensors do."""
        self._take_back()
        owner = self._free.pop() if self._free else self._allocate()
        lent = owner.view()
        reference = weakref.ref(lent, self._dropped.put)
        self._lent[id(reference)] = reference, owner
        return lent

    def _allocate(self) -> Pixels:
        if self._pinned:
            return torch.empty(self.shape, dtype=torch.uint8, device="cpu", pin_memory=True).numpy()
        # Not by malloc: of what it gets back in the midst of its heap, little returns to the system.
        mapped = mmap.mmap(-1, math.prod(self.shape), access=mmap.ACCESS_COPY)
        return np.frombuffer(mapped, np.uint8).reshape(self.shape)

    def let_go(self) -> None:
        """Leave what is still lent to who holds it. Until the next `lend` nobody would take it back, and free it."""
        self._take_back()
        self._lent.clear()

    def _take_back(self) -> None:
        with suppress(Empty):
            while True:
                reference = self._dropped.get_nowait()
                if id(reference) in self._lent:
                    self._free.append(self._lent.pop(id(reference))[1])
        del self._free[self._keep :]


class Setup:
    """What all batches of an iteration have in common."""

    def __init__(self, dataset: ImageDataset, memory: Memory, device: torch.device | None, skip: bool) -> None:
        self.dataset = dataset
        self.memory = memory
        self.device = device
        self.skip = skip
        self.copy_stream: torch.cuda.Stream | None = None
        if device is not None and device.type == "cuda":
            self.copy_stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._times: dict[int, StageTimes] = {}

    def stage_times(self) -> StageTimes:
        """The calling thread's."""
        return self._times.setdefault(get_ident(), StageTimes())

    def spent(self) -> list[int]:
        """Nanoseconds in each stage, over all threads."""
        return [sum(times) for times in zip([0, 0, 0, 0], *(t.spent for t in list(self._times.values())), strict=True)]


class LoadingJob:
    """A batch of the samples `ids` in the making: its targets, what was bad, and once they are there its images."""

    _images: Tensor

    def __init__(self, setup: Setup, ids: Ids) -> None:
        self.ids: list[int] = ids.tolist()
        self.errors: dict[int, SampleError] = {}
        self._setup = setup
        self._targets: list[Any] = [None] * len(self.ids)

    @property
    def rows(self) -> int:
        return len(self.ids)

    def replacements(self) -> dict[int, int]:
        """For each bad row a good one of the batch, the next one below, to take its place.

        SampleError where bad samples are not skipped, or all of them are bad.
        """
        if self.errors and (not self._setup.skip or len(self.errors) == self.rows):
            raise self._first_error()
        good = [row for row in range(self.rows) if row not in self.errors]
        return {bad: next((row for row in good if row > bad), good[0]) for bad in self.errors}

    def _bad(self, row: int, error: SampleError) -> None:
        """Note a bad sample; of one that is skipped only what it says.

        An error keeps the frames that it was raised in, these the job, and the job its errors: a circle that would
        keep the batch's memory, too, until the next garbage collection.
        """
        if self._setup.skip:
            error.__cause__ = error.__context__ = None
            error = error.with_traceback(None)
        self.errors[row] = error

    def _first_error(self) -> SampleError:
        """The one that is raised; none of them is kept, as above."""
        error = self.errors[min(self.errors)]
        self.errors.clear()
        return error

    def batch(self) -> Batch:
        """The finished batch, for the caller's thread and its current stream."""
        device, targets = self._setup.device, collate_targets(self._targets)
        if device is not None and isinstance(targets, Tensor):
            targets = targets.to(device, non_blocking=True)
        return Batch(self._images, targets)


class BatchJob(LoadingJob):
    """A batch that is decoded on the CPU into memory of its own; a `crew.Job`."""

    def __init__(self, setup: Setup, ids: Ids) -> None:
        super().__init__(setup, ids)
        self._pixels = setup.memory.lend()

    def fill(self, rows: range) -> None:
        """Read, draw and cut some samples, then decode and resize them into their rows; and so on."""
        times = self._setup.stage_times()
        drawn: list[tuple[int, Drawn]] = []
        size = 0
        for row in rows:
            times.start()
            try:
                drawn.append((row, self._read_draw_and_cut(row, times)))
                size += len(drawn[-1][1].sample.image)
            except SampleError as error:
                self._bad(row, error)
            times.lap()  # cutting counts as decoding
            if size > _BYTES_AT_ONCE:
                self._decode(drawn, times)
                drawn, size = [], 0
        self._decode(drawn, times)

    def _read_draw_and_cut(self, row: int, times: StageTimes) -> Drawn:
        dataset = self._setup.dataset
        return dataset.cut(dataset.read_and_draw(self.ids[row], times.lap))

    def _decode(self, drawn: list[tuple[int, Drawn]], times: StageTimes) -> None:
        for row, sample in drawn:
            times.start(_DECODE)
            try:
                self._targets[row] = self._setup.dataset.decode(sample, self._pixels[row], times.lap).target
            except SampleError as error:
                self._bad(row, error)

    def finish(self) -> None:
        """Settle what was bad, and bring the batch to its device. SampleError where bad samples are not skipped."""
        for row, other in self.replacements().items():
            self._pixels[row] = self._pixels[other]
            self._targets[row] = self._targets[other]
        # Of the whole array, sliced as a tensor: only that keeps the array from being lent again.
        images = torch.from_numpy(self._pixels)[: self.rows].permute(0, 3, 1, 2)
        self._images = self._on_device(images)

    def _on_device(self, images: Tensor) -> Tensor:
        stream = self._setup.copy_stream
        if stream is None:
            return images if self._setup.device is None else images.to(self._setup.device)
        with torch.cuda.stream(stream):
            images = images.to(self._setup.device, non_blocking=True)
        stream.synchronize()  # this thread's wait, not the training's; the pinned memory is free after it
        return images

    def batch(self) -> Batch:
        if self._setup.copy_stream is not None:
            self._images.record_stream(torch.cuda.current_stream(self._setup.device))
        return super().batch()


class EncodedJob(LoadingJob):
    """A batch that is read and drawn by threads, and decoded by DALI after that; a `crew.Job`."""

    inputs: tuple[Any, ...]  # there from `finish` on

    def __init__(self, setup: Setup, ids: Ids) -> None:
        super().__init__(setup, ids)
        self._encoded: dict[int, Encoded] = {}
        self._by_cpu: dict[int, Pixels] = {}
        self._others: dict[int, int] = {}

    def fill(self, rows: range) -> None:
        """Read and draw some samples, and decode those here that DALI should not."""
        for row in rows:
            try:
                self._fill(row)
            except SampleError as error:
                self._bad(row, error)

    def _fill(self, row: int) -> None:
        dataset, times = self._setup.dataset, self._setup.stage_times()
        times.start()
        drawn = dataset.read_and_draw(self.ids[row], times.lap)
        times.start(_DRAW)
        try:
            image = encoded(drawn.sample.image, drawn.header, drawn.view)
        except ValueError as error:
            raise SampleError.of(drawn.sample.key, dataset.where(self.ids[row]), error) from error
        times.lap()
        self._targets[row] = drawn.sample.target
        if image is None:
            self._by_cpu[row] = dataset.decode(drawn, None, times.lap).image
        else:
            self._encoded[row] = image

    def finish(self) -> None:
        """Settle what was bad, and lay out what DALI gets. SampleError where bad samples are not skipped."""
        self._others = self.replacements()
        self._rows = sorted(self._encoded)
        self.inputs = layout([self._encoded[row] for row in self._rows] or [placeholder()])

    def receive(self, decoded: Tensor) -> None:
        """What DALI made of `inputs`: uint8, shape (N, H, W, 3), on the Loader's device."""
        images = decoded if len(self._rows) == self.rows else self._joined(decoded)
        for row, other in self._others.items():
            self._targets[row] = self._targets[other]
        self._images = images.permute(0, 3, 1, 2)
        self.inputs = ()

    def _joined(self, decoded: Tensor) -> Tensor:
        """With what the CPU decoder made, and what replaces bad samples, each in its row."""
        images = torch.empty((self.rows, *decoded.shape[1:]), dtype=torch.uint8, device=decoded.device)
        to: Any = images
        if not images.is_cuda:  # by numpy, since torch would copy with its threads, which a forked process has not
            to, decoded = images.numpy(), decoded.numpy()  # type: ignore[assignment]
        if self._rows:
            to[self._rows] = decoded
        for row, pixels in self._by_cpu.items():
            to[row] = torch.from_numpy(pixels) if images.is_cuda else pixels
        for row, other in self._others.items():
            to[row] = to[other]
        return images
