"""What a shuffle by blocks would mean for a dataset: how large its blocks are, and how well they mix the classes."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from fastdata.epoch.order import Ids
from fastdata.epoch.window import Window, block_size_of

_BATCH = Window().global_batch
_AS_GOOD = 0.005  # an excess that is shown as none


class Mixing(NamedTuple):
    """`block_size` is in samples; `excess` as of `WindowOrders`, for batches of 1,024."""

    block_size: int
    excess: float

    def __str__(self) -> str:
        blocks = f"blocks of {self.block_size:,}"
        if self.excess < _AS_GOOD:
            return f"{blocks}; classes are mixed as well as by shuffle=True"
        times = f"{1 + self.excess:.2f} times the chi-square of shuffle=True"
        return f"{blocks}; classes in a batch of {_BATCH:,} have {times}, where 1.00 is as well mixed"


def pairs_alike(classes: Ids, size: int) -> Ids:
    """How many pairs of neighbours are in a block, and how many of them of the same class; int64 of shape (2,).

    Of the samples of a shard of `size` bytes.
    """
    blocks = np.arange(len(classes)) // block_size_of(size / max(len(classes), 1))
    names, numbers = np.unique(classes, return_inverse=True)
    found = [np.unique(groups, return_counts=True)[1] for groups in (blocks, blocks * len(names) + numbers)]
    return np.array([(counts * (counts - 1) // 2).sum() for counts in found], np.int64)


def mixing(counts: Collection[int], size: int, pairs: Ids) -> Mixing:
    """Of a dataset of `size` bytes with so many samples of each class, and `pairs_alike` of all of its blocks."""
    samples = sum(counts)
    orders = Window().over(samples, 0, size / max(samples, 1))
    by_chance = sum((count / samples) ** 2 for count in counts)
    in_blocks = int(pairs[1]) / max(int(pairs[0]), 1)
    clustered = (in_blocks - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0
    return Mixing(orders.block_size, orders.excess(_BATCH) * max(0.0, clustered))
