"""What tests run in a process that was spawned: importable there, and importing no test module."""

import os
from typing import Any

import torch
from torch.utils.data import Dataset

from fastdata.loading.loader import Loader
from fastdata.sources.shard_cache import ShardCache
from support.tars import Files, contents


def first_targets(dataset: Dataset[Any], decoder: Any) -> Any:
    loader = Loader(dataset, 4, decoder=decoder)
    return next(iter(loader)).targets.tolist()


def put_keys_of_rank(rank: int, world_size: int, dataset: Any, answers: Any) -> None:
    """The keys that a rank gets by iterating over the dataset, and those by a Loader."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world_size)}
    answers.put(([pair.key for pair in dataset], [key for batch in Loader(dataset, 4) for key in batch.keys]))


class CountingThreads(torch.utils.data.Dataset[tuple[int, int]]):
    """How many threads a process has before a sample of `dataset` is made in it, and after."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[int, int]:
        before = len(os.listdir("/proc/self/task"))
        self.dataset[index]
        return before, len(os.listdir("/proc/self/task"))


def first_of(cache: ShardCache) -> Files:
    """The first shard's contents."""
    return contents(cache[0])
