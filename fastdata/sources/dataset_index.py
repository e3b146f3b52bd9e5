"""The index of a whole dataset, of whose rows just those that are asked for are read, and compared with their hashes.

It is read by `pread`: so its pages are the system's, once for all processes, and who cuts the file short ends none of
them, as with a mapped one.
"""

import errno
import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from fastdata.errors import ManifestError, TarError
from fastdata.sources.faults import as_machines
from fastdata.sources.node.byte_locks import wait_for_lock
from fastdata.sources.regular import HoldsDescriptor, open_regular
from fastdata.sources.tars.index_layout import CHUNK, IndexEntry, read_layout
from fastdata.sources.tars.rows import Entry, Rows, are_within
from fastdata.sources.tars.tar import pread

ReadRanges = Callable[[NDArray[np.int64]], bytes | memoryview]
"""Reads n ranges, (file descriptor, offset, size), one after another into one memory. OSError where bytes lack."""

Fetch = Callable[[int, int], bytes]
"""Gives bytes of the index from where it comes from: how many, from which offset on. OSError."""

_AT_ONCE = 1 << 18  # rows that are looked through at once


class DatasetIndex:
    """The rows of all samples of a dataset, by number.

    Any number of threads may read at once; a copy in another process, forked or unpickled, reads on its own. The file
    is of `entry`'s size; where it lacks bytes, because not all of it was fetched yet, or they are damaged, `fetch`
    gives them, and they are kept. ManifestError, which says so, where it is not the file that the dataset's json means.
    """

    def __init__(self, path: str, entry: IndexEntry, fetch: Fetch | None = None) -> None:
        self.path, self.entry, self._fetch = path, entry, fetch
        self._opened: _Opened | None = None
        layout = self._open().layout
        self.extensions, self.dtype, self.samples = layout.extensions, layout.dtype, layout.samples

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": None}

    def __len__(self) -> int:
        return self.samples

    def entries(self, numbers: NDArray[np.int64], read: ReadRanges | None = None) -> list[Entry]:
        """The rows of these samples (int64, shape (n,)), each as numbers of Python.

        They are in the index by its hash; that they point into their shard is for the caller to see. `read` reads them,
        by `pread` if it isn't given. OSError where the file can't be read or is damaged.
        """
        opened, size = self._open(), self.dtype.itemsize
        at = numbers * size
        if not opened.checked_all:
            self._check(opened, np.concatenate([at, at + (size - 1)]) // CHUNK)
        ranges = np.empty((len(at), 3), np.int64)
        ranges[:, 0], ranges[:, 1], ranges[:, 2] = opened.fd, at + opened.layout.begin, size
        raw = self._read(read or read_each, ranges)
        rows: list[Entry] = np.frombuffer(raw, self.dtype).tolist()
        return rows

    def rows(self, start: int, stop: int) -> Rows:
        """The rows of the samples from `start` to before `stop`. OSError as `entries`."""
        opened, size = self._open(), self.dtype.itemsize
        self._check(opened, np.arange(start * size // CHUNK, -(-stop * size // CHUNK)))
        begin = opened.layout.begin
        raw = self._read(read_each, np.array([[opened.fd, begin + start * size, (stop - start) * size]], np.int64))
        return np.frombuffer(raw, self.dtype)

    def damaged(self) -> list[int]:
        """The offsets in the file of the chunks that are not what was written."""
        opened = self._open()
        return [opened.layout.chunk(number)[0] for number in range(opened.layout.chunks) if not opened.has(number)]

    def column(self, name: str, start: int, stop: int) -> NDArray[np.int64] | NDArray[np.uint64]:
        """A field of numbers of these samples' rows, `key` (uint64) say, without holding all rows at once."""
        parts = [self.rows(at, min(at + _AT_ONCE, stop))[name].copy() for at in range(start, stop, _AT_ONCE)]
        return np.concatenate(parts) if parts else np.empty(0, self.dtype[name])

    def _read(self, read: ReadRanges, ranges: NDArray[np.int64]) -> bytes | memoryview:
        """What `read` gives. OSError, which names this file, where it can't be read whole."""
        try:
            return read(ranges)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from error

    def _open(self) -> "_Opened":
        opened = self._opened  # without a lock, as in `Shard`
        if opened is None:
            opened = self._opened = _Opened(self.path, self.entry)
        return opened

    def _check(self, opened: "_Opened", chunks: NDArray[np.int64]) -> None:
        """Has these chunks compared with their hashes, unless this process did that before."""
        unseen = chunks[~opened.checked[chunks]]
        for chunk in np.unique(unseen).tolist():
            opened.check(chunk, self._fetch)
        if len(unseen):
            opened.checked_all = bool(opened.checked.all())


class _Opened(HoldsDescriptor):
    """An index that is open; the file is closed when its last user is gone."""

    def __init__(self, path: str, entry: IndexEntry) -> None:
        self.path = path
        self.fd = open_regular(path)
        if (size := os.fstat(self.fd).st_size) != entry.size:
            raise ManifestError(f"{path} has {size} bytes, and the dataset's json says {entry.size}")
        try:
            self.layout, self._hashes = read_layout(lambda size, offset: pread(self.fd, size, offset), entry)
        except ValueError as error:
            raise ManifestError(f"{path} is not the index that the dataset's json means: {error}") from None
        self.checked = np.zeros(self.layout.chunks, np.bool_)
        self.checked_all = False

    def check(self, chunk: int, fetch: Fetch | None) -> None:
        """Compares a chunk with its hash; fetches one that lacks or is damaged. OSError where it can't be had."""
        if not self.has(chunk):
            if fetch is None:
                raise self._damaged(chunk)
            self._fill(chunk, fetch)
        self.checked[chunk] = True

    def _fill(self, chunk: int, fetch: Fetch) -> None:
        """Fetches a chunk into the file; of threads and processes that lack it at the same time, one does."""
        offset, size = self.layout.chunk(chunk)
        fd = os.open(self.path, os.O_WRONLY)
        try:
            wait_for_lock(fd, offset, offset + size, exclusive=True)  # closing lets go of it
            if self.has(chunk):
                return
            with as_machines(self.path):
                data = fetch(size, offset)
            if not self._is_sound(chunk, data):
                raise self._damaged(chunk)
            _write(fd, data, offset)
        finally:
            os.close(fd)
        if not self.has(chunk):
            raise OSError(errno.ESTALE, "the index was removed while it was read: open the dataset again", self.path)

    def _damaged(self, chunk: int) -> OSError:
        begin = self.layout.chunk(chunk)[0]
        problem = f"its bytes from {begin} on are not those that were written: copy it again, or verify"
        return OSError(errno.EIO, f"damaged index: {problem}", self.path)

    def has(self, chunk: int) -> bool:
        """Whether a chunk is in the file as it was written."""
        offset, size = self.layout.chunk(chunk)
        return self._is_sound(chunk, pread(self.fd, size, offset))

    def _is_sound(self, chunk: int, data: bytes) -> bool:
        return xxh3_64_intdigest(data) == int(self._hashes[chunk])


def _write(fd: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


class IndexPart:
    """The rows of one shard in a dataset's index: `count` of them from `first` on, of a shard of `shard_size` bytes."""

    def __init__(self, index: DatasetIndex, first: int, count: int, shard_size: int) -> None:
        self.index, self.first, self.count, self.shard_size = index, first, count, shard_size

    def __len__(self) -> int:
        return self.count

    def entry(self, row: int) -> Entry:
        """A row as numbers of Python. IndexError for one that is not there."""
        if not 0 <= row < self.count:
            raise IndexError(f"row {row} of {self.count}")
        return self.index.entries(np.array([self.first + row]))[0]

    def unchecked(self) -> Rows:
        """All rows, wherever they point."""
        return self.index.rows(self.first, self.first + self.count)

    def rows(self, path: str) -> Rows:
        """All rows. TarError where one points out of the shard, which `path` names."""
        rows = self.unchecked()
        if not are_within(rows, self.shard_size):
            raise TarError.at(path, 0, f"{self.index.path} points out of it: pack the dataset again")
        return rows


def read_each(ranges: NDArray[np.int64]) -> bytes:
    """Reads ranges one by one."""
    parts = [pread(fd, size, offset) for fd, offset, size in ranges.tolist()]
    if any(len(part) < size for part, size in zip(parts, ranges[:, 2].tolist(), strict=True)):
        raise OSError(errno.EIO, "the dataset's index was cut short while it was read: copy it again")
    return b"".join(parts)
