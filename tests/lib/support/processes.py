"""What a test can see of its own process, and programs run in another process."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LIB = Path(__file__).parents[1]
PYTHONPATH = os.pathsep.join([str(LIB), str(LIB.parents[1] / "tools"), *filter(None, [os.environ.get("PYTHONPATH")])])
"""For programs in other processes: where `support` and `train` are. Not the checkout, whose package is not tested."""

PATIENCE = 60.0
"""Seconds after which what has not happened never will."""


def threads() -> int:
    """The threads of this process, those of C libraries included."""
    return len(os.listdir("/proc/self/task"))


def open_files() -> list[str]:
    """What the file descriptors of this process are of: paths, and names that the kernel gives to the rest."""
    files = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself is closed by now
            files.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return files


def descriptors() -> int:
    """The number of open file descriptors of this process."""
    return len(open_files())


def assert_no_more_threads_than(number: int) -> None:
    """With patience, since a thread that was joined has yet to leave the kernel's list."""
    wait_until(lambda: threads() <= number)


def wait_for(event: threading.Event) -> None:
    assert event.wait(PATIENCE), "nothing happened"


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "nothing happened"
        os.sched_yield()


def run_python(program: str, *arguments: object) -> str:
    """What the program prints; fails if it hangs, crashes, or says anything on its standard error."""
    command = [sys.executable, "-P", "-c", program, *map(str, arguments)]  # -P: without the checkout's own package
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment)
    assert (run.returncode, run.stderr) == (0, ""), f"exit status {run.returncode}: {run.stdout}\n{run.stderr}"
    return run.stdout


def read_terminal(terminal: int) -> bytes:
    """What was written to a pseudo terminal since it was read last, or b"" once its other end is closed everywhere."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # which is how Linux says so
        return b""
