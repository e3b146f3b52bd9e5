"""`batch_transform=`: what mixes the images and targets of a batch, such as CutMix and MixUp, on its device."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from fastdata.datasets.generators import seeded
from fastdata.epoch.run import Run
from fastdata.sample import Batch

BatchTransform = Callable[[Tensor, Any], tuple[Tensor, Any]]


def batch_seed(run: Run, step: int, seed: int) -> int:
    """Where the random numbers of this rank's batch of a run's step begin: a function of seed, epoch and the position
    of the batch's first sample in the epoch, so that it is the same however many steps the run had before it."""
    plan = run.plan
    position = plan.start + step * plan.global_batch + run.place.rank * plan.batch_size
    return int.from_bytes(blake2b(f"batch/{seed}/{run.epoch}/{position}".encode(), digest_size=8).digest(), "little")


def transformed(function: BatchTransform, batch: Batch, seed: int, device: torch.device | None) -> Batch:
    """What the function makes of images and targets, with Python's, numpy's and torch's generators seeded.

    TypeError where it does not give two.
    """
    with seeded(seed, device):
        result = function(batch.images, batch.targets)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(f"batch_transform gives (images, targets), got {type(result).__name__}")
    images, targets = result
    return batch._replace(images=images, targets=targets)
