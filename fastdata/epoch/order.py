"""Which sample comes when, and who delivers it: shuffling, splitting and resuming as arithmetic on integers.

Nothing here stores an epoch: a position is turned into a sample id, and a place into positions, when asked.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastdata import splitmix

Ids = npt.NDArray[np.int64]
Words = splitmix.Words

LARGEST = 2**48

# Up to here a shuffle sorts all n ids by random numbers, which reaches every permutation; a Feistel network
# on so few ids would not. It costs no more than a network's rounds do.
_SORTED_UP_TO = 1024
_LOW_BITS = np.uint64(_SORTED_UP_TO - 1)
_32 = np.uint64(32)


def _check(name: str, value: int, low: int, high: int | None = None) -> None:
    if value < low or (high is not None and value > high):
        allowed = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {allowed}, not {value}")


@dataclass(frozen=True)
class EpochOrder:
    """The sequence of one epoch: position to sample id, both in [0, num_samples), `num_samples` up to 2**48.

    With `shuffle` it is a permutation keyed by (seed, epoch, num_samples), the same on every platform and
    computed for just the positions asked for: a Feistel network over two halves of about sqrt(n) values each,
    whose excess over n, fewer than sqrt(n) values, is walked along its cycle back into [0, n)
    (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002; method 3, generalized Feistel).
    """

    num_samples: int
    shuffle: bool = True
    seed: int = 0
    epoch: int = 0

    def __post_init__(self) -> None:
        _check("num_samples", self.num_samples, 0, LARGEST)
        _check("seed", self.seed, 0)
        _check("epoch", self.epoch, 0)

    def samples(self, start: int, stop: int) -> Ids:
        """The sample ids at positions [start, stop), int64; ValueError outside 0 <= start <= stop <= n."""
        if not 0 <= start <= stop <= self.num_samples:
            raise ValueError(f"positions [{start}, {stop}) are not within [0, {self.num_samples})")
        return self._at(np.arange(start, stop, dtype=np.int64))

    def at(self, positions: Ids) -> Ids:
        """The sample ids at any int64 positions, in their shape; ValueError if one is outside [0, n)."""
        outside = positions[(positions < 0) | (positions >= self.num_samples)]
        if outside.size:
            raise ValueError(f"position {outside.flat[0]} is not within [0, {self.num_samples})")
        return self._at(positions)

    def _at(self, positions: Ids) -> Ids:
        if not self.shuffle or not positions.size:
            return positions.astype(np.int64)
        digest = hashlib.blake2b(f"{self.seed},{self.epoch},{self.num_samples}".encode()).digest()
        keys = np.frombuffer(digest, "<u8").astype(np.uint64)
        if self.num_samples <= _SORTED_UP_TO:
            return _sorted_permutation(self.num_samples, keys[0])[positions]
        return _permuted(positions.astype(np.uint64), self.num_samples, keys).astype(np.int64)


def _sorted_permutation(n: int, key: np.uint64) -> Ids:
    ids = np.arange(n, dtype=np.uint64)
    # The id in the low bits makes every number different, so that any sorting algorithm gives the same.
    return (np.sort((splitmix.words(key, ids) & ~_LOW_BITS) | ids) & _LOW_BITS).astype(np.int64)


def _permuted(values: Words, n: int, keys: Words) -> Words:
    root = math.isqrt(n - 1) + 1
    sizes = np.uint64(root), np.uint64(-(-n // root))
    values = _feistel(values, sizes, keys)
    while (outside := np.flatnonzero(values >= np.uint64(n))).size:
        values.flat[outside] = _feistel(values.flat[outside], sizes, keys)
    return values


def _feistel(values: Words, sizes: tuple[np.uint64, np.uint64], keys: Words) -> Words:
    left_size, right_size = sizes
    left = values // right_size
    right = values - left * right_size
    for left_key, right_key in keys.reshape(-1, 2):
        left = _moved(left, splitmix.words(left_key, right), left_size)
        right = _moved(right, splitmix.words(right_key, left), right_size)
    return left * right_size + right


def _moved(values: Words, noise: Words, size: np.uint64) -> Words:
    """(values + noise scaled to [0, size)) modulo size, for size up to 2**32, without a division."""
    moved = values + ((noise >> _32) * size >> _32)
    return np.minimum(moved, moved - size)  # unsigned: what is below size wraps around to a huge number
