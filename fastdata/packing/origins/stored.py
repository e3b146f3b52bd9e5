"""Samples that are no files of a local folder: where their components' bytes are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdata.packing.origins.usable import UNUSABLE, UnusableError
from fastdata.sources.paths import Paths
from fastdata.sources.regular import MAX_BYTES


class Stored(NamedTuple):
    """Where the components of N samples lie: components (i, c) in the file `files[which[i, c]]`, from `offsets[i, c]`.

    Files are paths or URLs, of shards, of images themselves or of tables. Arrays are int64 of shape (N, 1 + fields), of
    the image, then of each field: `offsets` and `sizes` in bytes, sizes -1 where the sample lacks it, UNUSABLE where it
    can't be packed. `versions` say of each file how it was when the samples were collected: a local one's time of last
    change in ns, another's ETag, '' where nobody knows. `rows` are int64, the row of each file in the table that names
    it, from 1 on; 0 without one. Where files are Parquet, a component lies in `column`, and its offset is its row.
    """

    files: Paths
    versions: Paths
    rows: NDArray[np.int64]
    which: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    column: str = ""

    @classmethod
    def of(
        cls,
        files: Paths,
        versions: Paths,
        which: NDArray[np.int64],
        offsets: NDArray[np.int64],
        sizes: NDArray[np.int64],
        *,
        are_rows: bool = False,
        column: str = "",
    ) -> "Stored":
        """The same; `are_rows`: the files are what a table's rows name, one each. What is too large is UNUSABLE, and so
        is an image without bytes."""
        sizes = np.where(sizes > MAX_BYTES, UNUSABLE, sizes)
        sizes[:, 0] = np.where(sizes[:, 0] == 0, UNUSABLE, sizes[:, 0])
        rows = np.arange(1, 1 + len(files)) if are_rows else np.zeros(len(files), np.int64)
        return cls(files, versions, rows, which, offsets, sizes, column)

    def take(self, rows: "slice | NDArray[np.int64]") -> "Stored":
        """Some of the samples."""
        return self._replace(which=self.which[rows], offsets=self.offsets[rows], sizes=self.sizes[rows])

    def compact(self) -> "Stored":
        """The same without the files in which none of the samples lies."""
        used, which = np.unique(self.which, return_inverse=True)
        return self._replace(
            files=self.files.take(used),
            versions=self.versions.take(used),
            rows=self.rows[used],
            which=which.reshape(self.which.shape).astype(np.int64),
        )

    def unusable(self, row: int, column: int, reason: str) -> UnusableError:
        """The error of a component that can't be packed, which names its file and the row that names that."""
        which, offset = int(self.which[row, column]), int(self.offsets[row, column])
        of_table = f"(row {self.rows[which]} of the table) " if self.rows[which] else ""
        part = f", row {offset}" if self.column else f":{offset}" if offset else ""
        return UnusableError(self.files[which], f"{of_table}{reason}", part)
