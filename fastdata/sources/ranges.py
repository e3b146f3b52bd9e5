"""Files of which pieces are read: local ones and remote ones alike."""

import io
import os
from typing import Any, NamedTuple, Protocol, Self

from fastdata.sources.regular import MAX_BYTES, open_regular
from fastdata.sources.stores.storage import storage_of
from fastdata.sources.tars.tar import pread
from fastdata.sources.urls import is_remote, plain_path

Data = bytes | memoryview


class Identity(NamedTuple):
    """What tells a file from one that was put into its place; a remote one's version is None where none is known."""

    size: int
    version: str | None


class RangeFile(Protocol):
    """An open file; leaving it as a context closes it."""

    identity: Identity

    def read_at(self, offset: int, size: int) -> Data:
        """So many bytes at an offset, fewer where the file ends. OSError, without an errno where none can be."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class LocalFile:
    """A regular file, open."""

    def __init__(self, path: str) -> None:
        self._path, self._fd = path, open_regular(path)
        status = os.fstat(self._fd)
        self.identity = Identity(status.st_size, f"{status.st_ino}, {status.st_mtime_ns}")

    def read_at(self, offset: int, size: int) -> Data:
        size = _within(self.identity, offset, size)
        try:
            return pread(self._fd, size, offset)
        except OSError as error:  # without a name: it is of a descriptor
            raise OSError(error.errno, error.strerror, self._path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


class RemoteFile:
    """A file at a URL, of which nothing is open. OSError where it isn't what `identity` says, if that is given."""

    def __init__(self, url: str, identity: Identity | None = None) -> None:
        self._url, self._storage = url, storage_of(url)
        self.identity = Identity(*self._storage.stat(url)) if identity is None else identity

    def read_at(self, offset: int, size: int) -> Data:
        wanted = offset, _within(self.identity, offset, size)
        (data,) = self._storage.get_ranges(self._url, [wanted], self.identity.version)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _within(identity: Identity, offset: int, size: int) -> int:
    """How many of these bytes a file has. OSError, without an errno, for what lies before its start."""
    if offset < 0 or size < 0:
        raise OSError(f"{size} bytes at offset {offset} are no part of a file: what said so is damaged")
    return max(0, min(size, identity.size - offset))


def open_ranges(url: str, identity: Identity | None = None) -> RangeFile:
    """The file at a path or URL; a remote one is not asked for its identity where that is given.

    OSError where it can't be opened, and for a local one that is no regular file: reading it may never end.
    """
    return RemoteFile(url, identity) if is_remote(url) else LocalFile(plain_path(url))


class Piece(NamedTuple):
    """A part of a file, from `start` on."""

    start: int
    data: Data


class Stream(io.RawIOBase):
    """A file as libraries want it, with a position; `held` is a piece of it that lies in memory already.

    `last` is the piece that was read last. OSError, without an errno, for more than `MAX_BYTES` at once.
    """

    def __init__(self, file: RangeFile, held: Piece | None = None) -> None:
        self._file, self._held = file, held or Piece(0, b"")
        self._at = 0
        self.last = self._held

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.identity.size}[whence]
        self._at = origin + offset
        return self._at

    def read(self, size: int = -1) -> Any:
        left = max(0, self._file.identity.size - self._at)
        size = left if size < 0 else min(size, left)
        if size > MAX_BYTES:
            raise OSError(
                f"{size} bytes lie there, and {MAX_BYTES} are the most that is read at once: write the file again with "
                "smaller row groups (row_group_size=100, say)"
            )
        first = self._at - self._held.start
        if 0 <= first <= first + size <= len(self._held.data):
            data: Data = memoryview(self._held.data)[first : first + size]
        else:
            data = self._file.read_at(self._at, size)
        self.last = Piece(self._at, data)
        self._at += len(data)
        return data
