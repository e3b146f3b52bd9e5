"""The rows of an index: what is known of each sample of a shard."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastdata.sources.tar import BLOCK

NO_CLASS = -(2**63)
"""`cls` of a sample without a cls member, or with one that is no integer."""

ABSENT = -1
"""The offset of a component that the sample lacks."""

Rows: TypeAlias = NDArray[np.void]
"""One row a sample, in the shard's order, of fields

`key`: uint64, `key_hash` of the sample's key;
`start`: int64, where the first header of its first member lies, from which its key can be read again;
`cls`: int64, the integer in its cls member, or NO_CLASS;
and for each extension in the shard a field named by it with its dot (`.jpg`): `offset` of the component's data
(int64, ABSENT if the sample lacks it) and `size` in bytes (int64).
"""

MAX_CLASS_BYTES = 32
"""Of a cls member: a longer one is no integer."""

_SPAN = [("offset", "<i8"), ("size", "<i8")]


def extensions(rows: Rows) -> tuple[str, ...]:
    """The extensions that an index has a field for, in the order of their first appearance in the shard."""
    return tuple(name[1:] for name in rows.dtype.names or () if name.startswith("."))


def row_type(names: list[str]) -> np.dtype[np.void]:
    """The type of a row in a shard with these extensions."""
    return np.dtype([("key", "<u8"), ("start", "<i8"), ("cls", "<i8"), *(("." + name, _SPAN) for name in names)])


def class_in(content: bytes) -> int:
    """The integer in what a cls member holds, or NO_CLASS."""
    if len(content) > MAX_CLASS_BYTES:
        return NO_CLASS
    try:
        value = int(content)
    except ValueError:
        return NO_CLASS
    return value if -(2**63) < value < 2**63 else NO_CLASS


def are_within(rows: Rows, shard_size: int) -> bool:
    """Whether all that the rows point at lies in the shard, and each class in a component that can hold it."""
    if np.any((rows["start"] < 0) | (rows["start"] >= shard_size)):
        return False
    if np.any(rows["cls"] != NO_CLASS) and ".cls" not in (rows.dtype.names or ()):
        return False
    for extension in extensions(rows):
        offset, size = rows["." + extension]["offset"], rows["." + extension]["size"]
        inside = (offset >= BLOCK) & (offset <= shard_size) & (size >= 0) & (size <= shard_size - offset)
        if extension == "cls":
            inside &= (rows["cls"] == NO_CLASS) | (size <= MAX_CLASS_BYTES)
        absent = (offset == ABSENT) & ((extension != "cls") | (rows["cls"] == NO_CLASS))
        if not np.all(inside | absent):
            return False
    return True
