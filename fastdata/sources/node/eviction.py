"""Room in a cache: what was used least recently goes out of it."""

import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from fastdata.sources.node.byte_locks import try_lock, unlock
from fastdata.sources.node.holes import punch
from fastdata.sources.node.ledger import Ledger, Region
from fastdata.sources.node.piece_calls import REGION
from fastdata.sources.node.piece_locks import PieceLocks
from fastdata.sources.regular import open_regular


def evict(ledger: Ledger, folder: Path, keep: int) -> None:
    """Removes regions until no more than `keep` bytes are left, those first that were used least recently.

    More are left where somebody has them in use: a region is only removed under an exclusive lock on it, which is not
    waited for. The caller has the ledger's lock.
    """
    with closing(PieceLocks(folder)) as locks:  # of its own: this process's readers must be in its way, too
        for region in ledger.oldest_first():
            if ledger.total() <= keep:
                return
            _remove(ledger, folder, locks, region)


def evict_regions(ledger: Ledger, folder: Path, regions: Iterable[Region]) -> None:
    """Removes those of these regions that nobody has in use. The caller has the ledger's lock."""
    with closing(PieceLocks(folder)) as locks:
        for region in regions:
            _remove(ledger, folder, locks, region)


def _remove(ledger: Ledger, folder: Path, locks: PieceLocks, region: Region) -> None:
    span = locks.of(region.name, region.first).span(region.start, region.start + REGION)
    if not try_lock(*span, exclusive=True):
        return
    try:
        fd = open_regular(folder / region.name, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:  # somebody has tidied up
        ledger.removed(region.number)
        unlock(*span)
        return
    try:
        if punch(fd, region.start, REGION):
            ledger.removed(region.number)
        else:
            _empty(ledger, locks, region, fd)
    finally:
        os.close(fd)
        unlock(*span)


def _empty(ledger: Ledger, locks: PieceLocks, region: Region, fd: int) -> None:
    """Removes the whole of a file, where the file system has no holes; nothing where any of it is in use."""
    size = os.fstat(fd).st_size
    whole = locks.of(region.name, region.first).span(0, size)
    if not try_lock(*whole, exclusive=True):
        return
    os.ftruncate(fd, 0)
    os.ftruncate(fd, size)
    for number in range(region.first, region.first + -(-size // REGION)):
        ledger.removed(number)
    unlock(*whole)
