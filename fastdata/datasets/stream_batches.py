"""One iteration's batches of a stream, and which of its samples are kept."""

from collections import deque
from collections.abc import Generator, MutableMapping
from inspect import GEN_RUNNING, getgeneratorstate
from itertools import islice
from typing import Self

import numpy as np

from fastdata.epoch.order import Picks
from fastdata.sources.streams import StreamedSample


class StreamBatches:
    """Batches of numbered samples as they come; those of the last `kept` batches are in `arrived`.

    So they are when no more come, since threads may still be at work on them, until `close`, which also ends the
    stream. Iterations share `arrived`: each takes out of it only what it has put there.
    """

    def __init__(
        self,
        samples: Generator[tuple[int, StreamedSample]],
        arrived: MutableMapping[int, StreamedSample],
        epoch: int,
        batch_size: int,
        kept: int,
    ) -> None:
        self._samples, self._arrived = samples, arrived
        self._epoch, self._batch_size, self._kept = epoch, batch_size, kept
        self._here: deque[list[int]] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Picks:
        batch = dict(islice(self._samples, self._batch_size))
        if not batch:
            raise StopIteration
        if len(self._here) == self._kept:
            self._forget_first()
        self._here.append(list(batch))
        self._arrived.update(batch)
        return Picks(np.array(self._here[-1], np.int64), self._epoch)

    def close(self) -> None:
        """Ends the stream, with its command, and forgets what has come of it."""
        if getgeneratorstate(self._samples) != GEN_RUNNING:  # as it is where a signal's handler closes it
            self._samples.close()
        while self._here:
            self._forget_first()

    def _forget_first(self) -> None:
        for number in self._here.popleft():
            del self._arrived[number]
