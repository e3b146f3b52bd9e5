"""The locks on the pieces of a cache's files, and on the regions that go out of it."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from fastdata.sources.node.piece_calls import REGION, Span
from fastdata.sources.regular import open_private

_FILES = 16  # the kernel walks a list of all locks on a file: a node's thousands are spread over some


class FileLocks(NamedTuple):
    """Where the bytes of one cached file stand in the lock file that is open as `fd`."""

    fd: int
    base: int

    def span(self, start: int, end: int) -> Span:
        """What stands for the bytes [start, end) of the cached file."""
        return self.fd, self.base + start, self.base + end


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
