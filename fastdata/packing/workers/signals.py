"""Signals while processes start."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from threading import current_thread, main_thread


@contextmanager
def no_interrupts() -> Iterator[None]:
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
