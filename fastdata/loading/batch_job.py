"""One batch from sample ids to tensors: the work that the Loader's threads share."""

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastdata.datasets.base import ImageDataset, Prepared, new_rows
from fastdata.datasets.collate import collate_images, collate_targets
from fastdata.epoch.order import Ids
from fastdata.errors import SampleError
from fastdata.images.colour import recolour
from fastdata.images.jobs import Views
from fastdata.loading.memory import Memory
from fastdata.loading.one_thread import keep_torch_in_one_thread
from fastdata.loading.stats import Stage, StageTimes
from fastdata.sample import Batch, Pixels, key_hash, on_tensors
from fastdata.transforms.draw import sample_rngs
from fastdata.transforms.steps import View


class Setup:
    """What all batches of an iteration have in common."""

    def __init__(
        self, dataset: ImageDataset, epoch: int, memory: Memory, device: torch.device | None, skip: bool
    ) -> None:
        self.dataset = dataset
        self.epoch = epoch
        self.memory = memory
        self.device = device
        self.skip = skip
        self.times = StageTimes()
        self.copy_stream: torch.cuda.Stream | None = None
        if device is not None and device.type == "cuda":
            self.copy_stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Drawn(NamedTuple):
    """What is known of a row besides its pixels."""

    key: str
    target: Any
    view: View | bytes
    dataset: ImageDataset


class LoadingJob:
    """A batch of the samples `ids` in the making: what is known of each, what was bad, and in the end its images."""

    _images: Tensor
    _is_coloured = False  # by the threads already
    _is_copied = False  # on a stream that is not the caller's

    def __init__(self, setup: Setup, ids: Ids) -> None:
        self.ids: list[int] = ids.tolist()
        self.errors: dict[int, SampleError] = {}
        self._setup = setup
        self._drawn: dict[int, Drawn] = {}

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
        others = {bad: next((row for row in good if row > bad), good[0]) for bad in self.errors}
        self._drawn |= {bad: self._drawn[good] for bad, good in others.items()}
        return others

    def _prepare(self, rows: list[int]) -> tuple[list[tuple[int, Prepared]], list[int]]:
        """Read and draw the first of these rows: those that are good, and the rows that are left."""
        task = self._setup.dataset.prepare([self.ids[row] for row in rows], self._setup.epoch)
        self._setup.times.add(Stage.READ, task.read_ns)
        self._setup.times.add(Stage.DRAW, task.draw_ns)
        done, left = rows[: len(task.samples)], rows[len(task.samples) :]
        good = []
        for row, sample in zip(done, task.samples, strict=True):
            if isinstance(sample, SampleError):
                self._bad(row, sample)
            else:
                self._drawn[row] = Drawn(sample.key, sample.target, sample.image.drawn, sample.dataset)
                good.append((row, sample))
        return good, left

    def _decode(self, good: list[tuple[int, Prepared]], pixels: list[Pixels]) -> None:
        decoded = self._setup.dataset.decode_into([sample for _, sample in good], pixels)
        self._setup.times.add(Stage.DECODE, decoded.decode_ns)
        self._setup.times.add(Stage.RESIZE, decoded.resize_ns)
        for (row, _), error in zip(good, decoded.errors, strict=True):
            if error is not None:
                self._bad(row, error)

    def _bad(self, row: int, error: SampleError) -> None:
        self.errors[row] = error

    def _first_error(self) -> SampleError:
        """The one to raise. None is kept: once raised, it holds frames that hold this job, which would hold it."""
        error = self.errors[min(self.errors)]
        self.errors.clear()
        return error

    def _on_device(self, images: Tensor) -> Tensor:
        stream = self._setup.copy_stream
        if stream is None:
            return images if self._setup.device is None else images.to(self._setup.device)
        with torch.cuda.stream(stream):
            images = images.to(self._setup.device, non_blocking=True)
        stream.synchronize()  # this thread's wait, not the training's; the pinned memory is free after it
        self._is_copied = True
        return images

    def batch(self) -> Batch:
        """The finished batch, for the caller's thread and its current stream."""
        if self._is_copied:
            self._images.record_stream(torch.cuda.current_stream(self._setup.device))
        device, drawn = self._setup.device, [self._drawn[row] for row in range(self.rows)]
        targets: Any = collate_targets([sample.target for sample in drawn])
        if device is not None:
            targets = on_tensors(lambda tensor: tensor.to(device, non_blocking=True), targets)
        images = self._images if self._is_coloured else self._recoloured(self._images, drawn)
        return Batch(images, targets, [sample.key for sample in drawn], Views([sample.view for sample in drawn]))

    def _recoloured(self, images: Tensor, drawn: list[Drawn]) -> Tensor:
        """The colour steps carried out on images (N, 3, H, W): of each dataset's samples those of its transform."""
        by_dataset: dict[ImageDataset, list[int]] = {}
        for row, sample in enumerate(drawn):
            by_dataset.setdefault(sample.dataset, []).append(row)
        for dataset, rows in by_dataset.items():
            if dataset.transform.pixel_steps:
                rngs = sample_rngs(dataset.seed, self._setup.epoch, [key_hash(drawn[row].key) for row in rows])
                if len(rows) == len(images):
                    return recolour(images, dataset.transform, rngs)
                images[rows] = recolour(images[rows], dataset.transform, rngs)
        return images


