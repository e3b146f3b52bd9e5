"""Read components from object stores: many requests are in flight, for what comes next, in bounded memory."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from fastdata.packing.origins.stored import Stored
from fastdata.packing.origins.usable import NO_COMPONENT, UNUSABLE, far_problem, size_problem
from fastdata.sources.stores.storage import Stat, storage_of

IN_FLIGHT = 32
AHEAD = 64 << 20
"""Bytes that are asked for, or have come and wait, at most; more only where a single component has more."""

_REQUEST = 4 << 20  # bytes of neighbours in one request
_GAP = 64 << 10  # bytes between neighbours that are asked for with them: another request takes longer


class _Run(NamedTuple):
    """Neighbours in one file, which come in one request: components (row, column), and `size` bytes from `start`."""

    which: int
    start: int
    size: int
    components: list[tuple[int, int]]


class _Pending(NamedTuple):
    """A run that was asked for."""

    run: _Run
    data: Future[memoryview]


class Ahead:
    """Reads samples in their order; a `Reader`. What was asked for and is left out is forgotten."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._runs = _runs_of(stored)
        self._pool = ThreadPoolExecutor(IN_FLIGHT, "fastdata-packing")
        self._pending: deque[_Pending] = deque()
        self._of: dict[tuple[int, int], _Pending] = {}
        self._bytes = 0

    def read(self, row: int, column: int) -> bytes:
        stored, at = self._stored, (row, column)
        if stored.sizes[at] == UNUSABLE:
            raise stored.unusable(row, column, self._why(row, column))
        while self._pending and self._pending[0].run.components[-1][0] < row:
            self._forget_first()
        while at not in self._of or (len(self._pending) < IN_FLIGHT and self._bytes < AHEAD):
            if not self._ask_for_next():
                break
        run, data = self._of[at]
        try:
            begin = int(stored.offsets[at]) - run.start
            return bytes(data.result()[begin : begin + int(stored.sizes[at])])
        except OSError as error:
            raise stored.unusable(row, column, far_problem(stored.files[run.which], error)) from error

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _ask_for_next(self) -> bool:
        run = next(self._runs, None)
        if run is None:
            return False
        pending = _Pending(run, self._pool.submit(self._fetch, run))
        self._pending.append(pending)
        self._of |= dict.fromkeys(run.components, pending)
        self._bytes += run.size
        return True

    def _forget_first(self) -> None:
        run, data = self._pending.popleft()
        data.cancel()
        self._bytes -= run.size
        for at in run.components:
            del self._of[at]

    def _fetch(self, run: _Run) -> memoryview:
        url, etag = self._stored.files[run.which], self._stored.versions[run.which] or None
        storage = storage_of(url)
        if run.start == 0:  # a file of its own: in shards a header comes first
            return storage.get(url, Stat(run.size, etag))
        [data] = storage.get_ranges(url, [(run.start, run.size)], etag)
        return data

    def _why(self, row: int, column: int) -> str:
        """Why it was found, when samples were collected, that a component can't be packed."""
        url = self._stored.files[int(self._stored.which[row, column])]
        if self._stored.offsets[row, column]:  # in shards a header comes first
            return NO_COMPONENT
        try:
            size = storage_of(url).size(url)
        except OSError as error:
            return far_problem(url, error)
        return size_problem(size, image=column == 0) or "changed while it was packed: it could not be packed before"


def _runs_of(stored: Stored) -> Iterator[_Run]:
    """All components by sample, of each as they lie, neighbours together."""
    rows, columns = np.nonzero(stored.sizes >= 0)
    order = np.lexsort((stored.offsets[rows, columns], rows))
    rows, columns = rows[order], columns[order]
    parts = zip(rows.tolist(), columns.tolist(), stored.which[rows, columns].tolist(), strict=True)
    spans = zip(stored.offsets[rows, columns].tolist(), stored.sizes[rows, columns].tolist(), strict=True)
    run: _Run | None = None
    for (row, column, which), (offset, size) in zip(parts, spans, strict=True):
        end = offset + size
        if run is not None:
            near = run.which == which and run.start + run.size <= offset <= run.start + run.size + _GAP
            if near and end - run.start <= _REQUEST:
                run.components.append((row, column))
                run = run._replace(size=end - run.start)
                continue
            yield run
        run = _Run(which, offset, size, [(row, column)])
    if run is not None:
        yield run
