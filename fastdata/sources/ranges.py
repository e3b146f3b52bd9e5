"""Files of which pieces are read: local ones and remote ones alike."""

import io
import os
from typing import Any, NamedTuple, Protocol, Self

from fastdata.sources.regular import open_regular
from fastdata.sources.remote import filesystem_of, remote_faults
from fastdata.sources.tar import pread
from fastdata.sources.urls import is_remote, plain_path


class Identity(NamedTuple):
    """What tells a file from one that was put into its place; of a remote one only its size."""

    size: int
    inode: int = 0
    time: int = 0


class RangeFile(Protocol):
    """An open file; leaving it as a context closes it."""

    identity: Identity

    def read_at(self, offset: int, size: int) -> bytes:
        """So many bytes at an offset, fewer where the file ends. OSError."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class LocalFile:
    """A regular file, open."""

    def __init__(self, path: str) -> None:
        self._fd = open_regular(path)
        status = os.fstat(self._fd)
        self.identity = Identity(status.st_size, status.st_ino, status.st_mtime_ns)

    def read_at(self, offset: int, size: int) -> bytes:
        return pread(self._fd, size, offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


class RemoteFile:
    """A file at a URL, of which nothing is open."""

    def __init__(self, url: str, size: int | None) -> None:
        self._url = url
        self._filesystem, self._path = filesystem_of(url)
        if size is None:
            with remote_faults(url):
                size = int(self._filesystem.size(self._path))
        self.identity = Identity(size)

    def read_at(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self.identity.size)
        if end <= offset:
            return b""
        with remote_faults(self._url):
            data: bytes = self._filesystem.cat_file(self._path, start=offset, end=end)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def open_ranges(url: str, size: int | None = None) -> RangeFile:
    """The file at a path or URL; of a remote one the size is asked for where it is not given.

    OSError where it can't be opened, and for a local one that is no regular file: reading it may never end.
    """
    return RemoteFile(url, size) if is_remote(url) else LocalFile(plain_path(url))


class Stream(io.RawIOBase):
    """A file as libraries want it, with a position; a piece of it may lie in memory already, `held` from `start` on."""

    def __init__(self, file: RangeFile, held: bytes = b"", start: int = 0) -> None:
        self._file, self._held, self._start = file, memoryview(held), start
        self._at = 0

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
        first = self._at - self._start
        if 0 <= first <= first + size <= len(self._held):
            data: bytes | memoryview = self._held[first : first + size]
        else:
            data = self._file.read_at(self._at, size)
        self._at += len(data)
        return data
