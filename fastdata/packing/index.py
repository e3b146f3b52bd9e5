"""The index of a packed dataset, made of those of its shards."""

import os
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from fastdata.errors import PackError
from fastdata.sources.manifest import Manifest, ShardEntry, index_name
from fastdata.sources.tars.index_file import crc_of, load
from fastdata.sources.tars.index_writer import write_index
from fastdata.sources.tars.rows import Rows, is_sealed


def with_index(made: Manifest, folder: Path, rows_of: Callable[[ShardEntry], Rows]) -> Manifest:
    """Writes `<name>.index.npy` of a dataset into the folder; `rows_of` gives the rows of a shard, for each twice.

    Gives the manifest with what it says of the index. PackError where the index can't be written, and what `rows_of`
    raises. One shard's rows are in memory at a time.
    """
    path = folder / index_name(made.name)
    sums: dict[int, int] = {}

    def noted(number: int) -> Rows:
        rows = rows_of(made.shards[number])
        sums[number] = crc_of(rows)
        return rows

    try:
        index = write_index(path, len(made.shards), noted)
    except PackError:
        raise
    except OSError as error:
        raise PackError(f"{path} can't be written: {error.strerror or error}") from error
    shards = tuple(replace(entry, rows=sums[number]) for number, entry in enumerate(made.shards))
    return replace(made, shards=shards, index=index)


def sealed_rows(shard: Path, entry: ShardEntry) -> Rows:
    """The rows of a shard that was just written with its index. PackError where either changed since."""
    with shard.open("rb") as file:
        rows = load(file.fileno(), str(shard))
        same_size = os.fstat(file.fileno()).st_size == entry.filesize
    if rows is None or not is_sealed(rows) or len(rows) != entry.nsamples or not same_size:
        raise PackError(f"{shard} or its index changed since it was written: pack again")
    return rows
