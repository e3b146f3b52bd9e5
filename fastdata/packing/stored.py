"""Samples that lie in shards already: where their components' bytes are."""

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdata.packing.usable import UnusableError, unreadable
from fastdata.sources.paths import Paths
from fastdata.sources.tar import pread


class Stored(NamedTuple):
    """Where the components of N samples lie: sample i in the file `shards[which[i]]`, its image at `offsets[i, 0]`.

    `which` is int64 of shape (N,). `offsets` and `sizes` are in bytes, int64 of shape (N, 1 + fields): of the image,
    then of each field, -1 where a sample lacks it. `times` are when the shards last changed, in ns.
    """

    shards: Paths
    which: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    times: NDArray[np.int64]

    def take(self, rows: "slice | NDArray[np.int64]") -> "Stored":
        """Some of the samples."""
        return self._replace(which=self.which[rows], offsets=self.offsets[rows], sizes=self.sizes[rows])

    def compact(self) -> "Stored":
        """The same without the shards in which none of the samples lies."""
        used, which = np.unique(self.which, return_inverse=True)
        return self._replace(shards=self.shards.take(used), which=which.astype(np.int64), times=self.times[used])

    def read(self, row: int, column: int) -> bytes:
        """The bytes of a component. UnusableError that names shard and offset where these can't be had."""
        which, offset, size = int(self.which[row]), int(self.offsets[row, column]), int(self.sizes[row, column])
        path = self.shards[which]
        try:
            fd = os.open(path, os.O_RDONLY)
            try:
                changed = os.fstat(fd).st_mtime_ns != self.times[which]
                data = pread(fd, size, offset)
            finally:
                os.close(fd)
        except OSError as error:
            raise unreadable(path, error) from error
        if changed or len(data) != size:
            raise UnusableError(f"{path}:{offset}", "changed while it was packed: pack again")
        return data
