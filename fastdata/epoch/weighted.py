"""`Weighted`: samples drawn with replacement, in proportion to weights."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdata import splitmix
from fastdata.epoch.order import EpochOrder, Ids, Picks, _check, derived_seed
from fastdata.epoch.orders import Order, checked_length, repeated_epochs

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Weighted(Order):
    """Samples in proportion to `weights`, one a sample, as torch's WeightedRandomSampler: some of them several times.

    A sample that is expected x times in an epoch comes x times, rounded up or down at random (systematic sampling over
    a shuffled dataset, which has a lower variance than independent draws), each time in another view.

    `num_samples` is the length of an epoch, by default the dataset's. An epoch costs memory and time for each weight.
    ValueError for weights that are negative, not finite, or all 0.
    """

    weights: "Sequence[float] | npt.NDArray[Any]" = field(repr=False)
    num_samples: int | None = None

    always_shuffled = True

    def over(self, dataset: Any, samples: int, shuffle: bool, seed: int) -> "WeightedOrders":
        """As `Order` says."""
        weights = np.array(self.weights, np.float64)
        if weights.shape != (samples,):
            raise ValueError(f"Weighted takes one weight for each of {samples} samples, got shape {weights.shape}")
        bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if bad.size:
            raise ValueError(f"the weight of sample {bad[0]} is {weights[bad[0]]}: it must be at least 0, and finite")
        if not 0 < weights.sum() < np.inf:
            raise ValueError(f"the sum of all weights is {weights.sum()}")
        return WeightedOrders(checked_length(self.num_samples, samples), seed, weights)


@dataclass(frozen=True, eq=False)
class WeightedOrders:
    """`Weighted` over the samples of a dataset."""

    num_positions: int
    seed: int
    weights: Weights
    shuffle: bool = True

    @functools.cached_property
    def _name(self) -> str:
        return f"Weighted({blake2b(self.weights.astype('<f8').tobytes(), digest_size=8).hexdigest()})"

    def name(self, epoch: int, position: int) -> str:
        return self._name

    def of(self, epoch: int) -> "WeightedEpoch":
        _check("epoch", epoch, 0, 2**32 - 1)
        return WeightedEpoch(self, epoch)


@dataclass(frozen=True, eq=False)
class WeightedEpoch:
    """One epoch of it: samples in a random order are intervals as long as they are expected often, side by side.

    At each tick (a random start, then one after each 1) the sample is drawn whose interval it is in.
    """

    orders: WeightedOrders
    epoch: int

    @functools.cached_property
    def _ticks(self) -> EpochOrder:
        return EpochOrder(self.orders.num_positions, True, self._seed("ticks"), self.epoch)

    @functools.cached_property
    def _intervals(self) -> tuple[Ids, Ids, int, int]:
        """Samples by place, where their intervals end, the length of 1 in bits, and the first tick: all as integers.

        So rounding moves the ends a little, but never loses or doubles a tick.
        """
        weights, length = self.orders.weights, self.orders.num_positions
        samples = EpochOrder(len(weights), True, self._seed("samples"), self.epoch).samples(0, len(weights))
        ends = np.cumsum(weights[samples])
        bits = 61 - length.bit_length()
        ends = np.minimum(ends * (length / ends[-1]), length) * 2.0**bits
        ends[weights[samples].nonzero()[0][-1] :] = length * 2.0**bits
        start = int(splitmix.words(np.uint64(self._seed("start")), np.array([self.epoch], np.uint64))[0])
        return samples, ends.astype(np.int64), bits, start >> (64 - bits)

    def _seed(self, what: str) -> int:
        return derived_seed(self.orders.seed, what)

    def picks(self, positions: Ids) -> Picks:
        """As `OneEpoch` says."""
        samples, ends, bits, start = self._intervals
        ticks = self._ticks.at(positions)
        places = np.searchsorted(ends, (ticks << bits) + start, side="right")
        begins = np.where(places > 0, ends[places - 1], 0)
        first_ticks = -((start - begins) >> bits)  # rounded up
        return Picks(samples[places], repeated_epochs(self.epoch, ticks - first_ticks))
