"""Threads that fill batches row by row, handed out in order: who works when, and nothing of what the work is."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Generic, Protocol, Self, TypeVar

from fastdata.errors import forget_frames


class Job(Protocol):
    """A batch to fill: calls of `fill` for each of its `rows`, at least one, from any threads, then one of `finish`."""

    @property
    def rows(self) -> int: ...

    def fill(self, rows: range) -> None: ...

    def finish(self) -> None: ...


J = TypeVar("J", bound=Job)

CLOSED = (
    "this iteration was closed: iterate over the Loader again; it has one iteration at a time, which the next one, or "
    "close(), ends"
)
"""What an error says of an iteration that is asked for more."""

_ROWS_AT_ONCE = 16


class _UnderWay(Generic[J]):
    def __init__(self, job: J) -> None:
        self.job = job
        self.left = job.rows
        self.error: Exception | None = None
        self.done = False


class Crew(Generic[J]):
    """`num_threads` threads work on the given jobs; iterating, once started, gives them back finished and in order.

    At most `prefetch` jobs are begun and not yet handed out. An exception in a job is raised where that job would
    have been handed out, one of `jobs` itself where the job would have been begun; and RuntimeError where a thread was
    ended by something that is no job's, or SystemExit, before more jobs are waited for. `close` ends all threads; the
    end of the jobs and the interpreter's exit do so, too. When they have ended, `close` calls `on_close`.

    The caller's thread takes no lock, it only uses SimpleQueues: Ctrl-C can raise in the middle of taking a Lock or a
    Condition in Python, which then stays taken, and everybody waits for ever.
    """

    def __init__(
        self, jobs: Iterator[J], num_threads: int, prefetch: int, on_close: Callable[[], object] | None = None
    ) -> None:
        self._jobs = jobs
        self._on_close = on_close
        self._prefetch = prefetch
        self._under_way: deque[_UnderWay[J]] = deque()  # only the caller's thread touches it
        self._tasks: SimpleQueue[tuple[_UnderWay[J], range] | None] = SimpleQueue()  # None: there will be no more
        self._news: SimpleQueue[None] = SimpleQueue()  # a job is done, or all is closed
        self._closed = False
        self._lost: BaseException | None = None  # what has ended a thread between its tasks, or with one that it had
        self._pid = os.getpid()
        self._lock = threading.Lock()  # of the threads, for the jobs' counts
        self._waited_ns = [0] * num_threads
        self.caller_waited_ns = 0
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"fastdata-{number}", daemon=True)
            for number in range(num_threads)
        ]

    @property
    def threads_waited_ns(self) -> int:
        """Nanoseconds that threads had nothing to do, since `prefetch` jobs were under way; over all threads."""
        return sum(self._waited_ns)

    def start(self) -> Self:
        """Begin the first jobs and the threads; to be called once, where `close` will follow whatever happens."""
        for _ in range(self._prefetch):
            self._begin_next()
        for thread in self._threads:
            thread.start()
        return self

    def __iter__(self) -> Iterator[J]:
        return self

    def __next__(self) -> J:
        if os.getpid() != self._pid:
            raise RuntimeError("this iteration belongs to the process before the fork: iterate over the Loader again")
        while not (self._under_way and self._under_way[0].done):
            if self._closed:
                raise RuntimeError(CLOSED)
            if not self._under_way:
                raise StopIteration
            if self._lost is not None:
                what = f"{type(self._lost).__name__} {self._lost}".strip()
                raise RuntimeError(f"a thread that fills batches was ended by {what}: iterate again") from self._lost
            begun = time.perf_counter_ns()
            self._news.get()
            self.caller_waited_ns += time.perf_counter_ns() - begun
        first = self._under_way.popleft()
        self._begin_next()
        error, first.error = first.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # It holds this frame, and those in which the job was at work, and so the job's memory.
        return first.job

    def close(self) -> None:
        """End all threads, each after the rows that it is at."""
        self._closed = True
        if os.getpid() != self._pid:  # the threads did not come along through a fork
            return
        self._tell_threads_to_end()
        self._news.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        for batch in self._under_way:
            batch.error = None  # as above
        self._under_way.clear()
        self._tasks = SimpleQueue()
        if self._on_close is not None:
            self._on_close()

    def _begin_next(self) -> None:
        job = next(self._jobs, None)
        if job is None:
            self._tell_threads_to_end()
            return
        batch = _UnderWay(job)
        self._under_way.append(batch)
        # A thread gets several rows where all threads still get several tasks from the jobs under way.
        at_once = max(1, min(_ROWS_AT_ONCE, job.rows * self._prefetch // (4 * len(self._threads))))
        for first in range(0, job.rows, at_once):
            self._tasks.put((batch, range(first, min(first + at_once, job.rows))))

    def _tell_threads_to_end(self) -> None:
        for _ in self._threads:
            self._tasks.put(None)

    def _run(self, number: int) -> None:
        try:
            while self._work(self._next_task(number)):
                pass  # nothing of the last job is kept here while there is nothing to do
        except BaseException as error:  # noqa: BLE001 - no job's: the caller's thread says so, which would wait for ever
            forget_frames(error)
            self._lost = error
            self._news.put(None)

    def _next_task(self, number: int) -> tuple[_UnderWay[J], range] | None:
        if self._closed:  # before this thread had begun
            return None
        begun = time.perf_counter_ns()
        task = self._tasks.get()
        self._waited_ns[number] += time.perf_counter_ns() - begun
        return None if self._closed else task

    def _work(self, task: tuple[_UnderWay[J], range] | None) -> bool:
        """Fill some rows, and finish the job if they were the last. False where there is no task."""
        if task is None:
            return False
        batch, rows = task
        try:
            batch.job.fill(rows)
        except Exception as error:  # noqa: BLE001 - the caller's thread raises it
            batch.error = batch.error or error
        with self._lock:
            batch.left -= len(rows)
            last = batch.left == 0
        if last:
            self._finish(batch)
        return True

    def _finish(self, batch: _UnderWay[J]) -> None:
        try:
            if batch.error is None:
                batch.job.finish()
        except Exception as error:  # noqa: BLE001 - the caller's thread raises it
            batch.error = error
        batch.done = True
        self._news.put(None)
