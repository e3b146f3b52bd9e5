"""Read images from the columns of Parquet files."""

import functools

from fastdata.packing.origins.stored import Stored
from fastdata.packing.origins.usable import CHANGED, UNUSABLE, far_problem
from fastdata.sources.columnar.parquet import read_files
from fastdata.sources.columnar.row_groups import RowGroups

KEPT = 64 << 20
"""Bytes of row groups that are kept; a row group that has more is kept alone."""


class StoredRows:
    """Reads rows in their order; a `Reader`. Each row group is read once where samples are not shuffled."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._opened = functools.lru_cache(maxsize=2)(self._open)

    def read(self, row: int, column: int) -> bytes:
        stored, at = self._stored, (row, column)
        which, offset, size = int(stored.which[at]), int(stored.offsets[at]), int(stored.sizes[at])
        if size == UNUSABLE:
            raise stored.unusable(row, column, f"has no image in its column {stored.column!r} that can be told as one")
        try:
            groups, version = self._opened(which)
            data = groups.file(offset, stored.column) if version == stored.versions[which] else None
        except OSError as error:
            raise stored.unusable(row, column, far_problem(stored.files[which], error)) from error
        if data is None or len(data) != size:
            raise stored.unusable(row, column, CHANGED)
        return bytes(data)

    def close(self) -> None:
        self._opened.cache_clear()

    def _open(self, which: int) -> tuple[RowGroups, str]:
        files = read_files([self._stored.files[which]], [self._stored.column])
        return RowGroups(files, [self._stored.column], KEPT), files[0].digest.hex()
