"""Ranges of remote files on a node's disk: bounded, checked, shared by all of its threads and processes.

How it works. Each remote file has a sparse file of its size in the cache's folder (`sparse`), and whoever reads pieces
of it has a lease on them meanwhile, `with cache.lease(pieces): ...`, in which the sparse file has their bytes.

A piece is there if the bytes in its place have its hash: there is no other record. So nothing that is written can be
taken for more than it is, whenever SIGKILL, a full disk or a power failure came, and a hole is never taken for zeros.

Locks on ranges of bytes (`piece_locks`) say who may do what, between processes, and end with their process:
- shared: a piece is looked for and, if it is there, leased. Whoever has one reads; nobody writes or removes there.
- exclusive: a piece is fetched, checked and written, or a region of pieces is removed.
Who wants a lease asks for a shared lock without waiting, and looks. What is not there he asks for the exclusive lock
on, which no moment separates from the shared one, fetches it, and turns the lock into a shared one in the same way.
(What lies in a hole of the sparse file is asked for under the exclusive lock at once, and looked for again under it.)
Who is refused one of the two lets go and waits, asleep, for a shared lock: then the piece is there, as a rule. If it
is not, since whoever fetched it failed, or two had looked for it at the same time, he asks for the exclusive lock, and
where he is refused again lets go, and begins anew some milliseconds later. Nobody waits for an exclusive lock: others'
leases would be in its way, which may last until they have what he has leased himself. Nobody waits for a shared one
while he has an exclusive one. So nobody waits for ever. Threads of a process share its locks: a table counts who has a
lease on what.

The ledger (`ledger`) knows what is on disk, and when it was used. Before anything is fetched its bytes are added
there, and what was used least recently is removed (`eviction`) as far as nobody has it locked. So the cache has no
more than `limit` bytes and what is leased just now; with a limit of 0 a piece goes when its last lease ends.
"""

import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from functools import lru_cache
from pathlib import Path

from fastdata.sources.node.byte_locks import try_lock, unlock, wait_for_lock
from fastdata.sources.node.cache import cached_name
from fastdata.sources.node.fetching import Ranges
from fastdata.sources.node.filling import Filler
from fastdata.sources.node.leases import Lease, Pin, Pins
from fastdata.sources.node.ledger import MAX_SIZE, Ledger
from fastdata.sources.node.piece_calls import CALLS, Looked
from fastdata.sources.node.piece_locks import FileLocks, PieceLocks
from fastdata.sources.node.sparse import Piece, RemoteFile, SparseFile
from fastdata.sources.regular import refuse_larger, share_of_files

_MAX_OPEN = 64  # files of data that a process keeps open
_FILES_AT_ONCE = 4  # of which pieces are looked for in one call: a thread keeps so many open besides
_PAUSE = (0.001, 0.005)  # seconds


class _Found(IntEnum):
    THERE = 0
    MISSING = 1
    CONTESTED = 2


class _LastUsed:
    """Files of which the last used ones stay open: what is read ahead may lie in hundreds, and 256 have to suffice."""

    def __init__(self, opened: Callable[[RemoteFile], SparseFile]) -> None:
        self._open = lru_cache(min(_MAX_OPEN, share_of_files(8)))(opened)

    def __getitem__(self, file: RemoteFile) -> SparseFile:
        return self._open(file)

    def close(self) -> None:
        self._open.cache_clear()


