"""One process packs into a folder at a time."""

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fastdata.errors import PackError

LOCK = ".fastdata-lock"
"""The lock file's name, in the folder that is packed into."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # from file systems without them


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keeps other processes from packing into the directory.

    PackError if one does, or if what has the lock's name is a link or no regular file. filelock truncates nothing and
    follows no link. On a file system without locks nothing is locked.
    """
    path = directory / LOCK
    _refuse_planted(path)
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise PackError(
            f"another process is packing into {directory}: wait until it is done, or choose another folder"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is locked: one who waits for a file without a name tries again
        lock.release()


def _refuse_planted(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise PackError(f"{path} is a link or no regular file, so it is not fastdata's lock: remove it")
