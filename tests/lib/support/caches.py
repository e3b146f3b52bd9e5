"""Reading through a cache of ranges, in other processes too."""

import os
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from fastdata.sources.node.leases import Lease
from fastdata.sources.node.range_cache import RangeCache
from fastdata.sources.node.sparse import Piece
from support.ranges import HttpRanges


def leased(cache: RangeCache, pieces: Sequence[Piece]) -> list[bytes]:
    """The bytes of the pieces, read from the sparse files while they are leased."""
    with cache.lease(pieces) as lease:
        return read_leased(cache, lease, pieces)


def read_leased(cache: RangeCache, lease: Lease, pieces: Sequence[Piece]) -> list[bytes]:
    """The bytes of leased pieces; raises what is wrong with one."""
    for error in lease.errors.values():
        raise error
    return [_read(cache.path(piece.file), piece) for piece in pieces]


def _read(path: Path, piece: Piece) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, piece.size, piece.offset)
    finally:
        os.close(fd)


def on_disk(folder: Path) -> int:
    """Bytes that the cache's files of data take on disk."""
    files = [path for path in folder.iterdir() if "-" in path.name and not path.name.startswith("locks")]
    return sum(path.stat().st_blocks * 512 for path in files)


def lease_all(folder: Path, limit: int, pieces: Sequence[Piece], seed: int) -> list[tuple[list[Piece], list[bytes]]]:
    """Reads all pieces in an order of its own, some at once."""
    order = [pieces[number] for number in np.random.default_rng(seed).permutation(len(pieces))]
    with closing(RangeCache(folder, limit, lambda url: HttpRanges())) as cache:
        return [
            (order[first : first + 8], leased(cache, order[first : first + 8])) for first in range(0, len(order), 8)
        ]


def lease_in_threads(
    folder: Path, limit: int, pieces: Sequence[Piece], seed: int
) -> list[tuple[list[Piece], list[bytes]]]:
    """The same in two threads with a cache that they share."""
    received: list[tuple[list[Piece], list[bytes]]] = []

    def work(of_thread: int) -> None:
        order = [pieces[number] for number in np.random.default_rng(of_thread).permutation(len(pieces))]
        parts = [order[first : first + 16] for first in range(0, len(order), 16)]
        received.extend([(part, leased(cache, part)) for part in parts])

    with closing(RangeCache(folder, limit, lambda url: HttpRanges())) as cache:
        threads = [threading.Thread(target=work, args=(seed * 2 + each,)) for each in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return received
