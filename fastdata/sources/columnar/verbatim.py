"""Where the values of a Parquet column lie in their file as they are: those can be read one by one.

Parquet's plain encoding writes each value behind its length (4 bytes, little-endian), page after page, in a column
with dictionaries each different one once; and without compression that is what the file holds (with some compressions,
at times, where a value does not become smaller). So the values that pyarrow has read are looked for there, each behind
the one before, and what is found is equal, byte by byte. No page is parsed, and what is not found is read as ever.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastdata.sources.columnar.arrow import Encoded

_UNKNOWN = -1
_BETWEEN = 1 << 16  # bytes between two values at most: a page's header and its levels
_ATTEMPTS = 4  # places that begin as a value does
_BEGINNING = 16  # bytes of it
_MISSES = 16  # values that are not found, one after the other, after which none is looked for


class Places(NamedTuple):
    """Offset and size of the value of each row: int64 of shape (rows,); offset -1 where it is not known."""

    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    def of(self, row: int) -> tuple[int, int] | None:
        """Offset and size of a row's value, where they are known."""
        offset = int(self.offsets[row])
        return None if offset == _UNKNOWN else (offset, int(self.sizes[row]))


def find_places(values: Encoded, chunk: bytes, start: int) -> Places:
    """Where these values lie in a column's chunk, the bytes from `start` on of its file."""
    offsets, sizes = np.full(len(values), _UNKNOWN, np.int64), np.zeros(len(values), np.int64)
    found: dict[bytes, int] = {}  # where values lie that begin so: a dictionary has none of them twice
    at = misses = 0
    for row in range(len(values)):
        value = values[row]
        if value is None:
            continue
        if misses == _MISSES:
            break
        data = bytes(value)
        beginning = len(data).to_bytes(4, "little") + data[:_BEGINNING]
        place = _find(data, beginning, chunk, at)
        if place != _UNKNOWN:
            found[beginning], at = place, place + len(data)
        elif beginning in found and chunk[found[beginning] : found[beginning] + len(data)] == data:
            place = found[beginning]
        misses = misses + 1 if place == _UNKNOWN else 0
        if place != _UNKNOWN:
            offsets[row], sizes[row] = start + place, len(data)
    return Places(offsets, sizes)


def _find(data: bytes, beginning: bytes, chunk: bytes, at: int) -> int:
    """Where it lies behind its length, with which it begins, not far behind `at`."""
    end = at + _BETWEEN + len(beginning)
    for _ in range(_ATTEMPTS):
        found = chunk.find(beginning, at, end)
        if found < 0:
            break
        first = found + 4
        if chunk[first : first + len(data)] == data:
            return first
        at = found + 1
    return _UNKNOWN
