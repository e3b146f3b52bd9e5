"""One iteration of a Loader, which owns its threads, clocks and counters; the Loader says only what is wanted."""

import atexit
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

from torch import Tensor

from fastdata.epoch.run import Run
from fastdata.loading.batch_job import LoadingJob, Setup
from fastdata.loading.batch_transform import BatchTransform, batch_seed, transformed
from fastdata.loading.crew import CLOSED
from fastdata.loading.layout import image_by_image
from fastdata.loading.skipping import SkipBudget, Skipped
from fastdata.loading.stats import Stage, Stats
from fastdata.sample import Batch


class BatchCrew(Protocol):
    """Makes batches and gives them out finished and in order: the CPU's threads, or those with DALI behind them."""

    @property
    def threads_waited_ns(self) -> int: ...

    @property
    def caller_waited_ns(self) -> int: ...

    def start(self) -> Self: ...

    def __iter__(self) -> Iterator[LoadingJob]: ...

    def __next__(self) -> LoadingJob: ...

    def close(self) -> None: ...


class Iteration:
    """A run of the epoch by a crew."""

    def __init__(
        self,
        run: Run,
        setup: Setup,
        crew: Callable[[], BatchCrew],
        num_threads: int,
        budget: SkipBudget,
    ) -> None:
        self.run = run
        self._setup = setup
        self._new_crew = crew
        self._num_threads = num_threads
        self.budget = budget
        self._crew: BatchCrew | None = None
        self._closed = self._is_over = False
        self._images = self._delivered = 0
        self._begun = self._ended = 0.0

    def batches(
        self,
        normalize: Callable[[Tensor], Any] | None,
        batch_transform: BatchTransform | None,
        skipped: list[Skipped],
    ) -> Iterator[Batch]:
        """The batches in order, through `normalize` and `batch_transform`; bad samples are added to `skipped`.

        All threads are begun and ended in here, so an iteration that is never asked for a batch leaves none behind.
        """
        if self._closed:
            raise RuntimeError(CLOSED)
        crew = self._crew = self._new_crew()
        _begun.add(self)
        self._begun = time.perf_counter()
        try:
            for job in crew.start():
                bad = [Skipped.of(job.errors[row]) for row in sorted(job.errors)]
                skipped += bad
                self.budget.spend(len(bad))
                batch = job.batch()
                if normalize is not None:
                    batch = batch._replace(images=image_by_image(normalize, batch.images))
                if batch_transform is not None:
                    seed = batch_seed(self.run, self._delivered, self._setup.dataset.seed)
                    batch = transformed(batch_transform, batch, seed, self._setup.device)
                self._images += job.rows
                self._delivered += 1
                del job
                yield batch
                del batch  # so that the memory is the caller's alone
            self.budget.settle()
        finally:
            self.close()

    @property
    def runs(self) -> bool:
        """Whether it was begun, or may be, and was neither finished nor closed."""
        return not self._closed

    @property
    def steps(self) -> int:
        """How many of the run's steps were handed out as batches."""
        return min(self._delivered, self.run.plan.steps(0))

    def stats(self) -> Stats:
        """Where the time went so far."""
        crew = self._crew
        seconds = ((self._ended or time.perf_counter()) - self._begun) if self._begun else 0.0
        stages = [self._setup.times.seconds(stage) for stage in Stage]
        waits = [crew.threads_waited_ns / 1e9, crew.caller_waited_ns / 1e9] if crew else [0.0, 0.0]
        return Stats(self._images, seconds, self._num_threads, *stages, *waits)

    def close(self) -> None:
        """End its threads."""
        self._closed = True
        if self._is_over:  # and, where the interpreter ends, even the module `time` is gone
            return
        self._ended = self._ended or time.perf_counter()
        if self._crew is not None:
            self._setup.dataset.expect_nothing()  # first, so that no thread waits for what comes ahead
            self._crew.close()
            self._setup.memory.let_go()
        self._is_over = True  # not before: a Ctrl-C above leaves threads that are to be ended


_begun: "weakref.WeakSet[Iteration]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A thread that is inside libjpeg or torch when the interpreter goes away would crash it."""
    for iteration in list(_begun):
        iteration.close()
