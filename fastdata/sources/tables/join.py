"""A table's rows join the samples of a dataset, by key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from fastdata.sample import key_hash
from fastdata.sources.paths import key_of

Numbers = npt.NDArray[np.int64]
Missing = Literal["error", "drop"]

_NONE = -1
_SHOWN = 5


class Rows(Protocol):
    """What a table was read to: for each row the image that it names, whether it is wanted, and its value."""

    @property
    def path(self) -> str:
        """Its file."""

    @property
    def names(self) -> Sequence[str]:
        """The key or the image's path of each row."""

    @property
    def wanted(self) -> npt.NDArray[np.bool_]:
        """Which rows count."""

    @property
    def missing(self) -> Missing:
        """What becomes of samples without a row."""

    def value(self, row: int) -> Any:
        """What samples get of a row."""


@dataclass(frozen=True, eq=False)
class Joined:
    """The rows of a table by sample: that of sample `number` is `rows[number]`."""

    table: Rows
    rows: Numbers

    def value(self, number: int) -> Any:
        """What sample `number` gets of its row."""
        return self.table.value(int(self.rows[number]))

    def of(self, numbers: Numbers) -> "Joined":
        """The same where only these samples are left."""
        return Joined(self.table, self.rows[numbers])


@dataclass(frozen=True, eq=False)
class Join:
    """How samples and rows met: the row of each sample, which samples are `kept`, and counts of what is not."""

    joined: Joined
    kept: npt.NDArray[np.bool_]
    left_out: dict[str, int]


def join(table: Rows, hashes: npt.NDArray[np.uint64], key: Callable[[int], str]) -> Join:
    """The rows of samples by the `key_hash` of each; `key` tells the key of one.

    A row names a key, or the path of an image, with its extension or without. Samples of which the row is not wanted
    are left out, and those without a row, too, where the table says so; otherwise ValueError, as for two rows of one
    sample, and where no row has a sample.
    """
    names = list(map(_plain, table.names))
    by_key = np.array([key_hash(key_of(name)) for name in names], np.uint64)
    by_stem = np.array([key_hash(_undotted(name)) for name in names], np.uint64)
    rows = np.full(len(hashes), _NONE, np.int64)
    for which in (table.wanted, ~table.wanted):
        for those in (by_key, by_stem):
            left = rows == _NONE
            rows[left] = _matching(table, which.nonzero()[0], those, hashes[left], np.flatnonzero(left), key)
    without = np.flatnonzero(rows == _NONE)
    _refuse_missing(table, len(hashes), [key(n) for n in without[: _SHOWN + 1].tolist()], len(without))
    kept = (rows != _NONE) & table.wanted[rows]
    if not kept.any():
        raise ValueError(f"{table.path} leaves no sample: where= wants none of the rows that samples have")
    left_out = {
        f"samples without a row in {table.path}": len(without),
        f"samples that where= leaves out by {table.path}": int((rows != _NONE).sum() - kept.sum()),
        f"rows of {table.path} without a sample": len(names) - len(np.unique(rows[rows != _NONE])),
    }
    return Join(Joined(table, rows), kept, {what: count for what, count in left_out.items() if count})


def _refuse_missing(table: Rows, samples: int, first: Sequence[str], missing: int) -> None:
    """ValueError where samples have no row, of which these are the first keys, and that is no choice."""
    if missing == samples:
        raise ValueError(
            f"{table.path} has no row for any sample: it names {_some(table.names)}, samples are {_some(first)}; "
            "prefix= says what to put before its names"
        )
    if missing and table.missing == "error":
        raise ValueError(
            f"{table.path} has no row for {missing} of {samples} samples: {_some(first)}; missing='drop' leaves such "
            "samples out"
        )


def _matching(
    table: Rows, which: Numbers, names: npt.NDArray[np.uint64], hashes: Any, numbers: Any, key: Callable[[int], str]
) -> Numbers:
    """For each hash the one of the rows `which` that bears it, or none; ValueError where several do."""
    if not len(which):
        return np.full(len(hashes), _NONE, np.int64)
    order = which[np.argsort(names[which], kind="stable")]
    first, end = (np.searchsorted(names[order], hashes, side) for side in ("left", "right"))
    several = np.flatnonzero(end - first > 1)
    if len(several):
        one, other = order[first[several[0]] : first[several[0]] + 2]
        raise ValueError(
            f"{table.path} has several rows for the sample {key(int(numbers[several[0]]))!r}: number {one + 1}, "
            f"{table.names[one]!r}, and number {other + 1}, {table.names[other]!r}; remove all but one"
        )
    found: Numbers = np.where(end > first, order[np.minimum(first, len(order) - 1)], _NONE)
    return found


def _plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _undotted(name: str) -> str:
    """A name that has no extension, or whose sample's key keeps it, as where files differ in nothing else."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.replace(".", "_")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return f"{shown}, …" if len(names) > _SHOWN else shown
