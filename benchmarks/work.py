"""What every contestant is given to do: RandomResizedCrop(224) and a flip of shuffled photos, in batches."""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

import fastdata as fd
from material import Material

SIZE = 224
STEPS = (fd.RandomResizedCrop(SIZE), fd.RandomHorizontalFlip())
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Batches = Generator[Tensor, None, None]
"""Images of shape (N, 3, 224, 224), for ever; closing it ends all threads and processes."""


@dataclass(frozen=True)
class Work:
    """`threads` is for those with threads, `workers` for those in torch's DataLoader; `gpu` is a number, or None.

    `floats`: batches are float32, normalized by ImageNet's mean and standard deviation, instead of uint8.
    """

    files: Material
    antialias: bool
    floats: bool
    batch_size: int
    threads: int
    workers: int
    gpu: int | None = None

    @property
    def transform(self) -> fd.Transform:
        return fd.Transform(STEPS, antialias=self.antialias)

    @property
    def normalize(self) -> torch.nn.Module:
        """What a contestant that can't normalize by itself does to its batches."""
        return fd.Normalize(MEAN, STD) if self.floats else torch.nn.Identity()
