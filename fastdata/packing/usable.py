"""Which files can be packed, as far as that can be told without reading them."""

import os
import stat
from typing import Self

from fastdata.errors import PackError
from fastdata.sources.faults import is_machines
from fastdata.sources.regular import MAX_BYTES

UNUSABLE = -2
"""The size of a file that is to be rejected; -1 is that of a field that a sample lacks."""


class UnusableError(PackError):
    """A file that can't be packed: what is wrong with it, and not with the machine."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (self.path, self.reason)


def size_and_time(path: str, *, image: bool = False) -> tuple[int, int]:
    """A file's bytes, and when it last changed, in ns. UnusableError for one that can't be packed: an empty image."""
    try:
        status = os.stat(path)  # noqa: PTH116 -- a Path for each file takes longer than the rest
    except OSError as error:
        raise unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise UnusableError(path, "is no regular file: remove it")
    if status.st_size > MAX_BYTES:
        raise UnusableError(path, f"has {status.st_size} bytes, more than the limit of {MAX_BYTES}: remove it")
    if image and not status.st_size:
        raise UnusableError(path, "is empty: remove it, or get it again")
    return status.st_size, status.st_mtime_ns


def unreadable(path: str, error: OSError) -> PackError:
    """The error of a file that can't be read: an UnusableError, unless the machine is at fault."""
    reason = f"can't be read: {error.strerror}"
    return PackError(f"{path} {reason}") if is_machines(error) else UnusableError(path, reason)
