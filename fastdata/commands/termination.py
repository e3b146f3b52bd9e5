"""SIGTERM, which batch systems send before they kill."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def termination() -> Iterator[None]:
    """Makes SIGTERM end the program as Ctrl-C does: everything is stopped and cleared away."""

    def terminate(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
