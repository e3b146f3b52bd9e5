"""A shard that was written is read again, before anybody relies on it."""

import hashlib
import os

from fastdata.errors import PackError
from fastdata.packing.plan import PlannedShard
from fastdata.sources.manifest import ShardEntry
from fastdata.sources.shard import Shard
from fastdata.sources.webdataset import key_hash


def verified(planned: PlannedShard) -> ShardEntry:
    """The entry of a written shard, from its bytes. PackError where it does not hold the planned samples."""
    shard = Shard(planned.path)
    if shard.rows["key"].tolist() != [key_hash(key) for key in planned.keys]:
        raise PackError(f"{planned.path} does not hold the samples written into it: is the disk failing?")
    shard.close()
    with planned.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ShardEntry(planned.path.name, len(planned.keys), os.fstat(file.fileno()).st_size, digest)
