"""`fastdata index`: indexes for fastdata and for other readers."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def _write_dali_index(shard: Path) -> Path:
    from fastdata.files import whole_file
    from fastdata.sources.shard import dali_index

    path = shard.with_suffix(".idx")
    text = dali_index(shard)
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    return path


def _wids_index(shards: list[Path]) -> str:
    import json

    from fastdata.sources.manifest import WIDS
    from fastdata.sources.shard import index_count

    entries = [{"url": str(s), "nsamples": index_count(s), "filesize": s.stat().st_size} for s in shards]
    return json.dumps({**WIDS, "shardlist": entries}, indent=1)
