"""What a shard has open: its file, and its rows by its own index or its dataset's."""

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from fastdata.sources.dataset_index import DatasetIndex, IndexPart
from fastdata.sources.faults import as_machines
from fastdata.sources.manifest import ShardEntry
from fastdata.sources.node.cache import local
from fastdata.sources.node.node_cache import Cache, range_cache
from fastdata.sources.node.sparse import RemoteFile
from fastdata.sources.regular import HoldsDescriptor, open_regular
from fastdata.sources.tars.index import Rows, shard_rows
from fastdata.sources.tars.rows import Entry
from fastdata.sources.urls import is_remote


class Known(NamedTuple):
    """What a dataset's json says of a shard; and the dataset's index, if it has one, with the shard's first row."""

    entry: ShardEntry
    of_dataset: DatasetIndex | None
    first: int

    def remote_file(self, path: str) -> RemoteFile | None:
        """The shard at this path, if it is a URL and its samples can be fetched one by one; None if it can't."""
        if self.of_dataset is None or not is_remote(path):
            return None
        return RemoteFile(path, self.entry.filesize, self.entry.hash)


class OpenedShard(HoldsDescriptor):
    """A shard's file, open until its last user is gone, and its rows."""

    def __init__(self, path: str, keep_index: bool, known: Known | None, cache: Cache) -> None:
        with as_machines(path):
            file = _on_disk(path, known, cache)
        self.fd = open_regular(file)
        self.size = os.fstat(self.fd).st_size
        is_listed = known is not None and self.size == known.entry.filesize
        self.checked = bool(is_listed and known and known.entry.checked)
        """Whether packing has read all of its images to their ends."""
        self.is_indexed = bool(is_listed and known and known.of_dataset)
        """Whether its rows are those of the dataset's index."""
        if known and known.of_dataset and self.is_indexed:
            self.rows: Rows | IndexPart = IndexPart(known.of_dataset, known.first, known.entry.nsamples, self.size)
            self.entry: Callable[[int], Entry] = self.rows.entry
            names = known.of_dataset.dtype.names
        else:
            self.rows = shard_rows(self.fd, file, keep_index)
            self.entry = partial(_entry_of, self.rows)
            names = self.rows.dtype.names
        self.count = len(self.rows)
        self.columns = {name[1:]: place for place, name in enumerate(names or ()) if name.startswith(".")}


def _on_disk(path: str, known: Known | None, cache: Cache) -> str:
    """The file itself; where it is remote the sparse file that its samples are fetched into, else a copy of it."""
    if known is None:
        return local(path, cache.dir)
    remote = known.remote_file(path)
    if remote is not None:
        return str(range_cache(cache).path(remote))
    return local(path, cache.dir, content=known.entry.hash)


def _entry_of(rows: Rows, row: int) -> Entry:
    entry: Entry = rows[row].item()  # all at once, in a third of the time of one by one
    return entry
