"""One mutant: the module is changed on disk, tests run in a forked process, and the module is as it was."""

import importlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest

from support.mutants.drawing import Mutant

Outcome = Literal["killed", "timeout", "survived", "no tests"]


def preload() -> None:
    """What every test run would import first, for seconds; nothing of the package, nor what pytest rewrites."""
    for name in ("numpy", "torch", "torch.utils.data", "PIL.Image", "cv2", "simplejpeg", "msgspec"):
        importlib.import_module(name)
    sys.dont_write_bytecode = True  # a mutant of the same size and second would be taken for the original


def attempt(mutant: Mutant, tests: list[str], limit: float, log: Path) -> Outcome:
    """What becomes of a mutant; what pytest printed is in `log`."""
    if not tests:
        return "no tests"
    with _changed(mutant):
        status = _forked(tests, limit, log)
    if status is None:
        return "timeout"
    return "survived" if status == 0 else "killed"


def check_unchanged(tests: list[str], log: Path) -> None:
    """RuntimeError where tests fail already: they would seem to kill every mutant."""
    if _forked(tests, 600, log) != 0:
        raise RuntimeError(f"these tests fail without any change:\n{log.read_text()}")


@contextmanager
def _changed(mutant: Mutant) -> Iterator[None]:
    before = mutant.module.read_text()
    mutant.module.write_text(mutant.source())
    try:
        yield
    finally:
        mutant.module.write_text(before)


def _forked(tests: list[str], limit: float, log: Path) -> int | None:
    """pytest's exit status, None where it was stopped after `limit` seconds, with all processes that it had started."""
    child = os.fork()
    if not child:
        status = 99
        try:
            os.setsid()
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            # What tests spawn imports __main__ again: it shall find none of ours.
            sys.modules["__main__"] = ModuleType("__main__")
            base = log.with_suffix(".tmp")
            options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", f"--basetemp={base}"]
            status = pytest.main([*options, *tests])
        finally:
            sys.stdout.flush()
            os._exit(status)
    until = time.monotonic() + limit
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            _end(child)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    _end(child)
    os.waitpid(child, 0)
    return None


def _end(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:  # all of it has ended
        return
