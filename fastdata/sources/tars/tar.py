"""The tar format: which regular files a tar file holds, and where their bytes lie.

It follows POSIX.1-2017 (pax: the ustar and pax interchange formats) and the GNU tar manual ("Basic Tar Format").
Only headers are read, and by `os.pread`: with a memory map a file that is cut short would end the process by SIGBUS.
"""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple
from zlib import adler32

from fastdata.errors import TarError
from fastdata.sources.regular import open_regular
from fastdata.sources.tars.descriptions import DESCRIPTIONS, OF_ALL, Descriptions, text_in
from fastdata.sources.tars.forward import Forward

BLOCK = 512
REGULAR = frozenset([b"0", b"\0", b"7"])

_WITHOUT_DATA = frozenset([b"1", b"2", b"3", b"4", b"5", b"6"])  # links, devices, directories, FIFOs
_LINKS = frozenset([b"1", b"2"])
_UNREADABLE = {b"S": "a GNU sparse file", b"M": "the continuation of a file on another volume"}
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_WINDOW = 4096  # bytes read at once: a header, a small file's data and the next header
_DESCRIPTION_LIMIT = 1 << 20  # bytes of a long name or PAX header: far more than real ones have
_CHUNK = 1 << 20


class Member(NamedTuple):
    """A regular file in a tar file: `size` bytes at `offset`; `start` is where its first header lies."""

    name: str
    offset: int
    size: int
    start: int


def members(path: str | os.PathLike[str], start: int = 0) -> Iterator[Member]:
    """The regular files of a tar file in order, from the header at byte `start` on.

    Reads ustar, GNU (long names, base-256 sizes), PAX (path and size of one member or of all that follow) and V7.
    Names that are not UTF-8 are decoded with surrogateescape, as `tarfile` does.

    Raises:
        TarError: for a bad checksum, a member that runs past the end of the file, a missing end-of-archive
            marker, data behind that marker, a sparse file, or a compressed file; never a shorter list.
        OSError: if the file can't be opened.
    """
    fd = open_regular(path)
    try:
        yield from walk(fd, os.fspath(path), start)
    finally:
        os.close(fd)


def walk(
    file: "int | Forward", path: str, start: int = 0, on_link: Callable[[str, int], object] | None = None
) -> Iterator[Member]:
    """`members` of an open file, or of a stream; `path` is for messages. `on_link` is told the name and start of each
    link."""
    headers = _Headers(file, path)
    described = Descriptions(path)
    first = at = start
    while (header := headers.at(at)) is not None:
        kind, data = header[156:157], at + BLOCK
        size = number(header[124:136])
        if size is None:
            raise TarError.at(path, at, "a header's size is no number: damaged; write or copy the file again")
        if kind in DESCRIPTIONS:
            described.add(kind, headers.description(at, size), data)
            at = data + padded(size)
            if kind == OF_ALL and first == data - BLOCK:
                first = at
            continue
        name = plain_name(header)
        is_file = kind in REGULAR and not (kind == b"\0" and name.endswith("/"))  # V7's way to say directory
        if described.any:
            name, size = described.applied(name, size, at)
        if is_file or (kind not in _WITHOUT_DATA and kind != b"\0"):
            if data + size > headers.size:
                problem = f"member {name!r} of {size} bytes runs past the file's end at {headers.size}"
                raise TarError.at(path, at, f"{problem}: cut short or damaged; write or copy the file again")
            at = data + padded(size)
        else:
            at = data
        if is_file:
            yield Member(name, data, size, first)
        elif kind in _UNREADABLE:
            problem = f"member {name!r} is {_UNREADABLE[kind]}, whose bytes are not in one piece"
            raise TarError.at(path, first, f"{problem}; repack without --sparse and --multi-volume")
        elif kind in _LINKS and on_link is not None:
            on_link(name, first)
        first = at
    if first != at:
        raise TarError.at(path, first, "the archive ends where this header's member should be; write it again")


def pread(fd: int, size: int, offset: int) -> bytes:
    """`size` bytes at `offset`, fewer only where the file ends. (One call of `os.pread` may return less.)"""
    data = os.pread(fd, size, offset)
    while len(data) < size and (more := os.pread(fd, size - len(data), offset + len(data))):
        data += more
    return data


