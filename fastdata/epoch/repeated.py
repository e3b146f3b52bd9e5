"""`Repeated`: each sample several times in a row, each time in another view."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdata.epoch.order import EpochOrder, Ids, Picks, _check
from fastdata.epoch.orders import Order, checked_length, repeated_epochs


@dataclass(frozen=True)
class Repeated(Order):
    """Repeated augmentation: each sample `times` times, at adjacent positions, in as many views.

    Hoffer et al., "Augment your batch" (2020); DeiT and timm's RepeatAugSampler train so, with three. Here it is exact:
    each sample comes `times` times in each pass over the dataset, on any number of ranks.

    `num_samples` is the length of an epoch, by default the whole pass, `times` the dataset; timm's is the dataset's
    own length, `num_samples=len(dataset)`. The next epoch goes on with the pass where the last one ended.
    """

    times: int
    num_samples: int | None = None

    def __post_init__(self) -> None:
        _check("times", self.times, 1)

    def over(self, dataset: Any, samples: int, shuffle: bool, seed: int) -> "RepeatedOrders":
        """As `Order` says."""
        length = checked_length(self.num_samples, samples * self.times)
        return RepeatedOrders(length, shuffle, seed, samples, self.times)


@dataclass(frozen=True)
class RepeatedOrders:
    """`Repeated` over so many samples."""

    num_positions: int
    shuffle: bool
    seed: int
    samples: int
    times: int

    def name(self, epoch: int, position: int) -> str:
        return f"Repeated({self.times}) over {self.samples}"

    def of(self, epoch: int) -> "RepeatedEpoch":
        _check("epoch", epoch, 0, 2**62 // self.num_positions)
        return RepeatedEpoch(self, epoch)


@dataclass(frozen=True)
class RepeatedEpoch:
    """One epoch of it: a part of the endless sequence of passes over the dataset."""

    orders: RepeatedOrders
    epoch: int

    def picks(self, positions: Ids) -> Picks:
        """As `OneEpoch` says."""
        orders = self.orders
        turns, repetitions = np.divmod(positions + self.epoch * orders.num_positions, orders.times)
        passes, places = np.divmod(turns, orders.samples)
        numbers = np.empty_like(positions)
        for one in np.unique(passes).tolist():
            here = passes == one
            numbers[here] = EpochOrder(orders.samples, orders.shuffle, orders.seed, one).at(places[here])
        return Picks(numbers, repeated_epochs(passes, repetitions))
