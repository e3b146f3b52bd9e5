"""The index of a shard: which of its members make which sample, kept in a file beside it."""

import os
import struct
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np

from fastdata.files import whole_file
from fastdata.sources.rows import ABSENT as ABSENT
from fastdata.sources.rows import MAX_CLASS_BYTES, RowsBuilder, class_in, dtype_of
from fastdata.sources.rows import NO_CLASS as NO_CLASS
from fastdata.sources.rows import Rows as Rows
from fastdata.sources.rows import extensions as extensions
from fastdata.sources.tar import BLOCK, Member, pread
from fastdata.sources.webdataset import groups

_REMEMBERED = 4096  # indexes that a process keeps, for shards that are opened again

# numpy has Python parse an array's header, and Python up to 3.12 counts its parser's depth for all threads together:
# a thread that opens a shard while others do at times gets a SystemError for it (python/cpython#106905).
_ATTEMPTS = 3

# Behind the rows: magic with version, samples, the shard's size and time (ns) that the rows hold for, the CRC of
# the rows, and the CRC of all that.
_TRAILER = struct.Struct("<8sqqqI")
_CRC = struct.Struct("<I")
_TRAILER_SIZE = _TRAILER.size + _CRC.size
_MAGIC = b"fdindex1"


def index_path(path: str | os.PathLike[str]) -> Path:
    """Where the index of a shard lies: `train-000000.index.npy` beside `train-000000.tar`."""
    shard = Path(path)
    return shard.with_name(shard.name.removesuffix(".tar") + ".index.npy")


def build(fd: int, path: str) -> Rows:
    """The index of an open shard, from its headers and cls members.

    TarError for a shard that is damaged, OSError that names it where it can't be read.
    """
    try:
        return _build(fd, path)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, while it was indexed", path) from error


def _build(fd: int, path: str) -> Rows:
    builder = RowsBuilder(path)
    for key, start, parts in groups(fd, path):
        builder.add(key, start, _class(fd, parts["cls"]) if "cls" in parts else NO_CLASS, parts)
    return builder.rows()


def shard_rows(fd: int, path: str, keep: bool = True) -> Rows:
    """The index of an open shard: the stored one if it is this shard's, else one that is built.

    With `keep` a built one is stored beside the shard, if that is possible. The last ones stay in memory: a shard that
    is opened again and again does not pay for its index each time, nor does one for which no index can be stored.
    """
    stat = os.fstat(fd)
    memory = _memory(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if not memory:
        rows = load(path, stat)
        if rows is None:
            built = build(fd, path)
            if keep:
                with suppress(OSError):  # a folder that can't be written, a full disk: reading does not depend on it
                    store(path, stat, built)
                rows = load(path, stat)  # mapped, so that processes share its memory
        memory.append(built if rows is None else rows)
    return memory[0]


@lru_cache(_REMEMBERED)
def _memory(device: int, inode: int, size: int, time: int) -> list[Rows]:
    """The place for the index of a shard in this state, empty at first. (lru_cache locks nothing over a fork.)"""
    return []


class Summary(NamedTuple):
    """An index in short: the number of samples, and a checksum of all that it says of them."""

    samples: int
    checksum: int


def index_summary(path: str | os.PathLike[str]) -> Summary:
    """The summary of a shard's index, from the index's trailer where it is stored, else by indexing the shard.

    Raises TarError if the shard has no valid index and can't be indexed, OSError if it can't be opened.
    """
    path = os.fspath(path)
    fd = os.open(path, os.O_RDONLY)
    try:
        stat = os.fstat(fd)
        with suppress(OSError), index_path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _TRAILER_SIZE, 0))
            trailer = _trailer(file.read(), stat)
            if trailer is not None:
                return trailer
        rows = shard_rows(fd, path)
        return Summary(len(rows), _crc_of(rows))
    finally:
        os.close(fd)


def index_count(path: str | os.PathLike[str]) -> int:
    """Number of samples in a shard; raises as `index_summary`."""
    return index_summary(path).samples


def store_index(path: str | os.PathLike[str]) -> int:
    """Stores a shard's index beside it, if it is not there; gives the number of samples. OSError where it can't."""
    path = os.fspath(path)
    fd = os.open(path, os.O_RDONLY)
    try:
        stat = os.fstat(fd)
        rows = load(path, stat)
        if rows is None:
            rows = build(fd, path)
            store(path, stat, rows)
        return len(rows)
    finally:
        os.close(fd)


def load(path: str, stat: os.stat_result) -> Rows | None:
    """The stored index of the shard in that state, memory-mapped; None if there is none or it is not to be trusted.

    An index can always be built again, so whatever is wrong with a stored one is no error.
    """
    for _ in range(_ATTEMPTS):
        with suppress(SystemError):
            return _load(path, stat)
    return None


def _load(path: str, stat: os.stat_result) -> Rows | None:
    file = index_path(path)
    try:
        rows = np.lib.format.open_memmap(file, mode="r")
        with file.open("rb") as stream:
            stream.seek(rows.offset + rows.nbytes)
            trailer = _trailer(stream.read(_TRAILER_SIZE + 1), stat)
    except (OSError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        return None
    if rows.ndim != 1 or rows.dtype != dtype_of(list(extensions(rows))) or trailer != (len(rows), _crc_of(rows)):
        return None
    return np.asarray(rows) if _within(rows, stat.st_size) else None


def store(path: str, stat: os.stat_result, rows: Rows) -> None:
    """Writes the index of the shard in that state; OSError where it can't be written."""
    trailer = _TRAILER.pack(_MAGIC, len(rows), stat.st_size, stat.st_mtime_ns, _crc_of(rows))
    with whole_file(index_path(path)) as file:
        np.lib.format.write_array(file, rows, version=(3, 0), allow_pickle=False)
        file.write(trailer + _CRC.pack(crc32(trailer)))


def _class(fd: int, member: Member) -> int:
    """The integer in a cls member, or NO_CLASS."""
    return NO_CLASS if member.size > MAX_CLASS_BYTES else class_in(pread(fd, member.size, member.offset))


def _within(rows: Rows, shard_size: int) -> bool:
    """Whether all that the rows point at lies in the shard."""
    if np.any((rows["start"] < 0) | (rows["start"] >= shard_size)):
        return False
    for extension in extensions(rows):
        offset, size = rows["." + extension]["offset"], rows["." + extension]["size"]
        inside = (offset >= BLOCK) & (offset <= shard_size) & (size >= 0) & (size <= shard_size - offset)
        if not np.all(inside | (offset == ABSENT)):
            return False
    return True


def _crc_of(rows: Rows) -> int:
    """A checksum of the rows and their type, so that a damaged index is told from a good one."""
    return crc32(rows.view(np.uint8).data, crc32(ascii(rows.dtype).encode()))


def _trailer(raw: bytes, stat: os.stat_result) -> Summary | None:
    """What the trailer says, if it is intact and belongs to the shard in this state."""
    if len(raw) != _TRAILER_SIZE or _CRC.pack(crc32(raw[: _TRAILER.size])) != raw[_TRAILER.size :]:
        return None
    magic, samples, size, time, crc = _TRAILER.unpack_from(raw)
    if magic != _MAGIC or (size, time) != (stat.st_size, stat.st_mtime_ns):
        return None
    return Summary(samples, crc)
