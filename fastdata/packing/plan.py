"""Which sample goes to which split and shard. This is arithmetic: no file is looked at."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, assert_never

import numpy as np
from numpy.typing import NDArray

from fastdata.epoch.order import EpochOrder
from fastdata.packing.convert import Conversion
from fastdata.packing.origins.stored import Stored
from fastdata.sources.paths import Paths
from fastdata.sources.tars.content_hash import DEFAULT, Algorithm

MAX_SHARDS = 1_000_000  # six digits in a shard's name, which then sorts by number
_RECORD = 10_240  # bytes: tar pads a whole archive to a multiple of this
_END = 1024  # bytes that end an archive
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?", re.ASCII)


@dataclass(frozen=True)
class ShardCount:
    """A number of shards, such as one for each rank and worker."""

    shards: int


@dataclass(frozen=True)
class SamplesPerShard:
    """The most samples that a shard has."""

    samples: int


@dataclass(frozen=True)
class ShardSize:
    """The most bytes that a shard has; one that holds a single larger sample has more."""

    bytes: int


Division = ShardCount | SamplesPerShard | ShardSize


@dataclass(frozen=True)
class ShardPlan:
    """`num_samples` samples in `num_shards` shards: consecutive ones in each, counts that differ by at most one."""

    num_samples: int
    num_shards: int

    def __post_init__(self) -> None:
        if not 1 <= self.num_shards <= min(self.num_samples, MAX_SHARDS):
            allowed = f"from 1 to {min(self.num_samples, MAX_SHARDS)}"
            raise ValueError(f"{self.num_shards} shards for {self.num_samples} samples: there can be {allowed}")

    def bounds(self) -> NDArray[np.int64]:
        """Where shards begin: shard i has positions [bounds[i], bounds[i + 1]); int64 of shape (num_shards + 1,)."""
        return np.arange(self.num_shards + 1, dtype=np.int64) * self.num_samples // self.num_shards


class PlannedField(NamedTuple):
    """The files of a field below the root, '' for a sample without, and their sizes in bytes, -1 there."""

    name: str
    files: Paths
    sizes: NDArray[np.int64]


class PlannedShard(NamedTuple):
    """A shard to write: the files below `root`, their samples' keys and targets, and their sizes in bytes.

    Beside the images come the samples' json (`columns`, b"" for a sample without; empty if no sample has any), and the
    files of `fields`. `times` are when the files last changed, in ns, a row for each sample: its image's, then those of
    its fields; -1 for one that it lacks. With `check` images are read to their ends. With `skip` a sample of which a
    file can't be packed is left out, and noted as rejected; a file that was known for one when this was planned has the
    size `UNUSABLE`. With `stored` they are no local files, and it says where they lie. `hash`
    is what the shard's hash is made by.
    """

    path: Path
    root: str
    files: Paths
    keys: Sequence[str]
    targets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    conversion: Conversion
    columns: Sequence[bytes] = ()
    fields: Sequence[PlannedField] = ()
    times: NDArray[np.int64] | None = None
    check: bool = False
    hash: Algorithm = DEFAULT
    skip: bool = False
    stored: Stored | None = None


def plan_shards(sizes: NDArray[np.int64], division: Division) -> ShardPlan:
    """The plan for samples that take `sizes` bytes in a tar file. ValueError for a division that is impossible."""
    samples = len(sizes)
    match division:
        case ShardCount(shards):
            return ShardPlan(samples, shards)
        case SamplesPerShard(wanted):
            _at_least_one("samples per shard", wanted)
            return ShardPlan(samples, -(-samples // wanted))
        case ShardSize(limit):
            _at_least_one("bytes per shard", limit)
            return _plan_by_size(sizes, limit)
    assert_never(division)


def _plan_by_size(sizes: NDArray[np.int64], limit: int) -> ShardPlan:
    """As few shards as the total needs; more where large samples are neighbours."""
    room = max(limit // _RECORD * _RECORD - _END, int(sizes.max(initial=0)))
    ends = np.concatenate(([0], np.cumsum(sizes)))
    shards = max(1, -(-int(ends[-1]) // room))
    while True:
        plan = ShardPlan(len(sizes), shards)
        if np.diff(ends[plan.bounds()]).max() <= room:
            return plan
        shards = min(shards + 1 + shards // 100, len(sizes))


def split_samples(num_samples: int, fractions: Mapping[str, Fraction], seed: int) -> dict[str, NDArray[np.int64]]:
    """The sample ids of each split, ascending: all samples, each in one split, chosen at random by `seed`.

    The counts are `fractions` of the samples to within one sample. ValueError for fractions that don't sum to 1,
    and where a split would get no sample.
    """
    if sum(fractions.values()) != 1 or min(fractions.values()) <= 0:
        listed = ", ".join(f"{name}={fraction}" for name, fraction in fractions.items())
        raise ValueError(f"the fractions of a split must be positive and sum to 1, not {listed}")
    order = EpochOrder(num_samples, len(fractions) > 1, seed)
    parts: dict[str, NDArray[np.int64]] = {}
    start, reached = 0, Fraction(0)
    for name, fraction in fractions.items():
        reached += fraction
        stop = int(reached * num_samples)
        if start == stop:
            raise ValueError(f"split {name}={fraction} gets none of {num_samples} samples: give it more")
        parts[name] = np.sort(order.samples(start, stop))
        start = stop
    return parts


def parse_split(text: str) -> dict[str, Fraction]:
    """'train=0.9,val=0.1' as fractions, which may be written 2/3; ValueError for anything else."""
    fractions: dict[str, Fraction] = {}
    for part in text.split(","):
        name, equals, fraction = (piece.strip() for piece in part.partition("="))
        if not name or not equals or name in fractions:
            raise ValueError(f"split {text!r} should be names and fractions, each name once, as train=0.9,val=0.1")
        try:
            fractions[name] = Fraction(fraction)
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"split {text!r}: {fraction!r} is no fraction, as 0.9 or 2/3") from None
    return fractions


def parse_size(text: str) -> int:
    """'1GB' as bytes; also K, M, T, and KiB, MiB, GiB, TiB. ValueError for anything else."""
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None or (match[2] == "I"):
        raise ValueError(f"{text!r} is no size: give bytes, or a unit as in 500MB, 1GB, 1.5GiB")
    return int(Fraction(match[1]) * _UNITS[match[2]])


def _at_least_one(what: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{what} must be at least 1, not {value}")
