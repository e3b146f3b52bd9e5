"""Samples whose shards lie elsewhere: their bytes are in the node's cache while they are read, and before."""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import NamedTuple

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.places import Place, Places
from fastdata.epoch.order import Picks
from fastdata.epoch.run import Run
from fastdata.epoch.window import WindowEpoch
from fastdata.sources.faults import patiently
from fastdata.sources.listing import Listing
from fastdata.sources.node.node_cache import Cache, range_cache
from fastdata.sources.node.range_cache import RangeCache
from fastdata.sources.node.read_ahead import ReadAhead
from fastdata.sources.node.sparse import Piece
from fastdata.sources.regular import MAX_BYTES

_SAMPLES_AHEAD = 1024  # that are expected before their batch is begun: at 4,000 a second a quarter of one

_BLOCKS = 1 << 16  # of which it is kept that they were fetched: more than are ever open
_EXPECTED = 1 << 16  # samples of which it is kept where they lie
_FILES = 4096  # of which it is kept that they are remote: telling it takes as long as a tenth of a fetch


class Placed(NamedTuple):
    """Where a sample lies, and its piece if it is read by range."""

    place: Place
    piece: Piece | None


class FarSamples:
    """Of the samples at some places those that are read by range, by number. Others are on disk already."""

    def __init__(self, listing: Listing, places: Places, cache: Cache) -> None:
        self._listing, self._places, self._cache = listing, places, cache
        self._ahead: ReadAhead | None = None
        self._file = lru_cache(_FILES)(listing.remote_file)
        self._open: tuple[int, RangeCache] | None = None  # and the process that opened it
        self._found: dict[int, Placed] = {}  # of samples that are expected

    def __reduce__(self) -> tuple[type["FarSamples"], tuple[object, ...]]:
        return FarSamples, (self._listing, self._places, self._cache)

    def placed(self, numbers: Sequence[int]) -> dict[int, Placed]:
        """Where samples lie, by number. OSError where a dataset's index can't be read."""
        found = {number: self._found.pop(number, None) for number in numbers}
        known = {number: placed for number, placed in found.items() if placed is not None}
        return known | self._look_up([number for number, placed in found.items() if placed is None])

    @contextmanager
    def there(self, placed: Mapping[int, Placed]) -> Iterator[Mapping[int, OSError]]:
        """Keeps these samples on disk in its block, and gives what is wrong with those that can't be had.

        OSError where the machine fails.
        """
        pieces = {number: piece for number, (_, piece) in placed.items() if piece is not None}
        ahead = self._ahead
        with self._opened().lease(pieces.values()) if ahead is None else ahead.lease(pieces) as lease:
            yield {number: lease.errors[piece] for number, piece in pieces.items() if piece in lease.errors}

    @contextmanager
    def one_there(self, number: int) -> Iterator[None]:
        """The same of one sample. OSError where it can't be had."""
        with self.there(self.placed([number])) as errors:
            for error in errors.values():
                raise error
            yield

    @contextmanager
    def together(self, numbers: Sequence[int]) -> Iterator[None]:
        """Keeps these samples on disk in its block, which reads some of them at a time: all come in one go.

        What can't be had is tried once more where it is read, and is an error there. OSError where the machine fails.
        """
        placed = patiently(partial(self._look_up, numbers))
        self._found |= placed
        with self.there(placed):
            yield

    @property
    def room(self) -> int:
        """Bytes that the cache keeps at most."""
        return self._opened().limit

    def expect(self, numbers: Sequence[int], blocks: Sequence[Sequence[int]] = ()) -> None:
        """Says which samples are read next, and which blocks are fetched whole before; does not wait."""
        if self._ahead is None:
            self._ahead = ReadAhead(self._opened, self._pieces_ahead, self._pieces_of)
        self._ahead.expect(numbers, blocks)

    def expect_nothing(self) -> None:
        """Ends reading ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()
            self._found.clear()

    def _opened(self) -> RangeCache:
        """The cache as this process has it open; it is not looked for each time, which takes 50 µs."""
        if self._open is None or self._open[0] != os.getpid():
            self._open = os.getpid(), range_cache(self._cache)
        return self._open[1]

    def _pieces_ahead(self, numbers: Sequence[int]) -> dict[int, Piece]:
        """The pieces of samples that are expected, of which is kept where they lie, as a rule until they are read."""
        placed = self._look_up(numbers)
        if len(self._found) > _EXPECTED:
            self._found.clear()  # they were expected, and nobody asked for them
        self._found |= placed
        return {number: piece for number, (_, piece) in placed.items() if piece is not None}

    def _pieces_of(self, numbers: Sequence[int]) -> dict[int, Piece]:
        placed = self._look_up(numbers)
        return {number: piece for number, (_, piece) in placed.items() if piece is not None}

    def _look_up(self, numbers: Sequence[int]) -> dict[int, Placed]:
        places = self._places.some(numbers)
        return {number: Placed(place, self._piece(place)) for number, place in zip(numbers, places, strict=True)}

    def _piece(self, place: Place) -> Piece | None:
        """The sample's piece if it is read by range, and does not by its row lie outside of its shard, which whoever
        reads it says."""
        file, entry = self._file(place.position), place.entry
        if file is None or entry is None:
            return None
        start, (end, hashed) = entry[1], entry[-2:]
        is_within = 0 <= start < end <= file.size and end - start <= MAX_BYTES
        return Piece(file, start, end - start, hashed) if is_within else None


def expected(dataset: ImageDataset, run: Run, made: int = 0) -> Iterator[Picks]:
    """The batches of a run behind those that are made, after the dataset was told of the samples in them and in some
    that follow, if that is of use; and of blocks of neighbours, if the order is one by blocks.

    Whoever is done with the batches calls `dataset.expect_nothing()`.
    """
    batches = run.batches(made)
    return _expected(dataset, batches, _by_blocks(dataset, run)) if dataset.is_far else batches


def _by_blocks(dataset: ImageDataset, run: Run) -> WindowEpoch | None:
    """The order, if blocks are fetched whole: there is room for them, and no other node would fetch the same ones."""
    if not isinstance(run.order, WindowEpoch) or not dataset.has_room(run.order.open_samples):
        return None
    ranks = run.plan.world_size
    on_this_node = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    own_streams = run.order.orders.window.global_batch % (run.plan.batch_size * ranks) == 0
    return run.order if own_streams or on_this_node == ranks else None


def _expected(dataset: ImageDataset, batches: Iterator[Picks], by_blocks: WindowEpoch | None) -> Iterator[Picks]:
    waiting: deque[Picks] = deque()
    samples = 0
    begun: dict[int, None] = {}
    for picks in batches:
        blocks = [] if by_blocks is None else _new_blocks(by_blocks, picks, begun)
        dataset.expect(picks.numbers.tolist(), blocks)
        waiting.append(picks)
        samples += len(picks.numbers)
        while samples - len(waiting[0].numbers) >= _SAMPLES_AHEAD:
            samples -= len(waiting[0].numbers)
            yield waiting.popleft()
    yield from waiting


def _new_blocks(order: WindowEpoch, picks: Picks, begun: dict[int, None]) -> list[range]:
    """The blocks of samples of which none has come before; the first ones of those that have are added to `begun`."""
    found = {begin: end for begin, end in order.blocks(picks.numbers).tolist() if begin not in begun}
    begun |= dict.fromkeys(found)
    while len(begun) > _BLOCKS:
        del begun[next(iter(begun))]
    return [range(begin, end) for begin, end in found.items()]
