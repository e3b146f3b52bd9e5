"""Write a dataset's index: shard by shard, so that the rows of all of them are never in memory together."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64

from fastdata.files import whole_file
from fastdata.sources.tars.index_layout import CHUNK, IndexEntry, Layout
from fastdata.sources.tars.rows import ABSENT, Rows, dtype_of, extensions, is_sealed

RowsOf = Callable[[int], Rows]
"""Gives the rows of a shard, by its number; it is asked twice for each."""


def write_index(path: Path, shards: int, rows_of: RowsOf) -> IndexEntry:
    """Writes the index of a dataset of so many shards, whole or not at all; gives what its json has to say of it.

    Rows are sealed: they have `end` and `hash`. The same rows give the same bytes. OSError where it
    can't be written.
    """
    samples, names = 0, dict[str, None]()
    for shard in range(shards):
        rows = rows_of(shard)
        samples += len(rows)
        names |= dict.fromkeys(extensions(rows))
    layout = Layout(tuple(names), samples)
    with whole_file(path) as file:
        file.write(layout.head)
        chunks = _Chunks(file)
        for shard in range(shards):
            chunks.add(widened(rows_of(shard), layout.extensions))
        hashes = chunks.finish()
        file.write(layout.tail(hashes))
    return layout.entry(hashes)


class _Chunks:
    """Writes rows, and makes the hash of each chunk of them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hashes, self._hasher, self._left = file, list[int](), xxh3_64(), CHUNK

    def add(self, rows: Rows) -> None:
        data = rows.tobytes()
        self._file.write(data)
        while len(data) >= self._left:
            self._hasher.update(data[: self._left])
            data = data[self._left :]
            self._next()
        self._hasher.update(data)
        self._left -= len(data)

    def finish(self) -> NDArray[np.uint64]:
        if self._left < CHUNK:
            self._next()
        return np.array(self._hashes, np.uint64)

    def _next(self) -> None:
        self._hashes.append(self._hasher.intdigest())
        self._hasher.reset()
        self._left = CHUNK


def widened(rows: Rows, names: Sequence[str]) -> Rows:
    """The same rows with a field for each of these extensions, of which a shard need not have all."""
    wide = np.empty(len(rows), dtype_of(list(names), is_sealed(rows)))
    there = set(rows.dtype.names or ())
    for name in wide.dtype.names or ():
        wide[name] = rows[name] if name in there else (ABSENT, 0)
    return wide
