"""Faults of the machine, for which no sample is to blame: they are waited for, and then raised as what they are."""

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")

OF_A_SAMPLE: Final = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.EACCES,
        errno.EPERM,
        errno.ENAMETOOLONG,
        errno.ENXIO,  # a socket
        errno.ENODEV,
        errno.EINVAL,
        errno.EOVERFLOW,
    }
)
"""What the system says of a file that is not there or not to be read, however often it is tried.

Any other error is the machine's: too many open files, a disk or a network that fails, no memory.
"""

WAITS: Final = (0.01, 0.1, 0.5)
"""Seconds before each further attempt."""


def is_machines(error: OSError) -> bool:
    """Whether the machine is at fault. An error without an errno is this package's own, of a sample."""
    return error.errno is not None and error.errno not in OF_A_SAMPLE


@contextmanager
def as_machines(where: str) -> Iterator[None]:
    """In its block a network's fault, which says no errno, is raised as one of the machine's.

    So is what a store does not let anyone read: credentials may have expired. What is not there stays what it is.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None or isinstance(error, FileNotFoundError):
            raise
        kind = PermissionError if isinstance(error, PermissionError) else OSError
        raise kind(errno.EIO, str(error), where) from error


def patiently(attempt: Callable[[], T], again: Callable[[], T] | None = None) -> T:
    """What the attempt gives; where the machine fails, what trying `again` does, by default the same; OSError where it
    goes on failing.

    OSErrors of other kinds are to be dealt with in the attempts.
    """
    for wait in WAITS:
        try:
            return attempt()
        except OSError:
            time.sleep(wait)
            attempt = again or attempt
    return attempt()
