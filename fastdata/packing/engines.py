"""Write shards in this process, or in several at once."""

import os
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread
from typing import Any

from fastdata.errors import PackError
from fastdata.packing.context import packing_context
from fastdata.packing.journal import finish_shard
from fastdata.packing.plan import PlannedShard
from fastdata.packing.signals import no_interrupts
from fastdata.packing.write import Progress, Written

_REPORT_EVERY = 0.1  # seconds


def write_shards(shards: Sequence[PlannedShard], jobs: int, progress: Progress | None = None) -> dict[Path, Written]:
    """Writes shards, each with its index and its note, in so many processes; their number does not change the bytes.

    Shards appear one by one, whole; those that are finished stay when another fails. Raises PackError for a file that
    can't be read or packed, or is not as large as planned, and for a shard that can't be written, ValueError for a key
    that shards can't have.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    jobs = min(jobs, len(shards))
    report = progress or _ignore
    if jobs <= 1:
        return {planned.path: finish_shard(planned, report) for planned in shards}
    return _write_in_processes(shards, jobs, report)


def _ignore(files: int, size: int) -> None:
    """Stands for a progress that nobody asked for."""


def _write_in_processes(shards: Sequence[PlannedShard], jobs: int, report: Progress) -> dict[Path, Written]:
    context = packing_context()
    tally = context.RawArray("q", 2 * len(shards) + 1)
    with ProcessPoolExecutor(jobs, context, _start_process, (tally,)) as pool:
        try:
            # The processes inherit that they don't hear of Ctrl-C: their parent hears of it too, and stops them all.
            with no_interrupts():
                futures = [pool.submit(_write_counted, number, planned) for number, planned in enumerate(shards)]
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
    return {planned.path: future.result() for planned, future in zip(shards, futures, strict=True)}


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


def _write_counted(number: int, planned: PlannedShard) -> Written:
    def count(files: int, size: int) -> None:
        if _tally[-1]:
            raise _StoppedError
        _tally[2 * number] += files
        _tally[2 * number + 1] += size

    return finish_shard(planned, count)