class BatchJob(LoadingJob):
    """A batch that is decoded on the CPU into memory of its own; a `crew.Job`."""

    def __init__(self, setup: Setup, ids: Ids) -> None:
        super().__init__(setup, ids)
        self._pixels = setup.memory.lend()
        self._is_coloured = setup.device is None

    def fill(self, rows: range) -> None:
        """Read and draw some samples, then decode them into their rows; and so on."""
        left = list(rows)
        while left:
            good, left = self._prepare(left)
            self._decode(good, [self._pixels[row] for row, _ in good])
            if self._is_coloured:
                self._recolour([row for row, _ in good if row not in self.errors])

    def _recolour(self, rows: list[int]) -> None:
        """On the CPU: here, so that it runs in all threads."""
        if any(dataset.transform.pixel_steps for dataset in {self._drawn[row].dataset for row in rows}):
            keep_torch_in_one_thread()
            begun = time.perf_counter_ns()
            images = torch.from_numpy(self._pixels[rows]).permute(0, 3, 1, 2)
            coloured = self._recoloured(images, [self._drawn[row] for row in rows])
            self._pixels[rows] = coloured.permute(0, 2, 3, 1).numpy()
            self._setup.times.add(Stage.MAP, time.perf_counter_ns() - begun)

    def finish(self) -> None:
        """Settle what was bad, and bring the batch to its device. SampleError where bad samples are not skipped."""
        for row, other in self.replacements().items():
            self._pixels[row] = self._pixels[other]
        # Of the whole array, sliced as a tensor: only that keeps the array from being lent again.
        images = torch.from_numpy(self._pixels)[: self.rows].permute(0, 3, 1, 2)
        self._images = self._on_device(images)


class MappedJob(LoadingJob):
    """A batch whose samples a `map` makes, one by one, of what the CPU decodes; a `crew.Job`."""

    _is_coloured = True

    def __init__(self, setup: Setup, ids: Ids) -> None:
        super().__init__(setup, ids)
        self._made: dict[int, Tensor] = {}

    def fill(self, rows: range) -> None:
        """Read, draw and decode some samples and map each; and so on."""
        keep_torch_in_one_thread()
        left = list(rows)
        while left:
            good, left = self._prepare(left)
            pixels = new_rows([sample for _, sample in good])
            self._decode(good, pixels)
            begun = time.perf_counter_ns()
            for (row, sample), image in zip(good, pixels, strict=True):
                if row not in self.errors:
                    self._made[row], target = sample.dataset.finished(sample, image, self._setup.epoch)
                    self._drawn[row] = self._drawn[row]._replace(target=target)
            self._setup.times.add(Stage.MAP, time.perf_counter_ns() - begun)

    def finish(self) -> None:
        """Settle what was bad, stack what was made, and bring it to its device."""
        for row, other in self.replacements().items():
            self._made[row] = self._made[other]
        images = [self._made[row] for row in range(self.rows)]
        self._made.clear()
        stacked = collate_images(images, [self._drawn[row].key for row in range(self.rows)])
        self._images = self._on_device(stacked if self._setup.copy_stream is None else stacked.pin_memory())