def padded(size: int) -> int:
    """Bytes that a member's data take in the archive: whole blocks."""
    return (size + BLOCK - 1) // BLOCK * BLOCK


def is_header(block: bytes) -> bool:
    """Whether these 512 bytes carry their checksum: the sum of all bytes, with blanks for those of the checksum.

    Some old writers summed signed bytes; both sums are accepted, as by GNU tar and `tarfile`.
    """
    field = block[148:156]
    # Started from 0, adler32's low half is the sum of the bytes modulo 65521. 256 bytes don't reach that, so it is
    # the sum, in a tenth of the time that sum() takes.
    total = (adler32(block[:256], 0) & 0xFFFF) + (adler32(block[256:], 0) & 0xFFFF) - (adler32(field, 0) & 0xFFFF)
    if field == b"%06o\0 " % (total + 256):  # as nearly all write it: told in half of the time that `number` takes
        return True
    stated = number(field)
    if stated == total + 256:
        return True
    negative = sum(byte > 127 for byte in block[:148] + block[156:])
    return stated == total + 256 - 256 * negative


def number(field: bytes) -> int | None:
    """A header's number: octal digits, or base-256 where the first bit is set. None if negative or malformed."""
    if field[0] & 0x80:
        return None if field[0] & 0x40 else int.from_bytes(field) & ~(0x80 << 8 * (len(field) - 1))
    digits = field.split(b"\0", 1)[0].strip()
    try:
        return int(digits, 8) if digits.isdigit() else None if digits else 0
    except ValueError:
        return None


def plain_name(header: bytes) -> str:
    """The name in the header itself, which is cut off where a PAX or GNU header before it has the whole one."""
    name = header[:100]
    if header[345] and header[257:263] == b"ustar\0":  # GNU's own format keeps other things in the prefix's place
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    return text_in(name)


class _Headers:
    """Reads an archive's headers in ascending order, a window of the file at a time."""

    def __init__(self, file: int | Forward, path: str) -> None:
        if isinstance(file, Forward):
            self.size, self._read_at = sys.maxsize, file.read
        else:
            self.size, self._read_at = os.fstat(file).st_size, partial(pread, file)
        self._path = path
        self._window, self._window_at = b"", 0

    def at(self, at: int) -> bytes | None:
        """The header at an offset, its checksum verified; None at the end-of-archive marker."""
        block = self._read(at, BLOCK)
        if len(block) == BLOCK and is_header(block):
            return block
        if len(block) == BLOCK and not any(block):
            self._check_end(at)
            return None
        for magic, name in _COMPRESSED.items():
            if at == 0 and block.startswith(magic):
                problem = f"a {name} file, not a plain tar: samples are read at their offsets; decompress it first"
                raise TarError.at(self._path, at, problem)
        if len(block) < BLOCK:
            problem = "the file ends without an end-of-archive marker: cut short, or still being written"
            raise TarError.at(self._path, at, f"{problem}; write or copy it again")
        problem = "no tar header (bad checksum): damaged, or not a tar file; write or copy it again"
        raise TarError.at(self._path, at, problem)

    def description(self, at: int, size: int) -> bytes:
        """The data behind the header of a long name or PAX header."""
        if size > _DESCRIPTION_LIMIT or at + BLOCK + size > self.size:
            problem = f"a long name or PAX header claims {size} bytes: damaged; write or copy the file again"
            raise TarError.at(self._path, at, problem)
        return self._read(at + BLOCK, size)

    def _check_end(self, at: int) -> None:
        """Raises unless all from here to the file's end is zero."""
        while chunk := self._read_at(_CHUNK, at):
            if chunk.count(0) != len(chunk):
                at += len(chunk) - len(chunk.lstrip(b"\0"))
                problem = "data behind the end-of-archive marker: archives joined, or damaged"
                raise TarError.at(self._path, at, f"{problem}; join archives with tar --concatenate")
            at += len(chunk)

    def _read(self, offset: int, size: int) -> bytes:
        begin = offset - self._window_at
        if begin + size > len(self._window):
            self._window, self._window_at, begin = self._read_at(max(size, _WINDOW), offset), offset, 0
        return self._window[begin : begin + size]
