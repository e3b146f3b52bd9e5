"""All samples in the order in which they are packed, in arrays: a shard is a range of the rows."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdata.packing.convert import Conversion
from fastdata.packing.origins.stored import Stored
from fastdata.packing.plan import PlannedField, PlannedShard
from fastdata.sources.paths import Keys, Paths
from fastdata.sources.tars.content_hash import Algorithm


class PlannedDataset(NamedTuple):
    """A dataset to write: its name, and how many shards it has."""

    name: str
    shards: int


@dataclass(frozen=True, eq=False)
class PackTable:
    """What is packed into `folder`: a row for each of N samples, the datasets one after the other.

    Shard n of all has the rows [bounds[n], bounds[n + 1]); `bounds` is int64 of shape (shards + 1,). The columns are
    those of `PlannedShard`; `apart`, bool of shape (N,), is what `Keys` needs besides the files, and `columns` are
    texts in ASCII, '' for a sample without, or None if no sample has any.
    """

    folder: Path
    datasets: Sequence[PlannedDataset]
    bounds: NDArray[np.int64]
    root: str
    files: Paths
    apart: NDArray[np.bool_]
    targets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    times: NDArray[np.int64]
    fields: Sequence[PlannedField]
    columns: Paths | None
    conversion: Conversion
    check: bool
    hash: Algorithm
    skip: bool
    stored: Stored | None = None

    @property
    def num_shards(self) -> int:
        """Of all datasets together."""
        return len(self.bounds) - 1

    @cached_property
    def paths(self) -> list[Path]:
        """Where each shard is written."""
        return [self.folder / f"{name}-{number:06d}.tar" for name, shards in self.datasets for number in range(shards)]

    def shard(self, number: int) -> PlannedShard:
        """The shard of that number, counted over all datasets."""
        rows = slice(*self.bounds[number : number + 2].tolist())
        files = self.files[rows]
        columns = [] if self.columns is None else [os.fsencode(text) for text in self.columns[rows]]
        return PlannedShard(
            self.paths[number],
            self.root,
            files,
            Keys(files, self.apart[rows]),
            self.targets[rows],
            self.sizes[rows],
            self.conversion,
            columns,
            [PlannedField(name, paths[rows], sizes[rows]) for name, paths, sizes in self.fields],
            self.times[rows],
            self.check,
            self.hash,
            self.skip,
            None if self.stored is None else self.stored.take(rows).compact(),
        )
