"""DALI as the decoder: bytes and views are the dataset's, so order, crops and flips are those of the CPU decoder.

The crew's threads read, draw and cut; batches of encoded images and of their boxes then enter a pipeline of two
operators: `decoders.image_slice` decodes a view's box, `resize` makes its window of that, mirrored where the view is.
What DALI might decode otherwise goes through the CPU decoder.
"""

import ctypes
import os
import time
import warnings
import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from fastdata.epoch.order import Picks
from fastdata.loading.batch_job import BatchJob, LoadingJob, Setup
from fastdata.loading.crew import CLOSED, Crew
from fastdata.loading.dali.job import DaliJob
from fastdata.loading.dali.options import Dali
from fastdata.loading.dali.pipeline import end_pipeline, new_pipeline
from fastdata.loading.stats import Stage


class _Feed:
    """Where a pipeline gets its batches from, and which of them it has not given back yet."""

    def __init__(self, jobs: Iterator[DaliJob]) -> None:
        self.under_way: deque[DaliJob] = deque()
        self.error: Exception | None = None  # of the jobs, after the last of them
        self._jobs = jobs
        self._ready: deque[DaliJob] = deque()
        self._ended = False

    def have_ready(self, count: int) -> None:
        """Wait for the next `count` batches. Not left to `__call__`: an error would hold on to DALI's frames."""
        while len(self._ready) < count and not self._ended:
            try:
                self._ready.append(next(self._jobs))
            except StopIteration:
                self._ended = True
            except Exception as error:  # noqa: BLE001 - raised when it is its turn
                self.error, self._ended = error, True

    def __call__(self) -> tuple[Any, ...]:
        """What DALI calls for the next batch."""
        if not self._ready:
            raise StopIteration
        self.under_way.append(self._ready.popleft())
        return self.under_way[-1].inputs

    def put_back(self) -> None:
        """What is under way goes into the next pipeline."""
        self._ready.extendleft(reversed(self.under_way))
        self.under_way.clear()

    def clear(self) -> None:
        """Let go of all batches."""
        self.under_way.clear()
        self._ready.clear()


class DaliCrew:
    """As a `Crew`, whose threads read and draw, with DALI's threads or GPU behind it: batches, finished and in order.

    At most `prefetch` batches are begun and not yet handed out, one of them being read; DALI has the others.
    """

    def __init__(self, setup: Setup, batches: Iterator[Picks], num_threads: int, prefetch: int, options: Dali) -> None:
        if setup.device is not None and setup.device.type != "cuda":
            raise ValueError(f"DALI decodes on the CPU or on a CUDA device, not on {setup.device}")
        self._setup = setup
        self._num_threads = num_threads
        self._options = options
        self._queue = max(1, min(options.queue, prefetch - 1))
        self._crew = Crew((DaliJob(setup, batch) for batch in batches), num_threads, max(1, prefetch - self._queue))
        self._feed = _Feed(self._crew)
        self._pipeline: Any = None
        self._closed = False
        self._pid = os.getpid()
        self._waited_ns = 0
        self._begun_ns = self._ended_ns = 0

    def start(self) -> Self:
        """Begin to read; to be called once, where `close` will follow whatever happens."""
        self._crew.start()
        self._begun_ns = time.perf_counter_ns()
        _crews.add(self)
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> LoadingJob:
        if os.getpid() != self._pid:
            raise RuntimeError("this iteration belongs to the process before the fork: iterate over the Loader again")
        if self._closed:
            raise RuntimeError(CLOSED)
        begun = time.perf_counter_ns()
        try:
            return self._next_job()
        finally:
            self._waited_ns += time.perf_counter_ns() - begun

    def _next_job(self) -> LoadingJob:
        failure = None
        try:
            if self._pipeline is None:
                options = replace(self._options, queue=self._queue)
                self._pipeline = new_pipeline(self._feed, self._setup, options, self._num_threads)
                self._feed.have_ready(self._queue)
                self._pipeline.schedule_run()  # begins as many as its queue holds
            images = self._decoded() if self._feed.under_way else None
        except Exception as error:
            if not self._feed.under_way:
                raise
            failure = str(error)  # no more of it, since its frames hold on to the pipeline
        if failure is not None:
            return self._decoded_by_cpu(failure)
        if images is None:
            raise self._feed.error or StopIteration
        job = self._feed.under_way.popleft()
        job.receive(images)
        self._feed.have_ready(1)
        try:
            self._pipeline.schedule_run()
        except Exception:  # noqa: BLE001 - a later batch has failed: it is begun again, and fails when it is its turn
            self._begin_again()
        return job

    def _decoded(self) -> Tensor:
        """The images of the first batch under way: uint8, shape (N, H, W, 3), in memory that is not used again."""
        device = self._setup.device
        stream = None if device is None else torch.cuda.current_stream(device)
        begun = time.perf_counter_ns()
        (images,) = self._pipeline.share_outputs(cuda_stream=stream)
        self._setup.times.add(Stage.DECODE, time.perf_counter_ns() - begun)
        tensor = from_dlpack(images.as_tensor())
        self._pipeline.release_outputs()
        return tensor

    def _decoded_by_cpu(self, failure: str) -> BatchJob:
        """The first batch under way, which DALI has failed at: the CPU decoder says which of its samples are bad.

        A pipeline can't be used after an error, so a new one begins with the batches behind it.
        """
        job = BatchJob(self._setup, self._feed.under_way.popleft().picks)
        self._begin_again()
        with ThreadPoolExecutor(self._num_threads) as threads:
            list(threads.map(job.fill, (range(row, row + 1) for row in range(job.rows))))
        job.finish()
        if not job.errors:
            message = f"DALI failed at a batch of good images, which the CPU decoder did instead: {failure}"
            warnings.warn(message, stacklevel=5)
        return job

    def _begin_again(self) -> None:
        self._end_pipeline()
        self._feed.put_back()

    @property
    def caller_waited_ns(self) -> int:
        """The time spent in here."""
        return self._waited_ns

    @property
    def threads_waited_ns(self) -> int:
        """The time of the caller's own, over all threads: how long DALI's were idle in it is not known."""
        return ((self._ended_ns or time.perf_counter_ns()) - self._begun_ns - self._waited_ns) * self._num_threads

    def close(self) -> None:
        """End all threads, DALI's too, and free its memory but for the batches that are held."""
        self._closed = True
        self._ended_ns = self._ended_ns or time.perf_counter_ns()
        self._crew.close()
        self._end_pipeline()
        self._feed.clear()

    def _end_pipeline(self) -> None:
        ending = [] if self._pipeline is None else [self._pipeline]
        self._pipeline = None
        end_pipeline(ending)

    def leave_to_parent(self) -> None:
        """In a forked child: the pipeline is never destroyed, which would wait for threads that did not come along."""
        if self._pipeline is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._pipeline._pipe))
            self._pipeline._pipe = None  # so that DALI does not shut it down at exit either
            self._pipeline = None


_crews: "weakref.WeakSet[DaliCrew]" = weakref.WeakSet()


def _leave_pipelines_to_parent() -> None:
    for crew in list(_crews):
        crew.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_pipelines_to_parent)
