"""The locks on the pieces of a cache's files, and on the regions that go out of it."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from fastdata.sources.node.byte_locks import try_lock, unlock, wait_for_lock
from fastdata.sources.node.ledger import REGION
from fastdata.sources.regular import open_private

_FILES = 16  # the kernel walks a list of all locks on a file: a node's thousands are spread over some


class Span:
    """Bytes [start, end) of one of the lock files."""

    __slots__ = ("end", "fd", "start")

    def __init__(self, fd: int, start: int, end: int) -> None:
        self.fd, self.start, self.end = fd, start, end

    def try_to_have(self, exclusive: bool) -> bool:
        """Locks it, or says that somebody else's lock is in the way: False. Converts what was locked before."""
        return try_lock(self.fd, self.start, self.end, exclusive)

    def wait_shared(self) -> None:
        """Has a shared lock as soon as it can be had."""
        wait_for_lock(self.fd, self.start, self.end, exclusive=False)

    def let_go(self) -> None:
        unlock(self.fd, self.start, self.end)


class FileLocks(NamedTuple):
    """Where the bytes of one cached file stand in the lock file that is open as `fd`."""

    fd: int
    base: int

    def span(self, start: int, end: int) -> Span:
        """Of the bytes [start, end) of the cached file."""
        return Span(self.fd, self.base + start, self.base + end)


class PieceLocks:
    """The lock files of a cache's folder, as one owner of locks has them open.

    They are files of their own, in which a byte stands for each byte of the cache's files: so thousands of pieces of
    as many files can be locked with a few descriptors, and files of data can be closed meanwhile. Nothing is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fds: dict[int, int] = {}

    def of(self, name: str, first_region: int) -> FileLocks:
        """Those on the cached file `name`, whose first region has that number."""
        number = crc32(name.encode()) % _FILES
        if number not in self._fds:
            fd = open_private(self._folder / f"locks-{number:02}")
            if self._fds.setdefault(number, fd) != fd:  # another thread was first
                os.close(fd)
        return FileLocks(self._fds[number], first_region * REGION)

    def close(self) -> None:
        """Lets go of all locks."""
        while self._fds:
            with suppress(KeyError):
                os.close(self._fds.popitem()[1])
