"""The index of a shard: which of its members make which sample, built once and kept in a file beside it."""

import os
from array import array
from contextlib import suppress

import numpy as np

from fastdata.errors import TarError
from fastdata.sources.index_file import Summary, crc_of, index_path, load, store, stored_summary
from fastdata.sources.rows import ABSENT, MAX_CLASS_BYTES, NO_CLASS, Rows, class_in, extensions, row_type
from fastdata.sources.tar import Member, pread
from fastdata.sources.webdataset import groups, key_hash

__all__ = [
    "ABSENT",
    "NO_CLASS",
    "Rows",
    "Summary",
    "build",
    "extensions",
    "index_count",
    "index_path",
    "index_summary",
    "load",
    "shard_rows",
    "store",
    "store_index",
]

_MAX_EXTENSIONS = 64
_REMEMBERED = 1 << 30  # bytes of indexes that a process keeps, for shards that are opened again: of 19 million samples


def build(fd: int, path: str) -> Rows:
    """The index of an open shard, from its headers and cls members.

    TarError for a shard that is damaged, OSError that names it where it can't be read.
    """
    try:
        return _build(fd, path)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, while it was indexed", path) from error


def _build(fd: int, path: str) -> Rows:
    keys, starts, classes = array("Q"), array("q"), array("q")
    spans: dict[str, array[int]] = {}
    for row, (key, start, parts) in enumerate(groups(fd, path)):
        keys.append(key_hash(key))
        starts.append(start)
        classes.append(_class(fd, parts["cls"]) if "cls" in parts else NO_CLASS)
        for extension, member in parts.items():
            column = spans.get(extension)
            if column is None:
                if len(spans) == _MAX_EXTENSIONS:
                    problem = f"{extension!r} is extension {len(spans) + 1} after {', '.join(list(spans)[:5])}, …"
                    raise TarError.at(path, member.start, f"{problem}: is this a shard in WebDataset layout?")
                column = spans[extension] = array("q")
            column.extend((row, member.offset, member.size))
    rows = np.empty(len(keys), row_type(list(spans)))
    rows["key"], rows["start"], rows["cls"] = keys, starts, classes
    for extension, column in spans.items():
        field = rows["." + extension]
        field["offset"], field["size"] = ABSENT, 0
        which, offset, size = np.frombuffer(column, np.int64).reshape(-1, 3).T
        field["offset"][which], field["size"][which] = offset, size
    return rows


def shard_rows(fd: int, path: str, keep: bool = True) -> Rows:
    """The index of an open shard: the stored one if it is this shard's, else one that is built.

    With `keep` a built one is stored beside the shard, if that is possible. The last ones stay in memory: a shard that
    is opened again and again does not pay for its index each time, nor does one for which no index can be stored.
    """
    stat = os.fstat(fd)
    state = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    rows = _memory.get(state)
    if rows is None:
        rows = load(fd, path)
        if rows is None:
            rows = build(fd, path)
            if keep:
                with suppress(OSError):  # a folder that can't be written, a full disk: reading does not depend on it
                    store(path, stat, rows)
        rows.flags.writeable = False
        _remember(state, rows)
    return rows


# Without a lock, which a fork could leave held for ever: a dict takes care of itself, and a sum that threads have mixed
# up is made anew where it matters.
_memory: dict[tuple[int, ...], Rows] = {}
_remembered = 0


def _remember(state: tuple[int, ...], rows: Rows) -> None:
    """Keep the index of a shard in this state, and let go of the oldest where they are too large together."""
    global _remembered
    _memory[state] = rows
    _remembered += rows.nbytes
    if _remembered > _REMEMBERED:
        kept = list(_memory.items())
        _remembered = sum(each.nbytes for _, each in kept)
        for known, each in kept[:-1]:
            if _remembered <= _REMEMBERED * 3 // 4:  # not one by one from then on
                break
            _memory.pop(known, None)
            _remembered -= each.nbytes


def index_summary(path: str | os.PathLike[str]) -> Summary:
    """The summary of a shard's index, from the index's trailer where it is stored, else by indexing the shard.

    Raises TarError if the shard has no valid index and can't be indexed, OSError if it can't be opened.
    """
    path = os.fspath(path)
    fd = os.open(path, os.O_RDONLY)
    try:
        stored = stored_summary(path, os.fstat(fd))
        if stored is not None:
            return stored
        rows = shard_rows(fd, path)
        return Summary(len(rows), crc_of(rows))
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
        rows = load(fd, path)
        if rows is None:
            stat = os.fstat(fd)
            rows = build(fd, path)
            store(path, stat, rows)
        return len(rows)
    finally:
        os.close(fd)


def _class(fd: int, member: Member) -> int:
    """The integer in a cls member, or NO_CLASS."""
    return NO_CLASS if member.size > MAX_CLASS_BYTES else class_in(pread(fd, member.size, member.offset))
