"""Locks on ranges of a file's bytes, between all threads and processes of a machine.

They are Linux's open file description locks (fcntl(2), F_OFD_SETLK): a lock belongs to an open file, not to a process
as POSIX's do, so that two descriptors opened by two threads of one process exclude each other, and closing some other
descriptor of the file drops none. The kernel lets go of them when the open file's last descriptor is closed, so also
when its process dies, by SIGKILL or otherwise. Who waits sleeps in the kernel.
"""

import errno
import fcntl
import os
import struct

# struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid (0 for these locks), with its padding.
_FLOCK = struct.Struct("hhqqi4x")
_REFUSED = (errno.EAGAIN, errno.EACCES)


def try_lock(fd: int, start: int, end: int, exclusive: bool) -> bool:
    """Locks the bytes [start, end), or says that another open file's lock is in the way: False.

    A lock that this open file has there already is converted, at once, or stays as it was where it can't be.
    """
    try:
        _set(fd, fcntl.F_OFD_SETLK, fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK, start, end)
    except OSError as error:
        if error.errno in _REFUSED:
            return False
        raise
    return True


def wait_for_lock(fd: int, start: int, end: int, exclusive: bool) -> None:
    """The same, asleep until it can be had."""
    _set(fd, fcntl.F_OFD_SETLKW, fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK, start, end)


def unlock(fd: int, start: int, end: int) -> None:
    """Lets go of the bytes [start, end)."""
    _set(fd, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, start, end)


def _set(fd: int, command: int, kind: int, start: int, end: int) -> None:
    fcntl.fcntl(fd, command, _FLOCK.pack(kind, os.SEEK_SET, start, end - start, 0))