class RangeCache:
    """The cache in `folder`, as this process has it open.

    `limit` is in bytes; None is half of the disk's free space, with what is in the cache counted as free. `storage`
    gives what reads a URL's ranges. Any number of threads may use it. A forked child must close it and open its own.
    OSError where the folder's file system has no locks.
    """

    def __init__(self, folder: Path, limit: int | None, storage: Callable[[str], Ranges]) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._ledger = Ledger(folder)
        try:
            if limit is None:
                limit = (shutil.disk_usage(folder).free + self._ledger.total()) // 2
            self.limit = limit
            self._filler = Filler(folder, limit, storage, self._ledger)
            self._filler.trim_all()
        except BaseException:
            self._ledger.close()
            raise
        self._locks = PieceLocks(folder)
        self._turn = threading.Lock()  # of who changes the table, for microseconds
        self._pins: dict[Piece, Pin] = {}
        self._files = _LastUsed(self._opened)
        self._pid = os.getpid()

    def path(self, file: RemoteFile) -> Path:
        """The sparse file, to be read where a lease says what is there."""
        return self._files[file].path

    def lease(self, pieces: Iterable[Piece], held: Iterable[Lease] = ()) -> Lease:
        """Makes sure that the pieces are on disk, until the lease is closed: what is missing is fetched.

        Of the leases that are `held` already it takes the pieces over. What can't be had is in the lease's `errors`, by
        piece. OSError where the machine fails.
        """
        wanted = list(dict.fromkeys(pieces))
        pins: dict[Piece, Pin] = {}
        try:
            for lease in held:
                pins |= lease.taken(wanted)
            while left := [piece for piece in wanted if piece not in pins]:
                locks = {file: self._files[file].locks for file in {piece.file for piece in left}}
                self._settle(left, locks, pins)
                for piece in left:
                    pins[piece].wait()
                    if pins[piece].abandoned:
                        del pins[piece]
        except BaseException:
            self._release(pins)
            raise
        return Lease(self._release, pins)

    def close(self) -> None:
        """Closes its files, which ends all leases; nobody may use it any more. In a forked child, the child's files."""
        if os.getpid() == self._pid:
            self._filler.close()
        self._files.close()
        self._locks.close()
        self._ledger.close()

    def _release(self, pins: Pins) -> None:
        """Ends one lease on each of the pieces."""
        if not pins or os.getpid() != self._pid:
            return  # the locks did not come along through a fork
        ended = []
        with self._turn:
            for piece, pin in pins.items():
                if self._pins.get(piece) is not pin:
                    continue  # it could not be had
                pin.leases -= 1
                if not pin.leases:
                    ended.append(piece)
            # Out of the table first: what is in it is locked, wherever this is interrupted.
            try:
                CALLS.let_go([self._pins.pop(piece).span for piece in ended])
            except OSError as error:
                raise self._named(error) from error
        self._filler.trim(ended, self._files)

    def _opened(self, file: RemoteFile) -> SparseFile:
        refuse_larger(file.url, file.size, MAX_SIZE)
        name = cached_name(file.url, f"{file.size} {file.content}")
        first = self._ledger.first_of(name)
        if first is None:
            with self._ledger.locked():
                first = self._ledger.look_up(name)
                if first is None:
                    (self._folder / name).unlink(missing_ok=True)  # left by somebody who removed the ledger
                    first = self._ledger.register(name, file.size)
        return SparseFile(self._folder / name, file.size, first, self._locks.of(name, first))

    def _pin(
        self,
        pieces: Iterable[Piece],
        locks: Mapping[RemoteFile, FileLocks],
        pins: dict[Piece, Pin],
        mine: dict[Piece, Pin],
    ) -> None:
        """Adds to `pins` those of the pieces, and to `mine` those that nobody in this process had.

        A lease is counted on each.
        """
        with self._turn:
            for piece in pieces:
                pin = self._pins.get(piece)
                if pin is None:
                    pin = Pin(locks[piece.file].span(piece.offset, piece.end))
                    self._pins[piece] = mine[piece] = pin
                else:
                    pin.leases += 1
                pins[piece] = pin

    def _settle(self, pieces: Iterable[Piece], locks: Mapping[RemoteFile, FileLocks], pins: dict[Piece, Pin]) -> None:
        """Adds to `pins` those of the pieces. Those that nobody in this process had are left on disk and under a shared
        lock, or with an error, or, where this thread is interrupted, given up for others to try again."""
        mine: dict[Piece, Pin] = {}
        try:
            self._pin(pieces, locks, pins, mine)
            there, missing, contested = self._looked_for(mine)
            if missing:
                self._filler.fill(missing, self._files, self._settled)
            for piece in contested:
                self._get_after_others(piece, mine[piece])
            self._ledger.used({number for piece in there for number in self._files[piece.file].regions(piece)})
        finally:
            for piece, pin in mine.items():
                if not pin.is_settled:
                    pin.abandoned = True
                    self._end(piece, pin)

    def _looked_for(self, mine: Pins) -> tuple[list[Piece], list[Piece], list[Piece]]:
        """Which pieces are there, missing, and contested."""
        found: tuple[list[Piece], list[Piece], list[Piece]] = ([], [], [])
        by_file: dict[RemoteFile, list[Piece]] = {}
        for piece in mine:
            by_file.setdefault(piece.file, []).append(piece)
        of_files = list(by_file.items())
        for first in range(0, len(of_files), _FILES_AT_ONCE):
            opened = [(self._files[file], pieces) for file, pieces in of_files[first : first + _FILES_AT_ONCE]]
            some = [(file, piece) for file, pieces in opened for piece in pieces]
            try:
                looked = CALLS.look([file.at(piece.offset, piece.size) for file, piece in some])
            except OSError as error:
                raise self._named(error) from error
            for (file, piece), each in zip(some, looked, strict=True):
                found[self._found(piece, mine[piece], file, each)].append(piece)
        return found

    def _named(self, error: OSError) -> OSError:
        """The error of a call, which knows of no names."""
        return OSError(error.errno, error.strerror, str(self._folder))

    def _found(self, piece: Piece, pin: Pin, file: SparseFile, looked: int) -> _Found:
        """Of a piece that was looked at: it is there and leased, missing and locked exclusively, or contested."""
        if looked == Looked.CONTESTED:
            return _Found.CONTESTED
        if looked == Looked.MISSING:
            return _Found.MISSING
        if file.has(piece):
            if looked == Looked.EXCLUSIVE:
                try_lock(*pin.span, exclusive=False)
            pin.settle()
            return _Found.THERE
        if looked == Looked.EXCLUSIVE or try_lock(*pin.span, exclusive=True):
            return _Found.MISSING
        unlock(*pin.span)  # two that look for it at the same time would else keep each other from fetching it
        return _Found.CONTESTED

    def _get_after_others(self, piece: Piece, pin: Pin) -> None:
        while True:
            wait_for_lock(*pin.span, exclusive=False)
            if self._files[piece.file].has(piece):
                pin.settle()
                return
            if try_lock(*pin.span, exclusive=True):
                self._filler.fill([piece], self._files, self._settled)
                return
            unlock(*pin.span)
            time.sleep(random.uniform(*_PAUSE))  # of two that look for it at the same time one comes first then

    def _settled(self, piece: Piece, error: OSError | None) -> None:
        """The piece is there, under a shared lock, and others may read it as well; or it can't be had."""
        pin = self._pins[piece]
        if error is None:
            pin.settle()
        else:
            pin.error = error
            self._end(piece, pin)

    def _end(self, piece: Piece, pin: Pin) -> None:
        with self._turn:
            unlock(*pin.span)
            del self._pins[piece]
        pin.settle()
