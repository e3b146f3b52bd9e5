"""Shards are read again after they were written."""

import hashlib
import os

from fastdata.errors import PackError
from fastdata.packing.plan import PlannedShard
from fastdata.sources.manifest import ShardEntry
from fastdata.sources.shard import Shard, key_hash


def _verified(job: PlannedShard) -> ShardEntry:
    """The shard's entry, from reading it again."""
    shard = Shard(job.path)
    if shard.rows["key"].tolist() != [key_hash(key) for key in job.keys]:
        raise PackError(f"{job.path} does not hold the samples written into it: is the disk failing?")
    shard.close()
    with job.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ShardEntry(job.path.name, len(job.keys), os.fstat(file.fileno()).st_size, digest)
