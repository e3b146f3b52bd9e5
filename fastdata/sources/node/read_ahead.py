"""Reading ahead of the order: what will be asked for next is on disk by then."""

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue

from fastdata.cpus import interrupt_nobody
from fastdata.errors import forget_frames
from fastdata.sources.node.leases import Lease
from fastdata.sources.node.range_cache import RangeCache
from fastdata.sources.node.sparse import Piece

_AT_ONCE = 64  # pieces of a batch: as many files are asked for them at the same time
_BLOCKS_AT_ONCE = 8  # of about 1 MiB, by each thread
_SHARE = 1 << 20  # bytes of room are counted in these

PiecesOf = Callable[[Sequence[int]], Mapping[int, Piece]]


class _Batch:
    """Pieces by number that are fetched together, and the numbers that nobody has asked for yet."""

    def __init__(self, numbers: Sequence[int], blocks: Sequence[Sequence[int]]) -> None:
        self.left = dict.fromkeys(numbers)
        self.blocks = blocks  # that are fetched before
        self.shares = 0  # of the room
        self.lease: Lease | None = None
        self.begun = self.fetched = self.over = False


class ReadAhead:
    """Fetches the pieces with the numbers that are expected, in their order, and keeps them until they are leased.

    At most `max_bytes`, or one batch of 64, by `num_threads` threads. Whoever leases what has not been begun yet does
    not wait in line for it, but fetches it himself; errors are raised there alone: what fails ahead of time is tried
    once more when it is needed. `close` ends the threads, and so does the interpreter's exit; a forked child begins
    with nothing expected.

    `cache` gives this process's cache, and `pieces_of` the pieces with some numbers, without those that there are none
    for; both are called in the threads, which are begun when something is expected. `of_blocks` is the same for what is
    in blocks, if that is another.

    Callers take a lock for no longer than a few lines, and no Condition: see `Crew`.
    """

    def __init__(
        self,
        cache: Callable[[], RangeCache],
        pieces_of: PiecesOf,
        of_blocks: PiecesOf | None = None,
        max_bytes: int = 64 << 20,
        num_threads: int = 8,
    ) -> None:
        self._cache, self._pieces_of, self._of_blocks = cache, pieces_of, of_blocks or pieces_of
        self._shares = max(max_bytes // _SHARE, 1)
        self._num_threads = num_threads
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """Begins anew, in a forked child, to which neither threads nor leases came along."""
        self._turn = threading.Lock()
        self._queue: SimpleQueue[_Batch | None] = SimpleQueue()  # None: there will be no more
        self._admission = threading.Lock()  # of the thread whose batch is next
        self._room: SimpleQueue[None] = SimpleQueue()  # as many as shares are free
        for _ in range(self._shares):
            self._room.put(None)
        self._batch_of: dict[int, _Batch] = {}
        self._kept: dict[_Batch, None] = {}  # fetched and not yet leased by others, the oldest first
        self._threads: list[threading.Thread] = []
        self._defect: Exception | None = None
        self._closed = False

    def expect(self, numbers: Sequence[int], blocks: Sequence[Sequence[int]] = ()) -> None:
        """Says what will be leased next, after what was expected before. Does not wait.

        `blocks` of numbers are fetched before, each as a whole, and left in the cache as anything that was used.
        """
        with self._turn:
            if self._closed:
                return
            new = [number for number in dict.fromkeys(numbers) if number not in self._batch_of]
            for first in range(0, len(new), _AT_ONCE):
                batch = _Batch(new[first : first + _AT_ONCE], blocks if first == 0 else ())
                self._batch_of |= dict.fromkeys(batch.left, batch)
                self._queue.put(batch)
            if not self._threads:
                self._threads = [
                    threading.Thread(target=self._run, name=f"fastdata-ahead-{number}", daemon=True)
                    for number in range(self._num_threads)
                ]
                for thread in self._threads:
                    thread.start()

    def lease(self, pieces: Mapping[int, Piece]) -> Lease:
        """A lease on pieces by number, as `RangeCache.lease` gives it, whether they were expected or not."""
        with self._turn:
            defect, self._defect = self._defect, None  # said once: what was a passing fault is over, others come again
        if defect is not None:
            raise defect
        with self._turn:
            batches = {number: self._batch_of.pop(number) for number in pieces if number in self._batch_of}
            for number, batch in batches.items():
                del batch.left[number]
            expected = set(batches.values())
            overtaken = any(not batch.begun for batch in expected)
            forgotten = next(iter(self._kept), None) if overtaken else None
        held = [batch.lease for batch in expected if batch.lease is not None]
        try:
            return self._cache().lease(pieces.values(), held)
        finally:
            for batch in expected:
                if batch.lease is not None:  # which it may have been given just now
                    batch.lease.drop(pieces.values())
                self._settle(batch)
            if forgotten is not None:  # nobody may ever ask for it: it must not take the place of what is asked for
                self._give_up(forgotten)

    def clear(self) -> None:
        """Expects nothing any more of what nobody has asked for."""
        with self._turn:
            batches = set(self._batch_of.values())
        for batch in batches:
            self._give_up(batch)

    def close(self) -> None:
        """Ends the threads, each after the batch that it is at, and all leases that nobody took over."""
        with self._turn:
            self._closed = True
            threads, self._threads = self._threads, []
        self.clear()
        for _ in threads:
            self._queue.put(None)
        for _ in range(self._shares):
            self._room.put(None)
        for thread in threads:
            thread.join()

    def _run(self) -> None:
        interrupt_nobody()
        while (batch := self._queue.get()) is not None and not self._closed:
            try:
                self._fetch(batch)
            except Exception as error:  # noqa: BLE001 - raised where somebody leases
                forget_frames(error)  # they have this batch, and nobody may ever lease again
                self._defect = error
            self._settle(batch)
            del batch

    def _fetch(self, batch: _Batch) -> None:
        pieces: Mapping[int, Piece] = {}
        lease = None
        try:
            with suppress(OSError):  # whoever needs them tries again, and says which sample it was
                pieces = self._pieces_of(list(batch.left))
                self._wait_for_room(batch, sum(piece.size for piece in pieces.values()))
                with self._turn:
                    batch.begun = True
                    pieces = {number: piece for number, piece in pieces.items() if number in batch.left}
                self._fetch_blocks(batch.blocks)
                lease = self._cache().lease(pieces.values())
        finally:
            with self._turn:
                batch.lease, batch.fetched = lease, True
                taken = [piece for number, piece in pieces.items() if number not in batch.left]
                self._kept[batch] = None
            if lease is not None:
                lease.drop(taken)

    def _fetch_blocks(self, blocks: Sequence[Sequence[int]]) -> None:
        """Fetches them, some at a time: all of these are in memory at once."""
        for first in range(0, len(blocks), _BLOCKS_AT_ONCE):
            if self._closed:
                return
            numbers = [number for block in blocks[first : first + _BLOCKS_AT_ONCE] for number in block]
            self._cache().lease(self._of_blocks(numbers).values()).close()

    def _wait_for_room(self, batch: _Batch, size: int) -> None:
        """One thread after the other: two that had got half of what they need would wait for each other."""
        with self._admission:
            for _ in range(min(-(-size // _SHARE), self._shares)):
                self._room.get()
                batch.shares += 1

    def _settle(self, batch: _Batch) -> None:
        """Where nothing of a batch is kept any more, its room is free."""
        with self._turn:
            if batch.over or not batch.fetched or batch.left:
                return
            batch.over = True
            del self._kept[batch]
        for _ in range(batch.shares):
            self._room.put(None)

    def _give_up(self, batch: _Batch) -> None:
        with self._turn:
            for number in batch.left:
                del self._batch_of[number]
            batch.left.clear()
        if batch.lease is not None:
            batch.lease.close()
        self._settle(batch)


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
