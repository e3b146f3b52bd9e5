"""A remote file's local counterpart: a sparse file with the same offsets, of which some pieces are there."""

import os
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from fastdata.sources.faults import patiently
from fastdata.sources.node.piece_calls import REGION, At
from fastdata.sources.node.piece_locks import FileLocks
from fastdata.sources.regular import HoldsDescriptor, open_private
from fastdata.sources.tars.tar import pread

MAX_RUN = 8 << 20
"""Bytes of neighbouring pieces that are asked for as one range."""


class RemoteFile(NamedTuple):
    """A file at a URL: its size in bytes, and a name of its content, such as the "xxh3_128:..." of a dataset's json.

    Another content at the same URL is another file, with a local counterpart of its own.
    """

    url: str
    size: int
    content: str


class Piece(NamedTuple):
    """`size` bytes at `offset` of a remote file, and their xxh3_64. A file's pieces don't overlap."""

    file: RemoteFile
    offset: int
    size: int
    hash: int

    @property
    def end(self) -> int:
        return self.offset + self.size


Run = Sequence[Piece]
"""Pieces of one file, each beginning where the last one ends."""


def runs(pieces: Iterable[Piece]) -> Sequence[Run]:
    """The pieces in the longest runs of up to MAX_RUN bytes, by file and offset."""
    found: list[list[Piece]] = []
    for _, of_file in groupby(sorted(pieces), attrgetter("file")):
        last: list[Piece] = []
        for piece in of_file:
            if last and last[-1].end == piece.offset and piece.end - last[0].offset <= MAX_RUN:
                last.append(piece)
            else:
                last = [piece]
                found.append(last)
    return found


def is_intact(piece: Piece, data: bytes | memoryview) -> bool:
    """Whether these are the piece's bytes."""
    return len(data) == piece.size and xxh3_64_intdigest(data) == piece.hash


class SparseFile(HoldsDescriptor):
    """The sparse file at `path`, made for its user alone; its regions are `first_region` and following of the ledger.

    `locks` are those on its bytes, as this process has them.

    What is there is whatever has its hash: there is no other record of it. A write that SIGKILL, a full disk or a power
    failure has cut short, or a hole punched since, is a piece that is not there.
    """

    def __init__(self, path: Path, size: int, first_region: int, locks: FileLocks) -> None:
        self.path, self.first_region, self.locks = path, first_region, locks
        self.fd = open_private(path)
        status = os.fstat(self.fd)
        self._block = min(max(status.st_blksize, 1), REGION)
        if status.st_size != size:
            os.ftruncate(self.fd, size)

    def has(self, piece: Piece) -> bool:
        """Whether the piece is there, by its hash. The caller has a lock on it.

        OSError, which names the file, where it goes on to be unreadable.
        """
        read = partial(self._read, piece)
        return is_intact(piece, patiently(read, read))

    def _read(self, piece: Piece) -> bytes:
        try:
            return pread(self.fd, piece.size, piece.offset)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def at(self, offset: int, size: int) -> At:
        """Where these bytes lie, as long as the file is open."""
        return At(self.fd, offset, size, self.locks.fd, self.locks.base + offset, self._block)

    def regions(self, piece: Piece) -> range:
        """The numbers of the regions that the piece lies in."""
        return range(self.first_region + piece.offset // REGION, self.first_region + (piece.end - 1) // REGION + 1)
