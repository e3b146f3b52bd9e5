"""`fastdata index`: indexes of shards for other readers."""

import json
from collections.abc import Sequence
from pathlib import Path

from fastdata.commands.named import named_shards
from fastdata.files import whole_file
from fastdata.sources.listing import list_shards
from fastdata.sources.manifest import WIDS
from fastdata.sources.tars.webdataset import dali_index
from fastdata.sources.urls import expand, is_remote


def write_dali_index(shard: Path) -> Path:
    """Writes `train-000000.idx` beside `train-000000.tar`; gives its path."""
    path = shard.with_suffix(".idx")
    text = dali_index(shard)
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    return path


def local_shards(urls: Sequence[str]) -> list[Path]:
    """The shards beside which an index can be written. ValueError for one that is elsewhere; raises as `expand`."""
    if elsewhere := next(filter(is_remote, urls), None):
        raise ValueError(
            f"{elsewhere} is elsewhere, and an index is written beside a shard: copy the shards here first, or pack "
            "them by fastdata shard, which puts the dataset's index beside its json (--format wids takes URLs)"
        )
    return list(map(Path, expand(urls)))


def wids_index(urls: Sequence[str]) -> str:
    """The JSON by which wids finds the shards, local or not, that paths, URLs, patterns or jsons name.

    Remote shards that no json lists are copied into the node's cache, to be counted. Raises as `list_shards`.
    """
    listing, _ = list_shards([shard for url in urls for shard in named_shards(url)])
    rows = zip(listing.shards, listing.counts(), listing.filesizes(), strict=True)
    entries = [{"url": url, "nsamples": count, "filesize": size} for url, count, size in rows]
    return json.dumps({**WIDS, "shardlist": entries}, indent=1)
