"""The index of a shard: which of its members make which sample, built once and kept in a file beside it."""

import os
from contextlib import suppress

from fastdata.sources.regular import open_regular
from fastdata.sources.tars.index_file import Summary, crc_of, index_path, load, store, stored_summary
from fastdata.sources.tars.rows import ABSENT, MAX_CLASS_BYTES, NO_CLASS, Rows, RowsBuilder, class_in, extensions
from fastdata.sources.tars.tar import Member, pread
from fastdata.sources.tars.webdataset import groups

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
    fd = open_regular(path)
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
    fd = open_regular(path)
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
