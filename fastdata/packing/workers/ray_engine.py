"""Tasks on a Ray cluster."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from fastdata.errors import PackError

T = TypeVar("T")

RETRIES = 3
"""How often a task is run again whose worker was lost."""


@contextmanager
def ray_executor(address: str | None) -> "Iterator[RayExecutor]":
    """A cluster's executor. PackError where workers die again and again."""
    try:
        import ray
        from ray.exceptions import RayError, RayTaskError
    except ImportError as error:
        raise ImportError("the engine Ray is not installed: pip install 'fastdata-images[ray]'") from error
    begun = not ray.is_initialized()
    if begun:
        ray.init(address=address, log_to_driver=False)
    executor = RayExecutor(ray)
    try:
        yield executor
    except RayTaskError as error:  # what a task raised is its cause
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except RayError as error:
        raise PackError(f"Ray's workers died again and again, for lack of memory perhaps: {error}") from error
    finally:
        executor.end()
        if begun:
            ray.shutdown()


class RayExecutor:
    """Runs calls as Ray's tasks."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._tasks: list[Any] = []

    def submit(self, function: Callable[..., T], /, *arguments: object) -> Future[T]:
        """The future of the call's result."""
        task = self._ray.remote(max_retries=RETRIES)(function).remote(*arguments)
        self._tasks.append(task)
        future: Future[T] = task.future()
        return future

    def end(self) -> None:
        """Ends what is not done, and returns when none of it runs any more: it would write into the next run."""
        for task in self._tasks:
            self._ray.cancel(task)
        if self._tasks:
            self._ray.wait(self._tasks, num_returns=len(self._tasks))
