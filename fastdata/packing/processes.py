"""Write shards in several processes of this machine at once."""

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process, resource_tracker
from threading import Thread, current_thread, main_thread
from typing import Any

from fastdata.errors import PackError
from fastdata.packing.task import write_task
from fastdata.packing.write import Progress, Written

_REPORT_EVERY = 0.1  # seconds


def write_in_processes(where: str, numbers: Sequence[int], jobs: int, report: Progress) -> list[Written]:
    """Writes these shards of the table at a path or a URL; raises as `engines.write_shards`."""
    context = get_context("spawn")  # a fork would copy whatever threads and locks the caller has
    tally = context.RawArray("q", 2 * len(numbers) + 1)
    with ProcessPoolExecutor(jobs, context, _start_process, (tally,)) as pool:
        try:
            # The processes inherit that they don't hear of Ctrl-C: their parent hears of it too, and stops them all.
            with _no_interrupts():
                futures = [pool.submit(_write_counted, *task, where) for task in enumerate(numbers)]
            _wait(futures, tally, report)
        except BaseException as error:
            tally[-1] = True
            pool.shutdown(cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise PackError(
                    "a packing process died, for lack of memory perhaps: try with fewer jobs; in a script, pack below "
                    "`if __name__ == '__main__':`, since each process begins by running the script"
                ) from error
            raise
    return [future.result() for future in futures]


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Makes Ctrl-C and SIGTERM wait: a process whose parent stops while it starts would print a long traceback."""
    resource_tracker.ensure_running()  # now, since its start would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    caught: list[int] = []
    # Processes inherit the mask, but here it holds for this thread only, and another thread may get the signal.
    numbers = (signal.SIGINT, signal.SIGTERM) if current_thread() is main_thread() else ()
    handlers = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda number, frame: caught.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for signum in caught:
        signal.raise_signal(signum)


def _wait(futures: Sequence[Future[Written]], tally: Any, report: Progress) -> None:
    """Waits until all are done, and reports what they read; raises what the first one to fail raised."""
    waiting, files, size = set(futures), 0, 0
    while waiting:
        done, waiting = wait(waiting, _REPORT_EVERY, FIRST_EXCEPTION)
        files_before, size_before = files, size
        files, size = sum(tally[:-1:2]), sum(tally[1:-1:2])
        report(files - files_before, size - size_before)
        for future in done:
            future.result()


# In a packing process: for each shard how many files and bytes were read, and last whether all should stop. Each
# number has one writer, so there is no lock that a killed process could keep.
_tally: Any = None


def _start_process(tally: Any) -> None:
    global _tally
    _tally = tally
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when its parent has ended, which a parent that is killed can't tell."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _StoppedError(Exception):
    """Another process has failed, so this one's work is of no use."""


def _write_counted(place: int, number: int, where: str) -> Written:
    """Writes the table's shard of this number, and counts in the tally at this place."""

    def count(files: int, size: int) -> None:
        if _tally[-1]:
            raise _StoppedError
        _tally[2 * place] += files
        _tally[2 * place + 1] += size

    return write_task(where, number, count)
