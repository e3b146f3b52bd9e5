"""Regular files: opened, read whole up to a bounded size, and how many a process may have open."""

import os
import resource
from collections.abc import Callable
from stat import S_ISREG
from typing import Final

MAX_BYTES: Final = 1 << 30
"""Of a sample's file or component: a larger one is no image and no field."""


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY, mode: int = 0o777) -> int:
    """A file descriptor. OSError, without an errno, for a pipe, a device or a folder: reading may never end."""
    fd = os.open(path, flags | os.O_NONBLOCK, mode)  # else a pipe that nobody writes to would wait
    if not S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{os.fspath(path)} is no regular file")
    return fd


class HoldsDescriptor:
    """Whose file descriptor `fd`, if it has one, is closed when its last user is gone."""

    fd = -1

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # by then `os` may be gone
        if self.fd >= 0:
            close(self.fd)


def open_private(path: str | os.PathLike[str]) -> int:
    """A descriptor of a file to read and write, made for its user alone where it is not there; OSError for a link."""
    return open_regular(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def read_regular(path: str, limit: int = MAX_BYTES) -> bytes:
    """All of a file. OSError where it can't be read, and, without an errno, where it has more than `limit` bytes."""
    fd = open_regular(path)
    try:
        size = os.fstat(fd).st_size
        data = b""
        while size <= limit and (more := os.read(fd, size - len(data) + 1)):
            data = data + more if data else more
            size = max(size, len(data))
    finally:
        os.close(fd)
    refuse_larger(path, size, limit)
    return data


def refuse_larger(what: str, size: int, limit: int) -> None:
    """OSError, without an errno, for more than `limit` bytes."""
    if size > limit:
        raise OSError(f"{what} has more than {limit} bytes")


def share_of_files(parts: int) -> int:
    """One of so many parts of the descriptors that this process may have, by `ulimit -n`; at least 1."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft // parts) if soft != resource.RLIM_INFINITY else 1 << 20
