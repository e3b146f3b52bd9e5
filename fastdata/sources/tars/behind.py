"""A file is written behind the back of who makes its bytes: in a thread, and past the system's cache where that can be.

Who writes more than memory holds gains nothing from a copy of it in the cache, and to make one takes more time than all
else that packing does.
"""

import fcntl
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from mmap import mmap
from types import TracebackType
from typing import Self

ALIGNED = 4096
"""Bytes: what is written past the cache begins and ends at a multiple of it, in the file and in memory."""

_MEMORIES = 3  # one is filled, one is written, and one waits for whichever is faster
_ON_THE_WAY = 8 << 20  # bytes that the disk is told of at once, where they go through the cache


class Behind:
    """Writes the file open at `fd` from memories that are filled one after another, each of `size` bytes at least.

    Used in a `with` block, which ends when all is written, unless it raises. Methods raise OSError where an earlier
    `write` came to nothing.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd, self._size = fd, size
        self._free = [mmap(-1, size) for _ in range(_MEMORIES)]
        self._begun = 0
        self._is_direct = hasattr(os, "O_DIRECT")
        if self._is_direct:
            self._go_direct(True)

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(1)
        self._writing: list[Future[mmap]] = []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            self.wait()

    def memory(self, size: int) -> mmap:
        """Memory to fill, at least so many bytes, that begins at a page."""
        if size > self._size:
            return mmap(-1, size)
        while not self._free:
            self._wait_for_one()
        return self._free.pop()

    def write(self, memory: mmap, size: int, at: int) -> None:
        """Writes the first bytes of a memory to this place of the file; whoever filled it is done with it."""
        self._writing.append(self._pool.submit(self._write, memory, size, at))

    def wait(self) -> None:
        """Waits until all is written."""
        while self._writing:
            self._wait_for_one()

    def _wait_for_one(self) -> None:
        memory = self._writing.pop(0).result()
        if len(memory) == self._size:
            self._free.append(memory)

    def _write(self, memory: mmap, size: int, at: int) -> mmap:
        with memoryview(memory) as whole, whole[:size] as data:
            written = self._written_directly(data, at) if self._is_direct else 0
            while written < size:  # one call may write less, on a disk that is nearly full say
                with data[written:] as rest:
                    written += os.pwrite(self._fd, rest, at + written)
        if not self._is_direct and at + size - self._begun >= _ON_THE_WAY and hasattr(os, "posix_fadvise"):
            # Has the disk begin with what was written, which else waits for fsync, and that for the disk.
            os.posix_fadvise(self._fd, self._begun, at + size - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = at + size
        return memory

    def _written_directly(self, data: memoryview, at: int) -> int:
        """Writes whole pages past the cache, and gives how many bytes these are; from the first that fails on, none."""
        whole = len(data) // ALIGNED * ALIGNED
        written = 0
        # An error that is no matter of going past the cache comes again with the call that goes through it.
        with suppress(OSError), data[:whole] as pages:
            written = os.pwrite(self._fd, pages, at) if whole else 0
        if written < len(data):
            self._go_direct(False)
        return written

    def _go_direct(self, wanted: bool) -> None:
        """Has writes go past the cache, or through it; where the file system can't do without, it stays."""
        flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._fd, fcntl.F_SETFL, flags | os.O_DIRECT if wanted else flags & ~os.O_DIRECT)
            self._is_direct = wanted
        except OSError:
            self._is_direct = False
