"""The caches that this process has open: which folder, and how much of its disk."""

import os
import threading
from dataclasses import dataclass

from fastdata.sources.node.cache import CacheDir, cache_folder
from fastdata.sources.node.range_cache import RangeCache
from fastdata.sources.stores.storage import storage_of

_FOLDER = "ranges-1"  # within the cache's folder; another number when its files mean something else


@dataclass(frozen=True, slots=True)
class Cache:
    """Where remote data are kept on this node's disk, and how many bytes of them.

    dir: a folder of one's own, default FASTDATA_CACHE, else the user's cache folder, such as ~/.cache/fastdata.
    limit: bytes, over all processes of the node that use this folder. What was used least recently goes first; 0 keeps
    nothing beyond what is in use. By default half of the disk's free space, what is in the cache already included:
    the other half is for checkpoints, logs and whoever else writes there while a training runs. Shards that are copied
    whole, since no json with an index lists them, are not counted, and stay until somebody removes them.
    """

    dir: CacheDir = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise ValueError(f"limit must be at least 0 bytes, got {self.limit}")


_turn = threading.Lock()
_open: dict[tuple[str, int | None], RangeCache] = {}


def range_cache(cache: Cache) -> RangeCache:
    """The cache, opened once in each process; raises as `cache.local` does."""
    folder = cache_folder(cache.dir)
    key = (os.path.realpath(folder), cache.limit)
    with _turn:
        opened = _open.get(key)
        if opened is None:
            opened = _open[key] = RangeCache(folder / _FOLDER, cache.limit, storage_of)
        return opened


def _in_child() -> None:
    """Locks belong to open files, which a child shares: what it inherits would keep them when its parent has died."""
    global _turn, _open
    inherited, _turn, _open = _open, threading.Lock(), {}
    for cache in inherited.values():
        cache.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
