"""Reading ahead of the order: what will be asked for next is on disk by then."""

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from queue import SimpleQueue

from fastdata.sources.range_cache import Lease, RangeCache
from fastdata.sources.sparse import Piece

_PIECES = 16  # of a batch: as many files are asked for them at the same time
_BYTES = 1 << 20  # of a batch, where it is not one larger piece


class _Batch:
    """Pieces that are fetched together, and those of them that nobody has asked for yet."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self.left = dict.fromkeys(pieces)
        self.lease: Lease | None = None
        self.begun = self.fetched = self.over = False


class ReadAhead:
    """Fetches the pieces that are expected, in their order, and keeps them until they are leased.

    At most about `max_bytes`, in batches of which each is fetched by one of `num_threads` threads. Whoever leases what
    has not been begun yet does not wait in line for it, but fetches it himself; errors are raised there alone: what
    fails ahead of time is tried once more when it is needed. `close` ends the threads, and so does the interpreter's
    exit; a forked child begins with nothing expected.

    `cache` gives this process's cache. Threads are begun when something is expected.

    Callers take no lock for longer than a few lines, and no Condition: see `Crew`.
    """

    def __init__(self, cache: Callable[[], RangeCache], max_bytes: int = 64 << 20, num_threads: int = 8) -> None:
        self._cache = cache
        self._batches_ahead = max(max_bytes // _BYTES, 1)
        self._num_threads = num_threads
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """Begins anew, in a forked child, to which neither threads nor leases came along."""
        self._turn = threading.Lock()
        self._queue: SimpleQueue[_Batch | None] = SimpleQueue()  # None: there will be no more
        self._room: SimpleQueue[None] = SimpleQueue()  # as many as batches may be begun
        for _ in range(self._batches_ahead):
            self._room.put(None)
        self._batch_of: dict[Piece, _Batch] = {}
        self._kept: dict[_Batch, None] = {}  # fetched and not yet leased by others, the oldest first
        self._threads: list[threading.Thread] = []
        self._defect: Exception | None = None
        self._closed = False

    def expect(self, pieces: Iterable[Piece]) -> None:
        """Says what will be leased next, after what was expected before. Does not wait."""
        with self._turn:
            if self._closed:
                return
            new = iter([piece for piece in dict.fromkeys(pieces) if piece not in self._batch_of])
            while first := _first(new):
                batch = _Batch(first)
                self._batch_of |= dict.fromkeys(first, batch)
                self._queue.put(batch)
            if not self._threads:
                self._threads = [
                    threading.Thread(target=self._run, name=f"fastdata-ahead-{number}", daemon=True)
                    for number in range(self._num_threads)
                ]
                for thread in self._threads:
                    thread.start()

    def lease(self, pieces: Iterable[Piece]) -> Lease:
        """A lease on the pieces, as `RangeCache.lease` gives it, whether they were expected or not."""
        if self._defect is not None:
            raise self._defect
        pieces = list(pieces)
        with self._turn:
            batches = {piece: self._batch_of.pop(piece) for piece in pieces if piece in self._batch_of}
            for piece, batch in batches.items():
                del batch.left[piece]
            overtaken = any(not batch.begun for batch in batches.values())
            forgotten = next(iter(self._kept), None) if overtaken else None
        lease = self._cache().lease(pieces)
        for piece, batch in batches.items():
            if batch.lease is not None:
                batch.lease.drop([piece])
            self._settle(batch)
        if forgotten is not None:  # nobody may ever ask for it: it must not take the place of what is asked for
            self._give_up(forgotten)
        return lease

    def close(self) -> None:
        """Ends the threads, each after the batch that it is at, and all leases that nobody took over."""
        with self._turn:
            self._closed = True
            threads, self._threads = self._threads, []
        for _ in threads:
            self._queue.put(None)
            self._room.put(None)
        for thread in threads:
            thread.join()
        for batch in list(self._kept):
            self._give_up(batch)
        self._batch_of.clear()

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None and not self._closed:
            self._room.get()
            if self._closed:
                return
            self._fetch(batch)
            del batch

    def _fetch(self, batch: _Batch) -> None:
        with self._turn:
            batch.begun = True
            pieces = list(batch.left)
        lease = None
        try:
            with suppress(OSError):  # whoever needs them tries again, and says which sample it was
                lease = self._cache().lease(pieces) if pieces else None
        except Exception as error:  # noqa: BLE001 - raised where somebody leases
            self._defect = error
        with self._turn:
            batch.lease, batch.fetched = lease, True
            taken = [piece for piece in pieces if piece not in batch.left]
            self._kept[batch] = None
        if lease is not None:
            lease.drop(taken)
        self._settle(batch)

    def _settle(self, batch: _Batch) -> None:
        """Where nothing of a batch is kept any more, another may be begun."""
        with self._turn:
            if batch.over or not batch.fetched or batch.left:
                return
            batch.over = True
            del self._kept[batch]
        self._room.put(None)

    def _give_up(self, batch: _Batch) -> None:
        with self._turn:
            for piece in batch.left:
                self._batch_of.pop(piece, None)
            batch.left.clear()
        if batch.lease is not None:
            batch.lease.close()
        self._settle(batch)


def _first(pieces: Iterable[Piece]) -> list[Piece]:
    """As many as a batch has, of an iterator."""
    batch: list[Piece] = []
    size = 0
    for piece in islice(pieces, _PIECES):
        batch.append(piece)
        size += piece.size
        if size >= _BYTES:
            break
    return batch


_all: "weakref.WeakSet[ReadAhead]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Threads that write into files of the cache end before the interpreter does."""
    for each in list(_all):
        each.close()


def _forget_all() -> None:
    for each in list(_all):
        each.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
