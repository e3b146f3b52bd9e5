"""One run packs into a folder at a time; of a run in parts, any number of parts do."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fastdata.errors import PackError

LOCK = ".fastdata-lock"
"""The lock file's name, in the folder that is packed into."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # from file systems without them
_TAKEN = (errno.EAGAIN, errno.EACCES)  # another process has the lock


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keeps other processes from packing into the directory.

    PackError if one does, a part of a run too, or if what has the lock's name is a link or no regular file. filelock
    truncates nothing and follows no link. On a file system without locks nothing is locked.
    """
    path = directory / LOCK
    _refuse_planted(path)
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise _taken(directory) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is locked: one who waits for a file without a name tries again
        lock.release()


@contextmanager
def together(directory: Path) -> Iterator[None]:
    """Keeps other runs from packing into the directory, but not other parts of a run, which are here as well.

    PackError as of `alone`. The lock is shared, on the file of which `alone` has it for itself, and where the folder is
    on several machines so is the lock, as far as their file system has locks. It ends with its process.
    """
    path = directory / LOCK
    _refuse_planted(path)
    fd = _shared(path, directory)
    try:
        yield
    finally:
        try:
            # The last one removes the file, while it is locked, as `alone` does. Others leave it to that one.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except OSError as error:
            if error.errno not in (*_NO_LOCKS, *_TAKEN):
                raise
        finally:
            os.close(fd)


def _shared(path: Path, directory: Path) -> int:
    """The open lock file, with a shared lock on it where the file system has locks."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return fd
            os.close(fd)
            if error.errno in _TAKEN:
                raise _taken(directory) from None
            raise
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)  # another removed it before it was locked here: it locks nobody out any more


def _taken(directory: Path) -> PackError:
    return PackError(f"another process is packing into {directory}: wait until it is done, or choose another folder")


def _refuse_planted(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise PackError(f"{path} is a link or no regular file, so it is not fastdata's lock: remove it")
