"""Many shards, of which a few are open."""

import resource
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from fastdata.sources.shard import Shard


class ShardCache:
    """Shards by position, of which the last used `max_open` stay open, but no more than a quarter of the files that
    this process may open.

    For any number of shards, threads and processes; a shard that is still being read stays open all the same.
    `shard_at` makes a shard, of its path alone by default.
    """

    def __init__(
        self, paths: Sequence[str], max_open: int = 64, shard_at: Callable[[int], Shard] | None = None
    ) -> None:
        if max_open < 1:
            raise ValueError(f"max_open must be at least 1, not {max_open}")
        self.paths, self.max_open, self.shard_at = paths, max_open, shard_at or partial(_shard_of, paths)
        self._shard = lru_cache(min(max_open, _share_of_files()))(self.shard_at)

    def __reduce__(self) -> tuple[type["ShardCache"], tuple[object, ...]]:
        return ShardCache, (self.paths, self.max_open, self.shard_at)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> Shard:
        return self._shard(position)


def _shard_of(paths: Sequence[str], position: int) -> Shard:
    return Shard(paths[position])


def _share_of_files() -> int:
    """A quarter of the descriptors that this process may have, by `ulimit -n`: threads hold others while they read."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft // 4) if soft != resource.RLIM_INFINITY else 1 << 20
