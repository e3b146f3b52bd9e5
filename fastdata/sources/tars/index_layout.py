"""The layout of a dataset's `<name>.index.npy`: rows, and behind them their names, hashes and a trailer.

The file is an array of numpy's format, the rows of all shards one after another, in the order of the dataset's json;
behind it the extensions that the rows have fields for, a table of hashes (xxh3_64 of the file's head, then of each MiB
of the rows), and a trailer. The json has the file's size and a hash of the table, which so holds for all that is read.
"""

import json
import struct
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray
from xxhash import xxh3_64_digest, xxh3_64_hexdigest, xxh3_64_intdigest

from fastdata.sources.tars.rows import dtype_of

CHUNK: Final = 1 << 20
"""Bytes of rows that have one hash in the table."""

SUFFIX: Final = ".index.npy"
"""What the name of a dataset's index ends in, behind the dataset's own."""

# Magic with version; samples; bytes of the rows and of the names behind them; the hash of the table; of all that.
_TRAILER = struct.Struct("<8sqqq8s")
_TRAILER_SIZE = _TRAILER.size + 8
_MAGIC = b"fdrows01"

_MAX_NAMES = 1 << 20  # bytes of the names of extensions: far more than a dataset has
_MAX_ROW = 1 << 20  # bytes of a row, likewise

ReadAt = Callable[[int, int], bytes]
"""Gives bytes of a file, fewer of them at its end: how many, from which offset on. OSError."""


class IndexEntry(Struct, frozen=True):
    """What a dataset's json says of its index: bytes, and `xxh3_64:` with the hash of the table of hashes, in hex."""

    size: Annotated[int, Meta(ge=1, lt=2**62)]
    hash: Annotated[str, Meta(pattern=r"^xxh3_64:[0-9a-f]{16}\Z")]


class Layout:
    """Where the rows of an index lie, and what they look like: so many samples of shards with these extensions."""

    def __init__(self, extensions: Sequence[str], samples: int) -> None:
        self.extensions, self.samples = tuple(extensions), samples
        self.dtype = dtype_of(list(self.extensions), sealed=True)
        self.head = _head(self.dtype, samples)
        self.begin = len(self.head)
        """Bytes before the rows."""
        self.size = samples * self.dtype.itemsize
        """Bytes of the rows."""
        self.chunks = -(-self.size // CHUNK)

    def chunk(self, number: int) -> tuple[int, int]:
        """Offset in the file and size of one of the chunks."""
        return self.begin + number * CHUNK, min(CHUNK, self.size - number * CHUNK)

    def tail(self, hashes: NDArray[np.uint64]) -> bytes:
        """What stands behind the rows, of which these are the chunks' hashes."""
        names, table = json.dumps(self.extensions).encode("ascii"), self._table(hashes)
        trailer = _TRAILER.pack(_MAGIC, self.samples, self.size, len(names), xxh3_64_digest(table))
        return names + table + trailer + xxh3_64_digest(trailer)

    def entry(self, hashes: NDArray[np.uint64]) -> IndexEntry:
        """What the json says of an index with these hashes of chunks."""
        size = self.begin + self.size + len(self.tail(hashes))
        return IndexEntry(size, f"xxh3_64:{xxh3_64_hexdigest(self._table(hashes))}")

    def _table(self, hashes: NDArray[np.uint64]) -> bytes:
        return np.concatenate([np.array([xxh3_64_intdigest(self.head)], "<u8"), hashes.astype("<u8")]).tobytes()


def read_layout(read: ReadAt, entry: IndexEntry) -> tuple[Layout, NDArray[np.uint64]]:
    """The layout of the index that a json means, and the hashes of its chunks.

    ValueError, which says what is wrong, where what `read` gives is not that index.
    """
    trailer = read(_TRAILER_SIZE, max(entry.size - _TRAILER_SIZE, 0))
    if len(trailer) != _TRAILER_SIZE or xxh3_64_digest(trailer[:-8]) != trailer[-8:]:
        raise ValueError("its last bytes are no index's")
    magic, samples, rows_size, names_size, _ = _TRAILER.unpack_from(trailer)
    table_size = 8 * (1 + -(-rows_size // CHUNK))
    begin = entry.size - _TRAILER_SIZE - table_size - names_size - rows_size
    if magic != _MAGIC or min(samples, rows_size, begin) < 0 or not 0 < names_size <= _MAX_NAMES:
        raise ValueError("it is of another version, or damaged")
    behind = read(names_size + table_size, begin + rows_size)
    table = behind[names_size:]
    if len(behind) != names_size + table_size or f"xxh3_64:{xxh3_64_hexdigest(table)}" != entry.hash:
        raise ValueError("its hashes are not those that the json means: it is another's, or damaged")
    layout = _layout(behind[:names_size], samples)
    hashes = np.frombuffer(table, "<u8")
    if (layout.begin, layout.size) != (begin, rows_size) or xxh3_64_intdigest(layout.head) != int(hashes[0]):
        raise ValueError("its rows are not what it says that they are: damaged")
    return layout, hashes[1:]


def _layout(names: bytes, samples: int) -> Layout:
    """Of names as they stand behind the rows."""
    try:
        extensions = json.loads(names)
    except (ValueError, RecursionError):
        extensions = None
    if not isinstance(extensions, list) or not all(isinstance(each, str) and each for each in extensions):
        raise ValueError("its extensions are no names")
    if len(set(extensions)) < len(extensions) or len(extensions) * 16 > _MAX_ROW:
        raise ValueError("its extensions are not each another")
    return Layout(extensions, samples)


def _head(dtype: np.dtype[np.void], samples: int) -> bytes:
    """What stands before an array in numpy's format, version 3.0 (numpy.lib.format)."""
    text = repr({"descr": dtype.descr, "fortran_order": False, "shape": (samples,)}).encode()
    text += b" " * (-(len(text) + 13) % 64) + b"\n"
    return b"\x93NUMPY\x03\x00" + struct.pack("<I", len(text)) + text
