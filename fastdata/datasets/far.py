"""Samples whose shards lie elsewhere: their bytes are in the node's cache while they are read, and before."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.places import Place, Places
from fastdata.epoch.cursor import Run
from fastdata.epoch.order import Ids, Picks
from fastdata.epoch.orders import OneEpoch
from fastdata.epoch.window import WindowEpoch
from fastdata.sources.listing import Listing
from fastdata.sources.node_cache import Cache, range_cache
from fastdata.sources.read_ahead import NONE_BESIDE, Beside, ReadAhead
from fastdata.sources.regular import MAX_BYTES
from fastdata.sources.sparse import Piece

_SAMPLES_AHEAD = 1024  # that are expected before their batch is begun: at 4,000 a second a quarter of one


class FarSamples:
    """Of a listing's samples those that are read by range, by their numbers in it. Others are on disk already."""

    def __init__(self, listing: Listing, places: Places, cache: Cache) -> None:
        self._listing, self._places, self._cache = listing, places, cache
        self._ahead: ReadAhead | None = None

    def __reduce__(self) -> tuple[type["FarSamples"], tuple[object, ...]]:
        return FarSamples, (self._listing, self._places, self._cache)

    @contextmanager
    def there(self, places: Mapping[int, Place]) -> Iterator[Mapping[int, OSError]]:
        """Keeps the samples at these places on disk in its block, and gives what is wrong with those that can't be had.

        OSError where the machine fails.
        """
        pieces = self._pieces(places)
        ahead = self._ahead
        with range_cache(self._cache).lease(pieces.values()) if ahead is None else ahead.lease(pieces) as lease:
            yield {number: lease.errors[piece] for number, piece in pieces.items() if piece in lease.errors}

    @contextmanager
    def one_there(self, number: int) -> Iterator[None]:
        """The same of one sample. OSError where it can't be had."""
        with self.there(self._placed([number])) as errors:
            for error in errors.values():
                raise error
            yield

    def expect(self, numbers: Sequence[int], beside: Beside = NONE_BESIDE) -> None:
        """Says which samples are read next, and with which neighbours some of them are fetched; does not wait."""
        if self._ahead is None:
            self._ahead = ReadAhead(partial(range_cache, self._cache), lambda some: self._pieces(self._placed(some)))
        self._ahead.expect(numbers, beside if self._cache.limit != 0 else NONE_BESIDE)  # else none would be kept

    def expect_nothing(self) -> None:
        """Ends reading ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()

    def _placed(self, numbers: Sequence[int]) -> dict[int, Place]:
        return dict(zip(numbers, self._places.some(np.array(numbers, np.int64)), strict=True))

    def _pieces(self, places: Mapping[int, Place]) -> dict[int, Piece]:
        """The pieces of those samples that are read by range.

        Not of one that by its row lies outside of its shard: whoever reads it says so.
        """
        pieces = {}
        for number, (position, _, entry) in places.items():
            file = self._listing.remote_file(position)
            if file is None or entry is None:
                continue
            start, (end, hashed) = entry[1], entry[-2:]
            if 0 <= start < end <= file.size and end - start <= MAX_BYTES:
                pieces[number] = Piece(file, start, end - start, hashed)
        return pieces


def expected(dataset: ImageDataset, run: Run, made: int = 0) -> Iterator[Picks]:
    """The batches of a run behind those that are made, after the dataset was told of the samples in them and in some
    that follow, if that is of use.

    Whoever is done with the batches calls `dataset.expect_nothing()`.
    """
    batches = run.batches(made)
    return _expected(dataset, run.order, batches) if dataset.is_far else batches


def _expected(dataset: ImageDataset, order: OneEpoch, batches: Iterator[Picks]) -> Iterator[Picks]:
    waiting: deque[Picks] = deque()
    samples = 0
    begun: set[int] = set()
    for picks in batches:
        dataset.expect(picks.numbers.tolist(), _new_blocks(order, picks.numbers, begun))
        waiting.append(picks)
        samples += len(picks.numbers)
        while samples - len(waiting[0].numbers) >= _SAMPLES_AHEAD:
            samples -= len(waiting[0].numbers)
            yield waiting.popleft()
    yield from waiting


def _new_blocks(order: OneEpoch, numbers: Ids, begun: set[int]) -> Beside:
    """Of samples by block the first one of each block that was not begun before, with all of that block.

    So a block is fetched whole, by one request, where it is needed first, and once: where the cache could not keep it,
    its other samples are fetched one by one.
    """
    if not isinstance(order, WindowEpoch):
        return NONE_BESIDE
    found: dict[int, Sequence[int]] = {}
    for number, begin, end in zip(numbers.tolist(), *(each.tolist() for each in order.blocks_of(numbers)), strict=True):
        if begin not in begun:
            begun.add(begin)
            found[number] = range(begin, end)
    return found
