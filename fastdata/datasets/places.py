"""Where samples in shards lie, by number: of a task's samples all rows are read at once, from their dataset's index."""

import errno
import os
from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastdata.datasets.kept import Kept
from fastdata.images import kernel
from fastdata.sources.listing import Listing
from fastdata.sources.shard import Shard
from fastdata.sources.shard_cache import ShardCache
from fastdata.sources.tars.rows import Entry

Ints = npt.NDArray[np.int64]


class Place(NamedTuple):
    """A sample's shard, by position; its row in it; and what that says, where a dataset's index has it."""

    position: int
    row: int
    entry: Entry | None


class Places:
    """The places of the samples in the shards of a listing, by number, and the shards themselves; at first of all."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._ends = list(accumulate(listing.counts()))
        self._stops = np.array(self._ends, np.int64)
        self._begins = np.concatenate([np.zeros(1, np.int64), self._stops])
        self._firsts, self._which = np.array(listing.firsts), np.array(listing.which)
        self._of_one_index = bool(len(self._which)) and not self._which.any()
        self._shards = ShardCache(listing.shards, shard_at=partial(_shard_at, listing, self._ends))
        self.kept = Kept(self._ends[-1] if self._ends else 0)

    def keep(self, numbers: Ints | None) -> None:
        """From now on only these of the samples have numbers, in this order; None keeps all."""
        self.kept = Kept(len(self.kept), numbers)

    def at(self, number: int) -> Place:
        """The place of one sample. IndexError for a number that none has, as of all methods here."""
        stored = self.kept.stored(number)
        position = bisect_right(self._ends, stored)
        return Place(position, stored - int(self._begins[position]), None)

    def some(self, numbers: Sequence[int]) -> list[Place]:
        """The places of some samples. OSError where a dataset's index can't be read."""
        if not numbers:
            return []
        stored = self.kept.some_stored(numbers)
        positions = self._stops.searchsorted(stored, "right")
        rows = stored - self._begins[positions]
        entries = self._entries(positions, rows)
        return list(map(Place, positions.tolist(), rows.tolist(), entries))

    def shard(self, position: int) -> Shard:
        """A shard by its position; its methods raise TarError if it has not as many samples as were counted."""
        return self._shards[position]

    def path(self, number: int) -> str:
        """The path or URL of a sample's shard."""
        return self._shard_of(number).path

    def close(self, number: int) -> None:
        """Lets go of a sample's shard: a stale handle stays what it is."""
        self._shard_of(number).close()

    def _shard_of(self, number: int) -> Shard:
        return self._shards[bisect_right(self._ends, self.kept.stored(number))]

    def keys(self) -> npt.NDArray[np.uint64]:
        """The hash of every sample's key, uint64."""
        return self._column("key").astype(np.uint64, copy=False)

    def classes(self) -> Ints:
        """The class of every sample as the indexes know it, int64; NO_CLASS where they know none."""
        return self._column("cls").astype(np.int64, copy=False)

    def _column(self, name: str) -> npt.NDArray[np.int64] | npt.NDArray[np.uint64]:
        """A field of numbers of every sample's row."""
        return self.kept.of(np.concatenate([self._column_of(position, name) for position in range(len(self._ends))]))

    def _column_of(self, position: int, name: str) -> npt.NDArray[np.int64] | npt.NDArray[np.uint64]:
        which, first = int(self._which[position]), int(self._firsts[position])
        if which < 0:
            return self.shard(position).rows[name].copy()
        return self._listing.indexes[which].column(name, first, first + self._count(position))

    def _entries(self, positions: Ints, rows: Ints) -> Sequence[Entry | None]:
        """What the datasets' indexes say of these rows."""
        read = None if kernel.KERNEL is None else read_ranges
        at = self._firsts[positions] + rows
        if self._of_one_index:
            return self._listing.indexes[0].entries(at, read)
        which = self._which[positions]
        entries: list[Entry | None] = [None] * len(rows)
        for number, index in enumerate(self._listing.indexes):
            places = np.flatnonzero(which == number)
            for place, entry in zip(places.tolist(), index.entries(at[places], read), strict=True):
                entries[place] = entry
        return entries

    def _count(self, position: int) -> int:
        return self._ends[position] - int(self._begins[position])


def _shard_at(listing: Listing, ends: Sequence[int], position: int) -> Shard:
    count = ends[position] - (ends[position - 1] if position else 0)
    return Shard(listing.shards[position], known=listing.known(position), count=count, cache=listing.cache)


def read_ranges(ranges: Ints) -> memoryview:
    """Reads ranges of files, one after another, in one call of the kernel. OSError where any can't be read whole."""
    sizes = ranges[:, 2].tolist()  # of 16 numbers, lists take a third of the time of arrays
    memory = np.empty(sum(sizes), np.uint8).data
    received = kernel.read(ranges, memory).tolist()
    if received != sizes:
        code = -min(received) if min(received) < 0 else errno.EIO
        raise OSError(code, f"{os.strerror(code)}, reading the dataset's index, of which bytes may lack: copy it again")
    return memory
