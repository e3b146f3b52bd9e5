"""The headers of a tar file that is written: the bytes that Python's tarfile makes in its PAX format, but faster."""

import tarfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastdata.sources.tars.tar import BLOCK

RECORD = 10_240
"""Bytes, of which tar makes an archive's length a multiple."""

_MAX_NAME = 100  # bytes of an ASCII name that fits into the header itself
_MAX_SIZE = 8**11  # bytes that eleven octal digits can't say
_SIZE, _SUM = slice(124, 135), slice(148, 154)  # where these numbers' digits stand
_OCTAL = 3 * np.arange(10, -1, -1)  # how far each of eleven octal digits is shifted

_PLAIN = np.frombuffer(tarfile.TarInfo().tobuf(tarfile.PAX_FORMAT), np.uint8).copy()
_PLAIN[148:156] = tuple(b"000000\0 ")
_PLAIN[_SIZE] = 0
_SUM_OF_REST = int(_PLAIN.sum()) - int(_PLAIN[148:156].sum()) + 8 * ord(" ")  # the checksum's own field is blanks then


def is_plain(name: bytes, size: int) -> bool:
    """Whether a file's header is a single block, which `plain_headers` makes; `long_header` makes the others."""
    return len(name) <= _MAX_NAME and name.isascii() and size < _MAX_SIZE


def plain_headers(names: Sequence[bytes], sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The headers of n regular files of these sizes in bytes, without times or owners: uint8 of shape (n, 512)."""
    headers = np.tile(_PLAIN, (len(names), 1))
    headers[:, :_MAX_NAME] = np.array(names, f"S{_MAX_NAME}").view(np.uint8).reshape(-1, _MAX_NAME)
    headers[:, _SIZE] = (sizes[:, None] >> _OCTAL & 7) + ord("0")
    sums = headers[:, :_MAX_NAME].sum(1, np.int64) + headers[:, _SIZE].sum(1, np.int64) + _SUM_OF_REST
    headers[:, _SUM] = (sums[:, None] >> _OCTAL[-6:] & 7) + ord("0")
    return headers


def long_header(name: bytes, size: int) -> bytes:
    """The header of a regular file with a PAX header before it, where that has to say the name or the size."""
    info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def end_of_archive(size: int) -> bytes:
    """What follows members of so many bytes together: two empty blocks, and more up to a whole record."""
    return bytes(-(size + 2 * BLOCK) % RECORD + 2 * BLOCK)
