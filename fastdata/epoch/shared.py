"""A few numbers that a process shares with the DataLoader workers that it starts, forked or spawned, and no others."""

import fcntl
import mmap
import os
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


class SharedNumbers:
    """int64 numbers in memory that DataLoader workers see too, and a lock between these processes.

    A copy, what was unpickled from a file, and any other process than a worker (a rank that was forked, say) get
    numbers of their own: ranks that advanced each other's epochs would not meet.
    """

    def __init__(self, values: Sequence[int]) -> None:
        self._map(_new_file(8 * len(values)), len(values))
        self._values[:] = values

    def _map(self, fd: int, count: int) -> None:
        self._fd, self._owner = fd, os.getpid()
        self._memory = mmap.mmap(fd, 8 * count)
        self._values: Numbers = np.frombuffer(self._memory, np.int64)
        self._close = weakref.finalize(self, os.close, fd)
        self.at_start: Numbers | None = None
        """In a worker: the numbers when the process that started it did so."""
        self.before_fork: Numbers | None = None
        _all.add(self)

    @property
    def values(self) -> Numbers:
        """The numbers, to be read and written."""
        if self._owner != os.getpid() and not in_worker():
            self.keep_to_oneself()
        return self._values

    def keep_to_oneself(self) -> None:
        """Go on with a copy, unless this process made them, or is a worker of the one that did."""
        if self._owner == os.getpid() or in_worker():
            return
        values = self._values.copy()
        self._close.detach()  # the descriptor may be another file's by now, in a process that closes all of them
        self._map(_new_file(values.nbytes), len(values))
        self._values[:] = values

    @contextmanager
    def lock(self) -> Iterator[Numbers]:
        """The numbers, while no other process has this lock."""
        values = self.values
        fcntl.lockf(self._fd, fcntl.LOCK_EX)
        try:
            yield values
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def __getstate__(self) -> dict[str, Any]:
        values = self.values
        if get_spawning_popen() is None:
            return {"values": values.tolist()}
        return {"fd": reduction.DupFd(self._fd), "at_start": values.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "values" in state:
            SharedNumbers.__init__(self, state["values"])
        else:
            self._map(state["fd"].detach(), len(state["at_start"]))
            self._owner, self.at_start = os.getppid(), state["at_start"]


def in_worker() -> bool:
    """Whether this process is a worker of torch's DataLoader."""
    return worker_info() is not None


def worker_info() -> Any:
    """torch's WorkerInfo of this process (torch is not imported for it); None where it is no worker of a DataLoader."""
    data: Any = sys.modules.get("torch.utils.data")
    return None if data is None else data.get_worker_info()


def _new_file(size: int) -> int:
    """The descriptor of a file that has no name."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("fastdata")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, size)
    return fd


_all: "weakref.WeakSet[SharedNumbers]" = weakref.WeakSet()


def _before_fork() -> None:
    """A rank that was forked must not have its workers share the numbers of the process that forked it."""
    for numbers in list(_all):
        numbers.keep_to_oneself()
        numbers.before_fork = numbers.values.copy()


def _in_child() -> None:
    for numbers in list(_all):
        numbers.at_start = numbers.before_fork


os.register_at_fork(before=_before_fork, after_in_child=_in_child)
