"""Tasks on a Dask cluster."""

from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager
from typing import Any

from fastdata.errors import PackError


@contextmanager
def dask_executor(address: str | None) -> Iterator[Executor]:
    """A cluster's executor. PackError where workers die again and again, or the scheduler is lost."""
    try:
        import distributed
    except ImportError as error:
        raise ImportError("the engine Dask is not installed: pip install 'fastdata-images[dask]'") from error
    cluster: Any = distributed.Client  # untyped in some of its versions only
    try:
        with cluster(address, set_as_default=False) as client, client.get_executor(pure=False) as executor:
            yield executor
    except distributed.KilledWorker as error:
        raise PackError(f"Dask's workers died again and again, for lack of memory perhaps: {error}") from error
    except CancelledError as error:
        raise PackError("Dask's scheduler was lost: start it, and give the same command again") from error
