"""An endless sequence in which each of some parts has its share, evenly spread: which part comes at a position.

And how often that part came before: both for just the positions asked for, in integers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fastdata.epoch.order import Ids

_LARGEST_TOTAL = 2**31  # of whole weights, so that the product of two of them is below 2**63


def whole_weights(weights: Sequence[float]) -> Ids:
    """Integers in the proportion of `weights`, int64: exactly, as decimals are written, or to within 2**-29 of it.

    ValueError for weights that are negative, not finite, or all 0.
    """
    for weight in weights:
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"a weight must be at least 0, and finite, got {weight}")
    fractions = [Fraction(str(float(weight))) for weight in weights]
    total = sum(fractions)
    if not total:
        raise ValueError("all weights are 0")
    shares = [fraction / total for fraction in fractions]
    denominator = math.lcm(*(share.denominator for share in shares))
    if denominator <= _LARGEST_TOTAL:
        return np.array([int(share * denominator) for share in shares], np.int64)
    return np.array([max(round(share * 2**30), share > 0) for share in shares], np.int64)


@dataclass(frozen=True, eq=False)
class Interleaving:
    """Parts in the proportion of whole weights; a binary tree of them.

    A node halves its parts, and deals what comes to it to both halves as evenly as integers allow: of its first t,
    t * left / (left + right), rounded, go left. So a part's count is never off by more than a few, at any position, and
    it is exact wherever the shares of all halves are whole.
    """

    tree: Ids
    """Sums of weights: the root at 1, the halves of node i at 2i and 2i + 1, the parts in the last half of the array"""

    @classmethod
    def of(cls, weights: Ids) -> "Interleaving":
        """That of whole weights, int64 of shape (parts,)."""
        leaves = 1 << max(len(weights) - 1, 0).bit_length()
        tree = np.zeros(2 * leaves, np.int64)
        tree[leaves : leaves + len(weights)] = weights
        while leaves > 1:
            leaves //= 2
            tree[leaves : 2 * leaves] = tree[2 * leaves : 4 * leaves : 2] + tree[2 * leaves + 1 : 4 * leaves : 2]
        return cls(tree)

    @property
    def _depth(self) -> int:
        return len(self.tree).bit_length() - 2

    def at(self, positions: Ids) -> tuple[Ids, Ids]:
        """The part at each position, and how often that part came before it."""
        nodes, before = np.ones_like(positions), positions
        for _ in range(self._depth):
            to_left = self._to_left(nodes, before)
            goes_left = self._to_left(nodes, before + 1) > to_left
            nodes = 2 * nodes + ~goes_left
            before = np.where(goes_left, to_left, before - to_left)
        return nodes - len(self.tree) // 2, before

    def counts(self, length: int) -> Ids:
        """How often each part (and each leaf of no part) comes in the first `length` positions."""
        counts = np.array([length], np.int64)
        for level in range(self._depth):
            to_left = self._to_left(np.arange(1 << level, 2 << level), counts)
            counts = np.stack([to_left, counts - to_left], axis=1).ravel()
        return counts

    def _to_left(self, nodes: Ids, count: Ids) -> Ids:
        """How many of the first `count` that come to each node go to its left half."""
        left, total = self.tree[2 * nodes], np.maximum(self.tree[nodes], 1)
        whole, rest = np.divmod(count, total)
        share: Ids = whole * left + (rest * left + total // 2) // total
        return share
