"""A batch that threads read and draw, and DALI decodes."""

import time
from typing import Any

import torch
from torch import Tensor

from fastdata.datasets.prepared import Prepared, new_rows
from fastdata.epoch.order import Picks
from fastdata.loading.batch_job import LoadingJob, Setup
from fastdata.loading.dali.encoded import DaliImage, dali_image, layout, placeholder
from fastdata.loading.stats import Stage
from fastdata.sample import Pixels


class DaliJob(LoadingJob):
    """A `crew.Job` whose threads read, draw and cut; what DALI makes of that comes by `receive`."""

    inputs: tuple[Any, ...]  # there from `finish` on

    def __init__(self, setup: Setup, picks: Picks) -> None:
        super().__init__(setup, picks)
        self._for_dali: dict[int, DaliImage] = {}
        self._by_cpu: dict[int, Pixels] = {}
        self._others: dict[int, int] = {}

    def fill(self, rows: range) -> None:
        """Read and draw some samples, and decode those here that DALI should not."""
        left = list(rows)
        (transform,) = self._setup.dataset.transform.transforms
        while left:
            good, left = self._prepare(left)
            begun = time.perf_counter_ns()
            for row, sample in good:
                image = dali_image(sample.image, transform)
                if image is None:
                    self._decode_here(row, sample)
                else:
                    self._for_dali[row] = image
            self._setup.times.add(Stage.DECODE, time.perf_counter_ns() - begun)

    def _decode_here(self, row: int, sample: Prepared) -> None:
        (pixels,) = new_rows([sample])
        (error,) = self._setup.dataset.decode_into([sample], [pixels]).errors
        if error is None:
            self._by_cpu[row] = pixels
        else:
            self._bad(row, error)

    def finish(self) -> None:
        """Settle what was bad, and lay out what DALI gets. SampleError where bad samples are not skipped."""
        self._others = self.replacements()
        self._rows = sorted(self._for_dali)
        self.inputs = layout([self._for_dali[row] for row in self._rows] or [placeholder()])

    def receive(self, decoded: Tensor) -> None:
        """What DALI made of `inputs`: uint8, shape (N, H, W, 3), on the Loader's device."""
        images = decoded if len(self._rows) == self.rows else self._joined(decoded)
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
