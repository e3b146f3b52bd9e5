"""Which files can be packed, as far as that can be told without reading them."""

import os
import stat
from typing import Self

from fastdata.errors import PackError, ReplacedError
from fastdata.sources.faults import is_machines
from fastdata.sources.regular import MAX_BYTES

CHANGED = "changed while it was packed: pack again"
NO_COMPONENT = "is empty, or too large: leave it out (--keys)"

UNUSABLE = -2
"""The size of a file that is to be rejected; -1 is that of a field that a sample lacks."""


class UnusableError(PackError):
    """A file that can't be packed, or a `part` of it (":512", ", row 3"): what is wrong with it, and not with the
    machine."""

    def __init__(self, path: str, reason: str, part: str = "") -> None:
        super().__init__(f"{path}{part} {reason}")
        self.path, self.reason, self.part = path, reason, part

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, str]]:
        return type(self), (self.path, self.reason, self.part)


def size_and_time(path: str, *, image: bool = False) -> tuple[int, int]:
    """A file's bytes, and when it last changed, in ns. UnusableError for one that can't be packed: an empty image."""
    try:
        status = os.stat(path)  # noqa: PTH116 -- a Path for each file takes longer than the rest
    except OSError as error:
        raise unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise UnusableError(path, "is no regular file: remove it")
    if problem := size_problem(status.st_size, image=image):
        raise UnusableError(path, problem)
    return status.st_size, status.st_mtime_ns


def size_problem(size: int, *, image: bool) -> str:
    """Why what has so many bytes can't be packed; '' where it can."""
    if size > MAX_BYTES:
        return f"has {size} bytes, more than the limit of {MAX_BYTES}: remove it"
    return "is empty: remove it, or get it again" if image and not size else ""


def unreadable(path: str, error: OSError) -> PackError:
    """The error of a file that can't be read: an UnusableError, unless the machine is at fault."""
    reason = f"can't be read: {error.strerror}"
    return PackError(f"{path} {reason}") if is_machines(error) else UnusableError(path, reason)


def far_problem(url: str, error: OSError) -> str:
    """Why what lies at a URL can't be packed. PackError where that is no fault of this object's but the store's.

    Of a store that does not answer nothing is left out; but of hosts of the web each is one's own affair.
    """
    match error:
        case FileNotFoundError():
            return "is not there"
        case ReplacedError():
            return CHANGED
        case PermissionError():
            return f"can't be read: {error}"
        case _ if url.startswith(("http://", "https://")):
            return f"can't be read: {error}"
    raise PackError(str(error)) from error
