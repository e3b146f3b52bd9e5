"""`fastdata index`: indexes of shards for other readers."""

import json
from pathlib import Path

from fastdata.files import whole_file
from fastdata.sources.manifest import WIDS
from fastdata.sources.tars.index import index_count
from fastdata.sources.tars.webdataset import dali_index


def write_dali_index(shard: Path) -> Path:
    """Writes `train-000000.idx` beside `train-000000.tar`; gives its path."""
    path = shard.with_suffix(".idx")
    text = dali_index(shard)
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    return path


def wids_index(shards: list[Path]) -> str:
    """The JSON by which wids finds these shards."""
    entries = [{"url": str(s), "nsamples": index_count(s), "filesize": s.stat().st_size} for s in shards]
    return json.dumps({**WIDS, "shardlist": entries}, indent=1)
