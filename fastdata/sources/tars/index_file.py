"""The file that an index is kept in beside its shard: never believed blindly, and built again where it is wrong."""

import os
import struct
from contextlib import suppress
from errno import EMFILE, ENFILE
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np

from fastdata.files import whole_file
from fastdata.sources.regular import open_regular
from fastdata.sources.tars.rows import (
    ABSENT,
    MAX_CLASS_BYTES,
    MAX_ROW,
    Rows,
    are_within,
    class_in,
    dtype_of,
    extensions,
    is_sealed,
    plain,
)
from fastdata.sources.tars.tar import BLOCK, REGULAR, is_header, plain_name, pread
from fastdata.sources.tars.webdataset import key_hash, split_name

# numpy has Python parse an array's header, and Python up to 3.12 counts its parser's depth for all threads together:
# a thread that opens a shard while others do at times gets a SystemError for it (python/cpython#106905).
_ATTEMPTS = 3

_HEAD = 1 << 16  # bytes of all in an index but its rows; a row is of a sample, which has a header at least

_PROBED = 8  # samples of which a shard has to say the same as its stored index, for that to be believed

# Behind the rows: where they are sealed, the CRC of `end` and `hash`; then magic with version, samples, the shard's
# size and time (ns) that the rows hold for, the CRC of what else the rows say, and the CRC of all that.
_TRAILER = struct.Struct("<8sqqqI")
_CRC = struct.Struct("<I")
_TRAILER_SIZE = _TRAILER.size + _CRC.size
_MAGIC = b"fdindex1"


def index_path(path: str | os.PathLike[str]) -> Path:
    """Where the index of a shard lies: `train-000000.index.npy` beside `train-000000.tar`."""
    shard = Path(path)
    return shard.with_name(shard.name.removesuffix(".tar") + ".index.npy")


class Summary(NamedTuple):
    """An index in short: the number of samples, and a checksum of all that it says of them."""

    samples: int
    checksum: int


def load(fd: int, path: str) -> Rows | None:
    """The stored index of an open shard; None if there is none or it is not to be trusted.

    It must hold for a shard of this size and time, say of some samples what the shard itself does, and point at
    nothing outside. An index can always be built again, so whatever is wrong with a stored one is no error.

    It is read, not mapped: whoever wrote another over a mapped file would end this process by SIGBUS.
    """
    for _ in range(_ATTEMPTS):
        with suppress(SystemError):
            return _load(fd, path)
    return None


def _load(fd: int, path: str) -> Rows | None:
    stat = os.fstat(fd)
    try:
        with open(index_path(path), "rb", opener=open_regular) as stream:
            if os.fstat(stream.fileno()).st_size > _HEAD + stat.st_size // BLOCK * MAX_ROW:
                return None  # of a sparse file, which takes no disk, all memory would be filled
            rows: Rows = np.lib.format.read_array(stream, allow_pickle=False)
            seal = stream.read(_CRC.size) if is_sealed(rows) else b""
            trailer = _trailer(stream.read(_TRAILER_SIZE + 1), stat)
    except OSError as error:
        if error.errno in (EMFILE, ENFILE):  # to build it instead would take a thousand times as long as to wait
            raise
        return None
    except SystemError:
        raise
    except Exception:  # noqa: BLE001 - numpy's parsing of a damaged header raises whatever Python's own does
        return None
    if rows.ndim != 1 or rows.dtype != dtype_of(list(extensions(rows)), is_sealed(rows)):
        return None
    if trailer != (len(rows), crc_of(rows)) or seal != _seal_of(rows):
        return None
    return rows if are_within(rows, stat.st_size) and _agrees(rows, fd) else None


def store(path: str, stat: os.stat_result, rows: Rows) -> None:
    """Writes the index of the shard in that state; OSError where it can't be written."""
    trailer = _TRAILER.pack(_MAGIC, len(rows), stat.st_size, stat.st_mtime_ns, crc_of(rows))
    with whole_file(index_path(path)) as file:
        np.lib.format.write_array(file, rows, version=(3, 0), allow_pickle=False)
        file.write(_seal_of(rows) + trailer + _CRC.pack(crc32(trailer)))


def stored_summary(path: str, stat: os.stat_result) -> Summary | None:
    """What the trailer of a stored index says of the shard in that state; None where there is none for it."""
    with suppress(OSError), open(index_path(path), "rb", opener=open_regular) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TRAILER_SIZE, 0))
        return _trailer(file.read(_TRAILER_SIZE + 1), stat)
    return None


def _agrees(rows: Rows, fd: int) -> bool:
    """Whether the shard says of some samples, the first and the last among them, what the rows do.

    Size and time alone are not enough: builds that are to be the same each time give all files one time.
    """
    # A set, since np.unique first imports numpy.ma, which takes as long as packing ten megabytes.
    probed = set(np.linspace(0, len(rows) - 1, _PROBED).astype(int).tolist() if len(rows) else [])
    return all(_is_there(rows[row], extensions(rows), fd) for row in probed)


def _is_there(row: np.void, names: tuple[str, ...], fd: int) -> bool:
    """Whether a sample's first header still names it, its components have headers, and its class is the same."""
    header = pread(fd, BLOCK, int(row["start"]))
    if not _is_whole(header):
        return False
    split = split_name(plain_name(header))
    if header[156:157] in REGULAR and (split is None or key_hash(split[0]) != row["key"]):
        return False
    for name in names:
        offset, size = row["." + name].item()
        if offset == ABSENT:
            continue
        if not _is_whole(pread(fd, BLOCK, offset - BLOCK)):
            return False
        if name == "cls" and class_in(pread(fd, min(size, MAX_CLASS_BYTES + 1), offset)) != row["cls"]:
            return False
    return True


def _is_whole(header: bytes) -> bool:
    return len(header) == BLOCK and is_header(header)


def crc_of(rows: Rows) -> int:
    """A checksum of the rows and their type, so that a damaged index is told from a good one.

    It is the same whether the rows are sealed or not, since an index that is built again can't be.
    """
    rows = plain(rows)
    return crc32(rows.view(np.uint8).data, crc32(ascii(rows.dtype).encode()))


def _seal_of(rows: Rows) -> bytes:
    """A checksum of `end` and `hash`, where the rows have them."""
    return _CRC.pack(crc32(rows["hash"].tobytes(), crc32(rows["end"].tobytes()))) if is_sealed(rows) else b""


def _trailer(raw: bytes, stat: os.stat_result) -> Summary | None:
    """What the trailer says, if it is intact and belongs to the shard in this state."""
    if len(raw) != _TRAILER_SIZE or _CRC.pack(crc32(raw[: _TRAILER.size])) != raw[_TRAILER.size :]:
        return None
    magic, samples, size, time, crc = _TRAILER.unpack_from(raw)
    if magic != _MAGIC or (size, time) != (stat.st_size, stat.st_mtime_ns):
        return None
    return Summary(samples, crc)
