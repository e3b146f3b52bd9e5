"""`Balanced`: each class as often as any other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import ConcatDataset, Subset

from fastdata.epoch.identity import own_numbers
from fastdata.epoch.order import Ids
from fastdata.epoch.orders import Order, checked_length
from fastdata.epoch.parts import Parts, PartsOrders, Schedule


@dataclass(frozen=True, eq=False)
class Balanced(Order):
    """Each class as often as any other, in every epoch and about every batch.

    The samples of a class come in turn, in a new order each time that all of them have come, each time in another
    view; so those of a rare class come several times in an epoch, and those of a frequent one not in every epoch.

    `targets` are the samples' classes, one a sample, by default the dataset's own (`dataset.targets`). `num_samples` is
    the length of an epoch, by default the dataset's. TypeError where targets are no classes, ValueError for a negative
    one, which is that of a dataset without labels.
    """

    num_samples: int | None = None
    targets: "Sequence[int] | npt.NDArray[Any] | None" = field(default=None, repr=False)

    always_shuffled = True

    def over(self, dataset: Any, samples: int, shuffle: bool, seed: int) -> PartsOrders:
        """As `Order` says."""
        targets = _classes(_targets_of(dataset) if self.targets is None else self.targets, samples)
        members = np.argsort(targets, kind="stable").astype(np.int64)
        _, sizes = np.unique(targets, return_counts=True)
        length = checked_length(self.num_samples, samples)
        schedule = Schedule({0: np.ones(len(sizes), np.int64)})
        return PartsOrders(length, shuffle, seed, Parts(sizes.astype(np.int64), members), schedule, "Balanced")


def _targets_of(dataset: Any) -> Any:
    if isinstance(dataset, Subset):
        numbers = own_numbers(dataset.indices, len(dataset.dataset))  # type: ignore[arg-type]
        return np.asarray(_targets_of(dataset.dataset))[numbers]
    if isinstance(dataset, ConcatDataset):
        return np.concatenate([np.asarray(_targets_of(part)) for part in dataset.datasets])
    targets = getattr(dataset, "targets", None)
    if targets is None:
        raise TypeError(f"a {type(dataset).__name__} has no `targets`: say Balanced(targets=...)")
    return targets


def _classes(targets: Any, samples: int) -> Ids:
    classes = np.asarray(targets)
    if classes.dtype.kind not in "iu" or classes.ndim != 1:
        raise TypeError(f"Balanced needs an int target of each sample, not {str(targets)[:60]}: say targets=...")
    if len(classes) != samples:
        raise ValueError(f"Balanced needs one target for each of {samples} samples, got {len(classes)}")
    if classes.min() < 0:
        raise ValueError(f"the target of sample {classes.argmin()} is {classes.min()}, which is no class")
    return classes.astype(np.int64)
