"""Have shards written: here, in processes of this machine, or by a cluster that is there."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, assert_never, runtime_checkable

from fastdata.cpus import available_cpus
from fastdata.packing.journal import finish_shard
from fastdata.packing.table import PackTable
from fastdata.packing.table_file import store_table
from fastdata.packing.task import write_task
from fastdata.packing.workers.dask_engine import dask_executor
from fastdata.packing.workers.processes import write_in_processes
from fastdata.packing.workers.ray_engine import ray_executor
from fastdata.packing.write import Progress, Written

T = TypeVar("T")


@runtime_checkable
class Executor(Protocol):
    """What runs calls, here or elsewhere, and again elsewhere where a worker is lost: as `concurrent.futures.Executor`.

    Whoever runs them sees the folder of the shards, and the source, by the same paths.
    """

    def submit(self, function: Callable[..., T], /, *arguments: object) -> Future[T]:
        """The future of the call's result."""
        ...


@dataclass(frozen=True)
class Processes:
    """So many processes of this machine, a CPU each by default; with one, all is written in this process."""

    jobs: int | None = None

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"jobs must be at least 1, not {self.jobs}")


@dataclass(frozen=True)
class Dask:
    """A Dask cluster, by its scheduler's address, or the one that Dask's configuration names, or else a local one."""

    address: str | None = None


@dataclass(frozen=True)
class Ray:
    """A Ray cluster, by its address ("auto": that of this machine), or one that RAY_ADDRESS names, or a local one."""

    address: str | None = None


Engine = Processes | Dask | Ray | Executor


def write_shards(
    table: PackTable,
    numbers: Sequence[int],
    engine: Engine,
    progress: Progress | None = None,
    *,
    where: str | None = None,
) -> dict[int, Written]:
    """Writes these of the table's shards, each with its index and its note; the engine does not change the bytes.

    They come to the table's folder, or, if its file is at a URL, which is `where`, to that.

    Shards appear one by one, whole; those that are finished stay when another fails. Raises PackError for a file that
    can't be read or packed, or is not as large as planned, for a shard that can't be written, and for workers that die
    again and again; ValueError for a key that shards can't have; ImportError for an engine that is not installed.
    """
    report = progress or _ignore
    match engine:
        case _ if not numbers:
            return {}
        case Processes(jobs):
            jobs = min(jobs or available_cpus(), len(numbers))
            if jobs == 1 and where is None:
                return {number: finish_shard(table.shard(number), report) for number in numbers}
            where = where or os.fspath(store_table(table))
            if jobs == 1:
                return {number: write_task(where, number, report) for number in numbers}
            return dict(zip(numbers, write_in_processes(where, numbers, jobs, report), strict=True))
        case Dask(address):
            begin: Callable[[], AbstractContextManager[Executor]] = partial(dask_executor, address)
        case Ray(address):
            begin = partial(ray_executor, address)
        case Executor():
            begin = partial(_given, engine)
        case _:
            assert_never(engine)
    return _write_elsewhere(where or os.fspath(store_table(table)), numbers, begin, report)


def _ignore(files: int, size: int) -> None:
    """Stands for a progress that nobody asked for."""


@contextmanager
def _given(executor: Executor) -> Iterator[Executor]:
    """An executor of the caller's, who also ends it."""
    yield executor


def _write_elsewhere(
    where: str,
    numbers: Sequence[int],
    begin: Callable[[], AbstractContextManager[Executor]],
    report: Progress,
) -> dict[int, Written]:
    written: dict[int, Written] = {}
    with begin() as executor:
        futures = {executor.submit(write_shard_of, where, number): number for number in numbers}
        try:
            for future in as_completed(futures):
                number = futures[future]
                made = written[number] = future.result()
                report(made.entry.nsamples + len(made.rejected), made.source_bytes)
        except BaseException:
            wait([future for future in futures if not future.cancel()])  # else they would write into the next run
            raise
    return written


def write_shard_of(where: str, number: int) -> Written:
    """The task of an engine: writes the shard of that number of the table at a path or a URL."""
    return write_task(where, number, _ignore)
