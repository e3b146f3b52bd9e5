"""Which epoch comes next, and which was begun: what a process and the DataLoader workers that it starts agree on."""

from collections.abc import Callable
from multiprocessing import current_process
from typing import Any, NamedTuple

from fastdata.epoch.shared import Numbers, SharedNumbers, worker_info

# The shared numbers: the epoch and position that come next, and whether somebody has said so; those begun last (an
# epoch of -1: none); how often an epoch was said or a state loaded; and a ring of iterations that workers have begun,
# each as (base seed, number of its first process, how often such a worker has iterated, epoch, position).
_NEXT, _BEGUN, _TOLD, _COUNT, _RING = slice(0, 3), slice(3, 5), 5, 6, 7
_ENTRY, _ENTRIES = 5, 64

Worker = tuple[int, int, int]


class Start(NamedTuple):
    """Where an iteration starts, and whether somebody has said so."""

    epoch: int
    position: int
    said: bool


class SharedEpochs:
    """The start of the next iteration and that of the last one that was begun; a worker's copy has the same numbers."""

    def __init__(self) -> None:
        self._numbers = SharedNumbers([0, 0, 0, -1, 0, 0, 0] + [-1] * (_ENTRY * _ENTRIES))
        self._iterated: dict[tuple[int, int], int] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_iterated": {}}

    @property
    def next(self) -> Start:
        """Where the next iteration starts, as far as it was said or follows from the last one."""
        return _next_in(self._numbers.values)

    @property
    def begun(self) -> tuple[int, int] | None:
        """Epoch and position of the iteration that was begun last; None where an epoch was said or loaded since."""
        epoch, position = (int(number) for number in self._numbers.values[_BEGUN])
        return None if epoch < 0 else (epoch, position)

    def go_to(self, start: Start, keep_begun: bool) -> None:
        """Have the next iteration start there; what was begun is forgotten, unless it is kept."""
        with self._numbers.lock() as values:
            values[_NEXT] = start
            values[_TOLD] += 1
            if not keep_begun:
                values[_BEGUN] = (-1, 0)

    def begin(self, loaded: Start | None, settled: Callable[[Start], tuple[int, int]]) -> tuple[int, int]:
        """Epoch and position of an iteration that begins here: those at which a sibling of this worker has begun it.

        Where none has they are what `settled` makes of the start that was `loaded` in this worker, or that is next.
        """
        worker = self._worker()
        with self._numbers.lock() as values:
            found = None if worker is None else self._found(worker)
            if found is not None:
                return found
            before = None if loaded is not None else self._told_since_start(worker, values)
            epoch, position = settled(before or loaded or _next_in(values))
            if before is None:
                values[_NEXT], values[_BEGUN] = (epoch + 1, 0, 0), (epoch, position)
            if worker is not None:
                at = _RING + _ENTRY * (int(values[_COUNT]) % _ENTRIES)
                values[at : at + _ENTRY] = (*worker, epoch, position)
                values[_COUNT] += 1
            return epoch, position

    def _worker(self) -> Worker | None:
        """What the workers of one iteration of a DataLoader have in common, and those of no other; None elsewhere.

        Their base seed is random, unless somebody seeds torch in each epoch: so the number of the first worker's
        process, too. A persistent worker keeps both, and counts.
        """
        info = worker_info()
        if info is None:
            return None
        first = current_process()._identity[-1] - info.id
        worker = (info.seed - info.id, first)
        self._iterated[worker] = self._iterated.get(worker, 0) + 1
        return (*worker, self._iterated[worker])

    def _told_since_start(self, worker: Worker | None, values: Numbers) -> Start | None:
        """What came next when this worker was started, where another epoch was said before it got to run.

        That one is for the iteration after this, which was begun before.
        """
        start = self._numbers.at_start
        if worker is None or worker[2] > 1 or start is None or start[_TOLD] == values[_TOLD]:
            return None
        return _next_in(start)

    def _found(self, worker: Worker) -> tuple[int, int] | None:
        """Epoch and position of the iteration, where a sibling has begun it."""
        entries = self._numbers.values[_RING:].reshape(_ENTRIES, _ENTRY)
        rows = (entries[:, :3] == worker).all(axis=1).nonzero()[0]
        return (int(entries[rows[0], 3]), int(entries[rows[0], 4])) if rows.size else None


def _next_in(values: Numbers) -> Start:
    epoch, position, said = (int(number) for number in values[_NEXT])
    return Start(epoch, position, bool(said))
