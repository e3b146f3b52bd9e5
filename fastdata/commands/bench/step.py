"""What a training step loses beside a Loader."""

import time
from contextlib import closing
from statistics import fmean

import torch

from fastdata.commands.bench.ways import loader
from fastdata.datasets.base import ImageDataset

_OPERATIONS = 1500  # small ones in a step, as a GPU's training step is to the CPU
_STEPS = 40


def slowed_step(dataset: ImageDataset) -> float:
    """How many times as long a step takes beside a Loader of one thread at full speed."""
    step, before = _Step(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(_STEPS // 4):
            step()
        alone = fmean(step() for _ in range(_STEPS))
        with closing(loader(dataset, 1)) as batches:
            beside: list[float] = []
            while len(beside) < _STEPS:
                for _ in batches:
                    beside.append(step())
                    if len(beside) == _STEPS:
                        break
    finally:
        torch.set_num_threads(before)
    return fmean(beside) / alone


class _Step:
    """Many small operations of torch, each of which gives the interpreter's lock away and takes it back."""

    def __init__(self) -> None:
        self._values = torch.ones(64, 64)

    def __call__(self) -> float:
        """The seconds that it takes."""
        begun = time.perf_counter()
        for _ in range(_OPERATIONS):
            self._values = self._values.mul(1.0)
        return time.perf_counter() - begun
