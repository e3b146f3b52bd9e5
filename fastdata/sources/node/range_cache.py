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
from types import TracebackType
from typing import Self

from fastdata.sources.node.cache import cached_name
from fastdata.sources.node.fetching import Ranges
from fastdata.sources.node.filling import Filler
from fastdata.sources.node.ledger import Ledger
from fastdata.sources.node.piece_locks import FileLocks, PieceLocks, Span
from fastdata.sources.node.sparse import Piece, RemoteFile, SparseFile
from fastdata.sources.regular import refuse_larger, share_of_files

_MAX_OPEN = 64  # files of data that a process keeps open
_MAX_SIZE = 1 << 40  # bytes of a file: the ledger has 16 bytes for each MiB of it, whatever lies there
_PAUSE = (0.001, 0.005)  # seconds


class _Pin:
    """A piece in use in this process: how many leases there are on it, and their lock."""

    __slots__ = ("_turn", "abandoned", "error", "is_settled", "leases", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.leases = 1
        self._turn = threading.Lock()  # held until it is settled; an Event takes a dozen times as long to make
        self._turn.acquire()
        self.is_settled = False
        self.error: OSError | None = None
        self.abandoned = False  # by a thread that was interrupted: others try again

    def settle(self) -> None:
        """Says that the piece is there, or can't be had; once."""
        self.is_settled = True
        self._turn.release()

    def wait(self) -> None:
        """Until it is settled."""
        if not self.is_settled:
            with self._turn:
                pass


_Pins = Mapping[Piece, _Pin]


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
        if limit is None:
            limit = (shutil.disk_usage(folder).free + self._ledger.total()) // 2
        self.limit = limit
        self._locks = PieceLocks(folder)
        self._filler = Filler(folder, limit, storage, self._ledger)
        self._turn = threading.Lock()  # of who changes the table, for microseconds
        self._pins: dict[Piece, _Pin] = {}
        self._files = _LastUsed(self._opened)
        self._pid = os.getpid()
        self._filler.trim_all()

    def path(self, file: RemoteFile) -> Path:
        """The sparse file, to be read where a lease says what is there."""
        return self._files[file].path

    def lease(self, pieces: Iterable[Piece], held: Iterable["Lease"] = ()) -> "Lease":
        """Makes sure that the pieces are on disk, until the lease is closed: what is missing is fetched.

        Of the leases that are `held` already it takes the pieces over. What can't be had is in the lease's `errors`, by
        piece. OSError where the machine fails.
        """
        wanted = list(dict.fromkeys(pieces))
        pins: dict[Piece, _Pin] = {}
        try:
            for lease in held:
                pins |= lease.taken(wanted)
            while left := [piece for piece in wanted if piece not in pins]:
                locks = {file: self._locks_of(file) for file in {piece.file for piece in left}}
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

    def _release(self, pins: _Pins) -> None:
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
                    del self._pins[piece]  # first: what is in the table is locked, wherever this is interrupted
                    pin.span.let_go()
                    ended.append(piece)
        self._filler.trim(ended, self._files)

    def _opened(self, file: RemoteFile) -> SparseFile:
        refuse_larger(file.url, file.size, _MAX_SIZE)
        name = cached_name(file.url, f"{file.size} {file.content}")
        first = self._ledger.first_of(name)
        if first is None:
            with self._ledger.locked():
                first = self._ledger.look_up(name)
                if first is None:
                    (self._folder / name).unlink(missing_ok=True)  # left by somebody who removed the ledger
                    first = self._ledger.register(name, file.size)
        return SparseFile(self._folder / name, file.size, first)

    def _locks_of(self, file: RemoteFile) -> FileLocks:
        opened = self._files[file]
        return self._locks.of(opened.path.name, opened.first_region)

    def _pin(
        self,
        pieces: Iterable[Piece],
        locks: Mapping[RemoteFile, FileLocks],
        pins: dict[Piece, _Pin],
        mine: dict[Piece, _Pin],
    ) -> None:
        """Adds to `pins` those of the pieces, and to `mine` those that nobody in this process had.

        A lease is counted on each.
        """
        with self._turn:
            for piece in pieces:
                pin = self._pins.get(piece)
                if pin is None:
                    pin = _Pin(locks[piece.file].span(piece.offset, piece.end))
                    self._pins[piece] = mine[piece] = pin
                else:
                    pin.leases += 1
                pins[piece] = pin

    def _settle(self, pieces: Iterable[Piece], locks: Mapping[RemoteFile, FileLocks], pins: dict[Piece, _Pin]) -> None:
        """Adds to `pins` those of the pieces. Those that nobody in this process had are left on disk and under a shared
        lock, or with an error, or, where this thread is interrupted, given up for others to try again."""
        mine: dict[Piece, _Pin] = {}
        try:
            self._pin(pieces, locks, pins, mine)
            there: list[Piece] = []
            missing: list[Piece] = []
            contested: list[Piece] = []
            for piece, pin in mine.items():
                (there, missing, contested)[self._look(piece, pin, self._files[piece.file])].append(piece)
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

    def _look(self, piece: Piece, pin: _Pin, file: SparseFile) -> _Found:
        """Looks for a piece, without waiting: it is there and leased, missing and locked exclusively, or contested.

        A hole is told from a piece without a lock, and then by who has the exclusive one.
        """
        if file.lacks(piece):
            if not pin.span.try_to_have(exclusive=True):
                return _Found.CONTESTED
            if file.lacks(piece) or not file.has(piece):
                return _Found.MISSING
            self._settled(piece, None)
            return _Found.THERE
        if not pin.span.try_to_have(exclusive=False):
            return _Found.CONTESTED
        if file.has(piece):
            pin.settle()
            return _Found.THERE
        if pin.span.try_to_have(exclusive=True):
            return _Found.MISSING
        pin.span.let_go()  # two that look for it at the same time would else keep each other from fetching it
        return _Found.CONTESTED

    def _get_after_others(self, piece: Piece, pin: _Pin) -> None:
        while True:
            pin.span.wait_shared()
            if self._files[piece.file].has(piece):
                pin.settle()
                return
            if pin.span.try_to_have(exclusive=True):
                self._filler.fill([piece], self._files, self._settled)
                return
            pin.span.let_go()
            time.sleep(random.uniform(*_PAUSE))  # of two that look for it at the same time one comes first then

    def _settled(self, piece: Piece, error: OSError | None) -> None:
        """The piece is there, and others may read it as well; or it can't be had."""
        pin = self._pins[piece]
        if error is None:
            pin.span.try_to_have(exclusive=False)
            pin.settle()
        else:
            pin.error = error
            self._end(piece, pin)

    def _end(self, piece: Piece, pin: _Pin) -> None:
        with self._turn:
            pin.span.let_go()
            del self._pins[piece]
        pin.settle()


class Lease:
    """Pieces that are on disk until it is closed; `errors` has what is wrong with those that can't be had."""

    def __init__(self, release: Callable[[_Pins], None], pins: dict[Piece, _Pin]) -> None:
        self._release = release
        self._pins = {piece: pin for piece, pin in pins.items() if pin.error is None}
        self.errors = {piece: pin.error for piece, pin in pins.items() if pin.error is not None}

    def taken(self, pieces: Iterable[Piece]) -> dict[Piece, _Pin]:
        """Those of the pieces that it has, which whoever takes them has to release."""
        pins = {piece: self._pins.pop(piece, None) for piece in pieces}
        return {piece: pin for piece, pin in pins.items() if pin is not None}

    def drop(self, pieces: Iterable[Piece]) -> None:
        """Lets go of some of the pieces, at most once of each, whoever says so."""
        self._release(self.taken(pieces))

    def close(self) -> None:
        """Lets go of all."""
        self.drop(list(self._pins))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
