"""Holes in files: bytes that are given back to the disk, where the file's size and all other offsets stay."""

import ctypes
import errno
import os

_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # FALLOC_FL_... of linux/falloc.h
_IMPOSSIBLE = (errno.EOPNOTSUPP, errno.ENOSYS)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def punch(fd: int, start: int, size: int) -> bool:
    """Makes `size` bytes from `start` on a hole, which reads as zeros. False where the file system has no holes."""
    while _libc.fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, start, size):
        code = ctypes.get_errno()
        if code in _IMPOSSIBLE:
            return False
        if code != errno.EINTR:
            raise OSError(code, f"no hole at {start}: {os.strerror(code)}")
    return True
