"""Read the components of a shard's samples, in their order, from wherever they lie."""

import os
from contextlib import closing
from typing import Protocol

from fastdata.packing.origins.stored import Stored
from fastdata.packing.origins.usable import CHANGED, NO_COMPONENT, UNUSABLE, UnusableError, unreadable
from fastdata.sources.regular import open_regular
from fastdata.sources.tars.tar import pread
from fastdata.sources.urls import is_remote


class Reader(Protocol):
    """Gives the bytes of components, of one sample after the other, though some may be left out."""

    def read(self, row: int, column: int) -> bytes:
        """Those of a component. UnusableError that says where they should be, if they can't be had."""

    def close(self) -> None:
        """Ends what reads ahead."""


def reader_of(stored: Stored) -> closing[Reader]:
    """A block in which the components of these samples are read."""
    # Each is imported where it is needed, since a packing process begins sooner without both.
    if stored.column:
        from fastdata.packing.origins.stored_rows import StoredRows

        return closing(StoredRows(stored))
    if any(map(is_remote, stored.files)):
        from fastdata.packing.origins.ahead import Ahead

        return closing(Ahead(stored))
    return closing(_Local(stored))


class _Local:
    """Reads from files of this machine's, one by one."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def read(self, row: int, column: int) -> bytes:
        stored, at = self._stored, (row, column)
        which, offset, size = int(stored.which[at]), int(stored.offsets[at]), int(stored.sizes[at])
        path = stored.files[which]
        if size == UNUSABLE:
            raise stored.unusable(row, column, NO_COMPONENT)
        try:
            fd = open_regular(path)
            try:
                changed = str(os.fstat(fd).st_mtime_ns) != stored.versions[which]
                data = pread(fd, size, offset)
            finally:
                os.close(fd)
        except OSError as error:
            raise unreadable(path, error) from error
        if changed or len(data) != size:
            raise UnusableError(path, CHANGED, f":{offset}")
        return data

    def close(self) -> None:
        """Nothing is left open."""
