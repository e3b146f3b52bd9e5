"""A shard that was written is read again, before anybody relies on it."""

import hashlib
import os

import numpy as np

from fastdata.errors import PackError
from fastdata.packing.plan import PlannedField, PlannedShard
from fastdata.sources.index import ABSENT
from fastdata.sources.manifest import ShardEntry
from fastdata.sources.shard import Shard
from fastdata.sources.webdataset import key_hash


def verified(planned: PlannedShard) -> ShardEntry:
    """The entry of a written shard, from its bytes. PackError where it does not hold the planned samples."""
    shard = Shard(planned.path)
    keys = shard.rows["key"].tolist() == [key_hash(key) for key in planned.keys]
    if not keys or not all(_holds(shard, field) for field in planned.fields):
        raise PackError(f"{planned.path} does not hold the samples written into it: is the disk failing?")
    shard.close()
    with planned.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ShardEntry(planned.path.name, len(planned.keys), os.fstat(file.fileno()).st_size, digest)


def _holds(shard: Shard, field: PlannedField) -> bool:
    """Whether each sample has the field's bytes, or lacks it, as planned."""
    if field.name not in shard.extensions:
        return bool((field.sizes < 0).all())
    spans = shard.rows["." + field.name]
    return np.array_equal(np.where(spans["offset"] == ABSENT, -1, spans["size"]), field.sizes)
