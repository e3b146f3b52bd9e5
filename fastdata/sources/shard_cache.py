"""Many shards, of which a few are open."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from fastdata.sources.regular import share_of_files
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
        self._shard = lru_cache(min(max_open, share_of_files(4)))(self.shard_at)

    def __reduce__(self) -> tuple[type["ShardCache"], tuple[object, ...]]:
        return ShardCache, (self.paths, self.max_open, self.shard_at)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> Shard:
        return self._shard(position)


def _shard_of(paths: Sequence[str], position: int) -> Shard:
    return Shard(paths[position])
