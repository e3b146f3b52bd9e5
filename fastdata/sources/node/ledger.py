"""What a cache of ranges has on disk: for each region of each file how many bytes, and when they were used last."""

import os
import re
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from fastdata.sources.node.byte_locks import unlock, wait_for_lock
from fastdata.sources.node.piece_calls import CALLS, ENTRY, HEADER, REGION, entry_at, number_at, set_number
from fastdata.sources.regular import open_private

_ENTRY = np.dtype([("used", "<u8"), ("bytes", "<u8")])
MAX_SIZE: Final = 1 << 40
"""Bytes of a file: there is an entry for each MiB of it, whatever lies there."""

_LINE = re.compile(rb"(\d{1,18}) (\d{1,18}) ([0-9a-f]{32}-[\w.-]{0,100})\n", re.ASCII)


class Region(NamedTuple):
    """Region `number` of all: bytes [start, start + REGION) of the file `name`, whose first region is `first`."""

    number: int
    name: str
    first: int

    @property
    def start(self) -> int:
        return (self.number - self.first) * REGION


class Ledger:
    """The ledger of a cache's folder, one for all threads and processes.

    Two files: `ledger`, an array of `_ENTRY` behind a header (160 MB for 10 TB), and `files`, with a line for each
    file: its first region, their number, its name. Their content is only ever changed by who has the lock, but for the
    times of use, which anybody may write at any time. The bytes are an upper bound of what is allocated: they are added
    before anything is written, and subtracted after it was removed, so that a process that dies in between leaves them
    too high.

    They are read and written, not mapped: who maps a file is ended by SIGBUS where its disk is full, or it is cut.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = threading.Lock()
        self._fd = open_private(folder / "ledger")
        try:
            self._files = open_private(folder / "files")
        except BaseException:
            os.close(self._fd)
            raise
        self._read_to = 0
        self._names: list[str] = []
        self._firsts: list[int] = []
        self._first_of: dict[str, int] = {}
        self._ends = 0

    def close(self) -> None:
        """Closes its files."""
        os.close(self._fd)
        os.close(self._files)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps all other threads and processes from changing the ledger."""
        with self._turn:
            wait_for_lock(self._fd, 0, 1, exclusive=True)
            try:
                yield
            finally:
                unlock(self._fd, 0, 1)

    def look_up(self, name: str) -> int | None:
        """The number of a file's first region, None if nobody has registered it.

        To be called with the lock, as all below but `first_of` and `used`.
        """
        self._refresh()
        return self._first_of.get(name)

    def register(self, name: str, size: int) -> int:
        """The number of the first region of a file of `size` bytes that is new here. OSError where the disk is full.

        Nothing of it may be on disk: from here on every thread takes the file that has its name.
        """
        first, regions = self._ends, -(-size // REGION)
        if regions:
            os.posix_fallocate(self._fd, entry_at(first), regions * ENTRY.size)  # no disk can be full when it is used
        os.ftruncate(self._files, self._read_to)  # whoever died in the middle of a line has left a part of it
        line = b"%d %d %s\n" % (first, regions, name.encode())
        if os.pwrite(self._files, line, self._read_to) != len(line):
            raise OSError(f"{self._folder}: a line could not be written: is the disk full?")
        self._refresh()
        return first

    def first_of(self, name: str) -> int | None:
        """The number of a file's first region where this process knows it already; without the lock."""
        return self._first_of.get(name)

    def used(self, numbers: Iterable[int]) -> None:
        """Says that these regions are in use now; without the lock."""
        now = time.time_ns()
        for number in numbers:
            set_number(self._fd, entry_at(number), now)

    def total(self) -> int:
        """Bytes on disk, of all files."""
        return number_at(self._fd, 0)

    def add(self, sizes: Mapping[int, int]) -> None:
        """Adds bytes to regions that are in use now, by their numbers; none has more than REGION."""
        CALLS.add(self._fd, list(sizes.items()), time.time_ns())

    def removed(self, number: int) -> None:
        """Says that nothing of a region is on disk any more."""
        before = number_at(self._fd, entry_at(number) + 8)
        set_number(self._fd, entry_at(number) + 8, 0)
        set_number(self._fd, 0, max(self.total() - before, 0))

    def oldest_first(self) -> Iterator[Region]:
        """The regions of which something is on disk, least recently used first.

        The sum is made anew from them: a process that died may have left it too high.
        """
        self._refresh()
        there = max(os.fstat(self._fd).st_size - HEADER, 0)  # a damaged `files` may claim any number of regions
        raw = os.pread(self._fd, min(self._ends * _ENTRY.itemsize, there), HEADER)
        entries = np.frombuffer(raw, _ENTRY, len(raw) // _ENTRY.itemsize)
        set_number(self._fd, 0, int(np.minimum(entries["bytes"], REGION).sum()))
        filled = np.flatnonzero(entries["bytes"])
        for number in filled[np.argsort(entries["used"][filled], kind="stable")].tolist():
            position = bisect_right(self._firsts, number) - 1
            yield Region(number, self._names[position], self._firsts[position])

    def _refresh(self) -> None:
        """Reads what others have registered. Lines that are none, of a process that died, end it, and damaged ones."""
        size = os.fstat(self._files).st_size
        if size == self._read_to:
            return
        lines = os.pread(self._files, size - self._read_to, self._read_to)
        begin = 0
        while (line := _LINE.match(lines, begin)) is not None and self._is_next(int(line[1]), int(line[2])):
            self._names.append(line[3].decode())
            self._first_of[self._names[-1]] = self._ends
            self._firsts.append(self._ends)
            self._ends += int(line[2])
            begin = line.end()
        self._read_to += begin

    def _is_next(self, first: int, regions: int) -> bool:
        """Whether so many regions from that one may be a file's that comes next: more would fill the disk."""
        return first == self._ends and regions <= MAX_SIZE // REGION
