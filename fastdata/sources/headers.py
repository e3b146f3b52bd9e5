"""The headers of a tar file that is written: the bytes that Python's tarfile makes in its PAX format, but faster."""

import tarfile
from zlib import adler32

from fastdata.sources.tar import BLOCK

RECORD = 10_240
"""Bytes, of which tar makes an archive's length a multiple."""

_MAX_NAME = 100  # bytes of an ASCII name that fits into the header itself
_MAX_SIZE = 8**11  # bytes that eleven octal digits can't say

_PLAIN = tarfile.TarInfo().tobuf(tarfile.PAX_FORMAT)
_MODE_AND_OWNER, _TIME, _REST = _PLAIN[100:124], _PLAIN[136:148], _PLAIN[156:]
_SUM = sum(_MODE_AND_OWNER) + sum(_TIME) + sum(_REST) + 8 * ord(" ")  # the checksum's own field counts as blanks


def member_header(name: str, size: int) -> bytes:
    """The header of a regular file of `size` bytes, without time or owner; with a PAX header before it if need be.

    A name that is neither ASCII nor has at most 100 bytes needs one. Lone surrogates stand for bytes that are not
    UTF-8, as in `os.fsdecode`.
    """
    if len(name) > _MAX_NAME or not name.isascii() or size >= _MAX_SIZE:
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    encoded, digits = name.encode("ascii"), b"%011o" % size
    # adler32, started from 0, has the sum of so few bytes in its low half, in a tenth of the time that sum() takes.
    total = _SUM + (adler32(encoded, 0) & 0xFFFF) + (adler32(digits, 0) & 0xFFFF)
    checksum = b"%06o\0 " % total
    return b"".join((encoded.ljust(_MAX_NAME, b"\0"), _MODE_AND_OWNER, digits, b"\0", _TIME, checksum, _REST))


def end_of_archive(size: int) -> bytes:
    """What follows members of so many bytes together: two empty blocks, and more up to a whole record."""
    return bytes(-(size + 2 * BLOCK) % RECORD + 2 * BLOCK)
