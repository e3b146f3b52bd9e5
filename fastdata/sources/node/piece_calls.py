"""What the system is asked about each piece of a cache, for some pieces at once: by `pieces.c`, or here.

`pieces.c` beside this file is an optional extension, which asks all of it without the interpreter's lock. Without it
(no compiler when the package was installed, or FASTDATA_KERNEL=no) the same is done here, one by one: `IN_PYTHON`,
which is also the reference. `CALLS` is what is used.

Who calls keeps the files open meanwhile.
"""

import errno
import os
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple, Protocol, cast

from fastdata.compiled import extension
from fastdata.sources.node.byte_locks import try_lock, unlock

REGION: Final = 1 << 20
"""Bytes of a file that go out of the cache together."""

HEADER: Final = 4096
"""Bytes of the ledger before its entries; the sum of their bytes stands at its beginning."""

ENTRY: Final = struct.Struct("<QQ")
"""A region's entry: when it was used last, in ns, and how many of its bytes are on disk."""

_NUMBER = struct.Struct("<Q")
_LARGEST = (1 << 64) - 1
_LAST = (1 << 63) - 1  # offset that a file may have
_MOST_ENTRIES = (_LAST - HEADER) // ENTRY.size
_MOST_BYTES = _LAST >> 24  # of one share: so many of them at once still have a sum


class Looked(IntEnum):
    """What `look` says of a piece, and how it has left it."""

    SHARED = 0  # under a shared lock: it may be there, its hash says
    EXCLUSIVE = 1  # the same, under an exclusive lock: it was a hole a moment ago
    MISSING = 2  # a hole, under an exclusive lock
    CONTESTED = 3  # not locked: somebody else's lock is in the way


class At(NamedTuple):
    """Where a piece lies: in the file `fd`, whose blocks on disk are `block` bytes, 1 to REGION, and in a lock file."""

    fd: int
    offset: int
    size: int
    lock_fd: int
    lock_start: int
    block: int


Span = tuple[int, int, int]
"""Of the lock file with this descriptor the bytes from one offset to, without it, another, which is larger."""


class Calls(Protocol):
    """ValueError for negative offsets and sizes; OSError where the system fails, without a file's name."""

    def look(self, pieces: Sequence[At], /) -> Sequence[int]:
        """Looks for pieces, without waiting: a `Looked` for each.

        What begins with a hole is locked exclusively, and looked at again; all else has a shared lock. A hole is not
        told where the file system does not know them, and of what shares its blocks of the disk with its neighbours.
        After an OSError any of them may be locked.
        """

    def write(self, pieces: Sequence[At], data: Sequence[bytes | memoryview], /) -> tuple[int, int]:
        """Writes pieces, each as long as its data, and makes their exclusive locks shared ones.

        How many it has written, the first ones; and if that are not all the errno of the next one's failure.
        """

    def let_go(self, spans: Sequence[Span], /) -> None:
        """Unlocks them."""

    def add(self, fd: int, shares: Sequence[tuple[int, int]], now: int, /) -> None:
        """Adds bytes to a ledger's regions, (number, bytes) each, which are used `now`; none has more than REGION.

        The sum is written first, so that it is never too low. The caller has the ledger's lock; no region comes twice.
        """


class _InPython:
    """`Calls`, one after another."""

    def look(self, pieces: Sequence[At], /) -> Sequence[int]:
        _refuse_bad(pieces)
        return list(map(_look, pieces))

    def write(self, pieces: Sequence[At], data: Sequence[bytes | memoryview], /) -> tuple[int, int]:
        _refuse_bad(pieces)
        for number, (piece, its) in enumerate(zip(pieces, data, strict=True)):
            if len(its) != piece.size:
                raise ValueError(f"{len(its)} bytes for a piece of {piece.size}")
            try:
                _put(piece.fd, memoryview(its), piece.offset)
                try_lock(piece.lock_fd, piece.lock_start, piece.lock_start + piece.size, exclusive=False)
            except OSError as error:
                return number, error.errno or errno.EIO
        return len(pieces), 0

    def let_go(self, spans: Sequence[Span], /) -> None:
        for _, start, end in spans:
            if not 0 <= start < end:
                raise ValueError("a span's end has to lie behind its start, and that not before 0")
        for span in spans:
            unlock(*span)

    def add(self, fd: int, shares: Sequence[tuple[int, int]], now: int, /) -> None:
        for number, more in shares:
            if not (0 <= number < _MOST_ENTRIES and 0 <= more <= _MOST_BYTES):
                raise ValueError("a region's number or bytes are none")
        before = [min(number_at(fd, entry_at(number) + _NUMBER.size), REGION) for number, _ in shares]
        after = [min(old + more, REGION) for old, (_, more) in zip(before, shares, strict=True)]
        set_number(fd, 0, min(number_at(fd, 0) + sum(after) - sum(before), _LARGEST))
        for (number, _), size in zip(shares, after, strict=True):
            os.pwrite(fd, ENTRY.pack(now, size), entry_at(number))


def entry_at(number: int) -> int:
    """The offset of a region's entry in the ledger."""
    return HEADER + number * ENTRY.size


def number_at(fd: int, offset: int) -> int:
    """A number of the ledger; 0 where it ends before."""
    raw = os.pread(fd, _NUMBER.size, offset)
    number: int = _NUMBER.unpack(raw)[0] if len(raw) == _NUMBER.size else 0
    return number


def set_number(fd: int, offset: int, value: int) -> None:
    """Writes a number into the ledger."""
    os.pwrite(fd, _NUMBER.pack(value), offset)


def _refuse_bad(pieces: Sequence[At]) -> None:
    for piece in pieces:
        most = _LAST - piece.size
        if not (0 <= piece.offset <= min(most, _LAST - 2 * REGION) and 0 <= piece.lock_start <= most):
            raise ValueError("a piece's offset or lock is none")
        if piece.size < 0 or not 1 <= piece.block <= REGION:
            raise ValueError("a piece's size or block is none")


def _look(piece: At) -> Looked:
    exclusive = _is_hole(piece)
    if not try_lock(piece.lock_fd, piece.lock_start, piece.lock_start + piece.size, exclusive):
        return Looked.CONTESTED
    if not exclusive:
        return Looked.SHARED
    return Looked.MISSING if _is_hole(piece) else Looked.EXCLUSIVE


def _is_hole(piece: At) -> bool:
    """Whether the piece is not there for sure, since its first whole block of the disk is in a hole."""
    begin = -(-piece.offset // piece.block) * piece.block
    if begin + piece.block > piece.offset + piece.size:
        return False
    try:
        return os.lseek(piece.fd, begin, os.SEEK_DATA) != begin
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        if error.errno == errno.ENXIO:  # nothing but a hole is left
            return True
        raise


def _put(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        if not written:  # or this would go on for ever
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data, offset = data[written:], offset + written


IN_PYTHON: Final[Calls] = _InPython()
COMPILED: Final = cast("Calls | None", extension("fastdata.sources.node._pieces"))
"""Those of the extension, or None."""

CALLS: Final[Calls] = COMPILED or IN_PYTHON
