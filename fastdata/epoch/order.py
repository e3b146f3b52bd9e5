"""Which sample comes when, and who delivers it: shuffling, splitting and resuming as arithmetic on integers.

Nothing here stores an epoch: a position is turned into a sample id, and a place into positions, when asked.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastdata import splitmix
from fastdata.sample import Size

Ids = npt.NDArray[np.int64]
Words = splitmix.Words

LARGEST = 2**48

# Up to here a shuffle sorts all n ids by random numbers, which reaches every permutation; a Feistel network
# on so few ids would not. It costs no more than a network's rounds do.
_SORTED_UP_TO = 1024
_LOW_BITS = np.uint64(_SORTED_UP_TO - 1)
_32 = np.uint64(32)
_ROUNDS = 4


class Picks(NamedTuple):
    """Samples by number, int64 of shape (N,), and the epoch whose views of them are asked for: one for all, or (N,).

    `size` is that in which their images come out; None for the transform's own.
    """

    numbers: Ids
    epochs: int | Ids
    size: Size | None = None

    def part(self, start: int, stop: int) -> "Picks":
        """Those from `start` to `stop`."""
        epochs = self.epochs if isinstance(self.epochs, int) else self.epochs[start:stop]
        return Picks(self.numbers[start:stop], epochs, self.size)


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

    def picks(self, positions: Ids) -> Picks:
        """The same as a step of a run asks for them: in this epoch's views."""
        return Picks(self.at(positions), self.epoch)

    def _at(self, positions: Ids) -> Ids:
        if not self.shuffle or not positions.size:
            return positions.astype(np.int64)
        digest = hashlib.blake2b(f"{self.seed},{self.epoch},{self.num_samples}".encode()).digest()
        keys = np.frombuffer(digest, "<u8").astype(np.uint64)
        if self.num_samples <= _SORTED_UP_TO:
            return _sorted_permutation(self.num_samples, keys[0])[positions]
        n = np.array(self.num_samples, np.uint64)
        return permuted(positions.astype(np.uint64), n, keys.reshape(-1, 2)).astype(np.int64)


def _sorted_permutation(n: int, key: np.uint64) -> Ids:
    ids = np.arange(n, dtype=np.uint64)
    # The id in the low bits makes every number different, so that any sorting algorithm gives the same.
    return (np.sort((splitmix.words(key, ids) & ~_LOW_BITS) | ids) & _LOW_BITS).astype(np.int64)


def each_permuted(values: Ids, sizes: Ids, starts: Words) -> Ids:
    """Where each value goes by a permutation of its own: of [0, size), by the random numbers from a start on."""
    keys = splitmix.words(starts, np.arange(2 * _ROUNDS, dtype=np.uint64)[:, np.newaxis])
    keys = keys.reshape(_ROUNDS, 2, len(values))
    return permuted(values.astype(np.uint64), sizes.astype(np.uint64), keys).astype(np.int64)


def derived_seed(seed: int, what: str) -> int:
    """A seed, below 2**64, of one of several random things that a seed determines."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {what}".encode(), digest_size=8).digest(), "little")


def permuted(values: Words, n: Words, keys: Words) -> Words:
    """Where a keyed permutation of [0, n) takes `values`; uint64. `keys` has shape (rounds, 2).

    Or each value has a permutation of its own: then `values` and `n` have shape (N,), and keys (rounds, 2, N).
    """
    root = np.ceil(np.sqrt(n.astype(np.float64))).astype(np.uint64)  # n is below 2**53, so root * root >= n
    sizes = root, (n + root - np.uint64(1)) // root
    values = _feistel(values, sizes, keys)
    while (outside := np.flatnonzero(values >= n)).size:
        of_these = (sizes[0][outside], sizes[1][outside]) if n.ndim else sizes
        values.flat[outside] = _feistel(values.flat[outside], of_these, keys[..., outside] if n.ndim else keys)
    return values


def _feistel(values: Words, sizes: tuple[Words, Words], keys: Words) -> Words:
    left_size, right_size = sizes
    left = values // right_size
    right = values - left * right_size
    for left_key, right_key in keys:
        left = _moved(left, splitmix.words(left_key, right), left_size)
        right = _moved(right, splitmix.words(right_key, left), right_size)
    return left * right_size + right


def _moved(values: Words, noise: Words, size: Words) -> Words:
    """(values + noise scaled to [0, size)) modulo size, for size up to 2**32, without a division."""
    moved = values + ((noise >> _32) * size >> _32)
    return np.minimum(moved, moved - size)  # unsigned: what is below size wraps around to a huge number
