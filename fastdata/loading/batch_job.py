"""One batch from sample ids to tensors: the work that the Loader's threads share."""

from typing import Any

import torch
from torch import Tensor

from fastdata.datasets.base import ImageDataset, Prepared
from fastdata.datasets.collate import collate_targets
from fastdata.epoch.order import Picks
from fastdata.errors import SampleError
from fastdata.loading.memory import Memory
from fastdata.loading.stats import Stage, StageTimes
from fastdata.sample import Batch


class Setup:
    """What all batches of an iteration have in common."""

    def __init__(self, dataset: ImageDataset, memory: Memory, device: torch.device | None, skip: bool) -> None:
        self.dataset = dataset
        self.memory = memory
        self.device = device
        self.skip = skip
        self.times = StageTimes()
        self.copy_stream: torch.cuda.Stream | None = None
        if device is not None and device.type == "cuda":
            self.copy_stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class LoadingJob:
    """A batch of picked samples in the making: its targets, what was bad, and once they are there its images."""

    _images: Tensor

    def __init__(self, setup: Setup, picks: Picks) -> None:
        self.picks = picks
        self.ids: list[int] = picks.numbers.tolist()
        self.epochs: int | list[int] = picks.epochs if isinstance(picks.epochs, int) else picks.epochs.tolist()
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

    def _prepare(self, rows: list[int]) -> tuple[list[tuple[int, Prepared]], list[int]]:
        """Read and draw the first of these rows: those that are good, and the rows that are left."""
        epochs = self.epochs if isinstance(self.epochs, int) else [self.epochs[row] for row in rows]
        task = self._setup.dataset.prepare([self.ids[row] for row in rows], epochs)
        self._setup.times.add(Stage.READ, task.read_ns)
        self._setup.times.add(Stage.DRAW, task.draw_ns)
        done, left = rows[: len(task.samples)], rows[len(task.samples) :]
        good = []
        for row, sample in zip(done, task.samples, strict=True):
            if isinstance(sample, SampleError):
                self._bad(row, sample)
            else:
                self._targets[row] = sample.target
                good.append((row, sample))
        return good, left

    def _bad(self, row: int, error: SampleError) -> None:
        self.errors[row] = error

    def _first_error(self) -> SampleError:
        """The one to raise. None is kept: once raised, it holds frames that hold this job, which would hold it."""
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

    def __init__(self, setup: Setup, picks: Picks) -> None:
        super().__init__(setup, picks)
        self._pixels = setup.memory.lend()

    def fill(self, rows: range) -> None:
        """Read and draw some samples, then decode them into their rows; and so on."""
        left = list(rows)
        while left:
            good, left = self._prepare(left)
            self._decode(good)

    def _decode(self, good: list[tuple[int, Prepared]]) -> None:
        decoded = self._setup.dataset.decode_into([sample for _, sample in good], [self._pixels[r] for r, _ in good])
        self._setup.times.add(Stage.DECODE, decoded.decode_ns)
        self._setup.times.add(Stage.RESIZE, decoded.resize_ns)
        for (row, _), error in zip(good, decoded.errors, strict=True):
            if error is not None:
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
