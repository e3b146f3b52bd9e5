"""Tasks on a Dask cluster."""

from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager

from fastdata.errors import PackError

RETRIES = 3
"""How often a task that failed is tried again. Those of a worker that was lost are run elsewhere besides."""


@contextmanager
def dask_executor(address: str | None) -> Iterator[Executor]:
    """A cluster's executor. PackError where workers die again and again, or the scheduler is lost."""
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise ImportError("the engine Dask is not installed: pip install 'fastdata[dask]'") from error
    try:
        with Client(address, set_as_default=False) as client, client.get_executor(pure=False) as executor:
            yield executor
    except KilledWorker as error:
        raise PackError(f"Dask's workers died again and again, for lack of memory perhaps: {error}") from error
    except CancelledError as error:
        raise PackError("Dask's scheduler was lost: start it, and give the same command again") from error
