"""Write shards in several processes of this machine at once."""

import os
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from threading import Thread
from typing import Any

from fastdata.errors import PackError
from fastdata.packing.task import write_task
from fastdata.packing.workers.context import packing_context
from fastdata.packing.workers.signals import no_interrupts
from fastdata.packing.write import Progress, Written

_REPORT_EVERY = 0.1  # seconds


def write_in_processes(where: str, numbers: Sequence[int], jobs: int, report: Progress) -> list[Written]:
    """Writes these shards of the table at a path or a URL; raises as `engines.write_shards`."""
    context = packing_context()
    tally = context.RawArray("q", 2 * len(numbers) + 1)
    with ProcessPoolExecutor(jobs, context, _start_process, (tally,)) as pool:
        try:
            # The processes inherit that they don't hear of Ctrl-C: their parent hears of it too, and stops them all.
            with no_interrupts():
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
