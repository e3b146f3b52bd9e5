"""One batch from sample ids to tensors: the work that the Loader's threads share."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.collate import collate_images, collate_targets
from fastdata.datasets.prepared import Prepared, new_rows
from fastdata.epoch.order import Picks
from fastdata.errors import SampleError
from fastdata.images.colour import recolour
from fastdata.images.jobs import LazyViews
from fastdata.loading.layout import Layout
from fastdata.loading.memory import Memory
from fastdata.loading.one_thread import keep_torch_in_one_thread
from fastdata.loading.stats import Stage, StageTimes
from fastdata.sample import Batch, Pixels, Size, on_tensors
from fastdata.transforms.view import View
from fastdata.transforms.views import Views, rngs_of_view


class Setup:
    """What all batches of an iteration have in common."""

    def __init__(
        self,
        dataset: ImageDataset,
        layouts: Mapping[Size | None, Layout],
        memory: Memory,
        device: torch.device | None,
        skip: bool,
    ) -> None:
        self.dataset = dataset
        self.layouts = layouts
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
    view: View | bytes | LazyViews
    dataset: ImageDataset
    rng: int


class LoadingJob:
    """A batch of picked samples in the making: what is known of each, what was bad, and in the end its images."""

    _images: Any  # a tensor, or with several views a dict of them by name
    _is_coloured = False  # by the threads already
    _is_copied = False  # on a stream that is not the caller's

    def __init__(self, setup: Setup, picks: Picks) -> None:
        self.picks = picks
        self.ids: list[int] = picks.numbers.tolist()
        self.epochs: int | list[int] = picks.epochs if isinstance(picks.epochs, int) else picks.epochs.tolist()
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
        epochs = self.epochs if isinstance(self.epochs, int) else [self.epochs[row] for row in rows]
        task = self._setup.dataset.prepare([self.ids[row] for row in rows], epochs, self.picks.size)
        self._setup.times.add(Stage.READ, task.read_ns)
        self._setup.times.add(Stage.DRAW, task.draw_ns)
        done, left = rows[: len(task.samples)], rows[len(task.samples) :]
        good = []
        for row, sample in zip(done, task.samples, strict=True):
            if isinstance(sample, SampleError):
                self._bad(row, sample)
            else:
                view = sample.image.drawn if len(sample.images) == 1 else sample.views
                self._drawn[row] = Drawn(sample.key, sample.target, view, sample.dataset, sample.rng)
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

    def _on_device(self, images: Any) -> Any:
        stream, device = self._setup.copy_stream, self._setup.device
        if device is None:
            return images
        if stream is None:
            return on_tensors(lambda tensor: tensor.to(device), images)
        with torch.cuda.stream(stream):
            images = on_tensors(lambda tensor: tensor.to(device, non_blocking=True), images)
        stream.synchronize()  # this thread's wait, not the training's; the pinned memory is free after it
        self._is_copied = True
        return images

    def batch(self) -> Batch:
        """The finished batch, for the caller's thread and its current stream."""
        if self._is_copied:
            for images in self._images.values() if isinstance(self._images, dict) else [self._images]:
                images.record_stream(torch.cuda.current_stream(self._setup.device))
        device, drawn = self._setup.device, [self._drawn[row] for row in range(self.rows)]
        targets: Any = collate_targets([sample.target for sample in drawn])
        if device is not None:
            targets = on_tensors(lambda tensor: tensor.to(device, non_blocking=True), targets)
        images = self._images if self._is_coloured else self._recoloured(self._images, drawn)
        return Batch(images, targets, [sample.key for sample in drawn], LazyViews([sample.view for sample in drawn]))

    def _recoloured(self, images: Any, drawn: list[Drawn]) -> Any:
        """The colour steps carried out on a batch's images: of each dataset's samples those of its transform."""
        transform = self._setup.dataset.transform
        if not isinstance(transform, Views):
            return self._recoloured_view(images, 0, drawn)
        for group in transform.groups:
            for number in range(group.count):
                view = images[group.name][:, number]
                images[group.name][:, number] = self._recoloured_view(view, group.first + number, drawn)
        return images

    def _recoloured_view(self, images: Tensor, view: int, drawn: list[Drawn]) -> Tensor:
        by_dataset: dict[ImageDataset, list[int]] = {}
        for row, sample in enumerate(drawn):
            by_dataset.setdefault(sample.dataset, []).append(row)
        for dataset, rows in by_dataset.items():
            transform = dataset.transform.transforms[view]
            if transform.pixel_steps:
                rngs = rngs_of_view(np.array([drawn[row].rng for row in rows], np.uint64), view)
                if len(rows) == len(images):
                    return recolour(images, transform, rngs)
                images[rows] = recolour(images[rows], transform, rngs)
        return images


class BatchJob(LoadingJob):
    """A batch that is decoded on the CPU into memory of its own; a `crew.Job`."""

    def __init__(self, setup: Setup, picks: Picks) -> None:
        super().__init__(setup, picks)
        self._pixels = setup.memory.lend()
        self._layout = setup.layouts[picks.size]
        self._blocks = self._layout.blocks(self._pixels)
        self._views = self._layout.rows(self._blocks)
        self._is_coloured = setup.device is None

    def fill(self, rows: range) -> None:
        """Read and draw some samples, then decode them into their rows; and so on."""
        left = list(rows)
        while left:
            good, left = self._prepare(left)
            self._decode(good, [pixels for row, _ in good for pixels in self._views[row]])
            if self._is_coloured:
                self._recolour([row for row, _ in good if row not in self.errors])

    def _recolour(self, rows: list[int]) -> None:
        """On the CPU: here, so that it runs in all threads."""
        drawn = [self._drawn[row] for row in rows]
        datasets = {sample.dataset for sample in drawn}
        if not any(transform.pixel_steps for dataset in datasets for transform in dataset.transform.transforms):
            return
        keep_torch_in_one_thread()
        begun = time.perf_counter_ns()
        for view, pixels in enumerate(zip(*(self._views[row] for row in rows), strict=True)):
            images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
            coloured = self._recoloured_view(images, view, drawn).permute(0, 2, 3, 1).numpy()
            for into, image in zip(pixels, coloured, strict=True):
                into[:] = image
        self._setup.times.add(Stage.MAP, time.perf_counter_ns() - begun)

    def finish(self) -> None:
        """Settle what was bad, and bring the batch to its device. SampleError where bad samples are not skipped."""
        for row, other in self.replacements().items():
            for block in self._blocks:
                block[row] = block[other]
        self._blocks.clear()
        self._views.clear()
        self._images = self._on_device(self._layout.images(self._pixels, self.rows))


class MappedJob(LoadingJob):
    """A batch whose samples a `map` makes, one by one, of what the CPU decodes; a `crew.Job`."""

    _is_coloured = True

    def __init__(self, setup: Setup, picks: Picks) -> None:
        super().__init__(setup, picks)
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
                    self._made[row], target = sample.dataset.finished(sample, [image])
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
