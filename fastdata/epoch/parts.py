"""Orders of a dataset in parts, each with its share of every epoch: a `Mix` of datasets, or classes in balance.

Each part is gone through in passes of its own, without repeats, from one epoch to the next.
"""

import functools
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np

from fastdata import splitmix
from fastdata.epoch.order import Ids, Picks, _check, derived_seed, each_permuted
from fastdata.epoch.shares import Interleaving

# How many neighbouring positions a shuffle mixes with each other: at least so many, and so many for each part. Any run
# of them has the parts in their proportion, and yet which of a thousand classes meet in a batch is left to chance.
_WINDOW, _WINDOW_OF_EACH = 1024, 4


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a dataset: their sizes, int64 of shape (parts,), and their samples one part after the other."""

    sizes: Ids
    members: Ids | None = None
    """Sample numbers, int64 of shape (samples,); None where the dataset has its samples in this order."""

    @functools.cached_property
    def digest(self) -> bytes:
        """What tells these parts from others."""
        members = b"" if self.members is None else self.members.astype("<i8").tobytes()
        return blake2b(self.sizes.astype("<i8").tobytes() + members).digest()

    def numbers(self, parts: Ids, places: Ids) -> Ids:
        """The sample numbers at some places of some parts."""
        at = (np.cumsum(self.sizes) - self.sizes)[parts] + places
        return at if self.members is None else self.members[at]


class Schedule(dict[int, Ids]):
    """Whole weights by the epoch from which on they hold, until the next; `begun` is the last epoch that was picked of.

    It may go on, but for what has begun.
    """

    begun = -1


@dataclass(frozen=True, eq=False)
class PartsOrders:
    """Orders of parts whose weights are those of `schedule`, which is looked up whenever an epoch is."""

    num_positions: int
    shuffle: bool
    seed: int
    parts: Parts
    schedule: Schedule
    kind: str

    def name(self, epoch: int, position: int) -> str:
        digest = blake2b(self.parts.digest, digest_size=8)
        for first, weights in sorted(self.schedule.items()):
            if (first, 0) < (epoch, position) or first == 0:
                digest.update(b"%d:" % first + weights.astype("<i8").tobytes())
        return f"{self.kind}({digest.hexdigest()})"

    def of(self, epoch: int) -> "PartsEpoch":
        _check("epoch", epoch, 0, 2**61 // self.num_positions)
        before = np.zeros(len(self.parts.sizes), np.int64)
        begins = sorted(first for first in self.schedule if first <= epoch)
        for first, following in pairwise(begins):
            interleaving = Interleaving.of(self.schedule[first])
            before += interleaving.counts((following - first) * self.num_positions)[: len(before)]
        position = (epoch - begins[-1]) * self.num_positions
        return PartsEpoch(self, epoch, Interleaving.of(self.schedule[begins[-1]]), position, before)


@dataclass(frozen=True, eq=False)
class PartsEpoch:
    """One epoch of it: from `start` on in an interleaving, before which the parts came so often as `before` says."""

    orders: PartsOrders
    epoch: int
    interleaving: Interleaving
    start: int
    before: Ids

    def picks(self, positions: Ids) -> Picks:
        """As `OneEpoch` says; a sample's views are those of its part's own pass, by number."""
        orders = self.orders
        orders.schedule.begun = max(orders.schedule.begun, self.epoch)
        if orders.shuffle:
            positions = self._shuffled_within_windows(positions)
        parts, turns = self.interleaving.at(positions + self.start)
        sizes = orders.parts.sizes[parts]
        passes, places = np.divmod(turns + self.before[parts], sizes)
        if orders.shuffle:
            places = self._shuffled_passes(parts, passes, places, sizes)
        return Picks(orders.parts.numbers(parts, places), passes)

    def _shuffled_within_windows(self, positions: Ids) -> Ids:
        length = self.orders.num_positions
        size = min(length, max(_WINDOW, _WINDOW_OF_EACH * len(self.orders.parts.sizes)))
        windows, within = np.divmod(positions, size)
        starts = splitmix.words(self._key("windows", self.epoch), windows.astype(np.uint64))
        return windows * size + each_permuted(within, np.minimum(size, length - windows * size), starts)

    def _shuffled_passes(self, parts: Ids, passes: Ids, places: Ids, sizes: Ids) -> Ids:
        """Each pass over each part has a permutation of its own."""
        starts = splitmix.words(self._key("passes"), parts.astype(np.uint64))
        return each_permuted(places, sizes, splitmix.words(starts, passes.astype(np.uint64)))

    def _key(self, what: str, epoch: int = 0) -> np.uint64:
        return np.uint64(derived_seed(self.orders.seed, f"{what} {epoch}"))
