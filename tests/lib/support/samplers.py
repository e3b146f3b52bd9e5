"""EpochSamplers of datasets whose samples are their own numbers."""

import itertools
from typing import Any

import torch
from torch.utils.data import Dataset

from fastdata.epoch.order import EpochOrder
from fastdata.epoch.sampler import EpochSampler


class Numbers(Dataset[int]):
    """A map-style dataset whose samples are their own ids."""

    def __init__(self, count: int, fingerprint: str | None = "numbers") -> None:
        self.count, self.fingerprint = count, fingerprint

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


def samplers(n: int, batch_size: int | None, world_size: int, **options: Any) -> list[EpochSampler]:
    """One sampler for each rank."""
    return [
        EpochSampler(Numbers(n), batch_size, rank=rank, world_size=world_size, **options) for rank in range(world_size)
    ]


def order_of(n: int, epoch: int = 0, seed: int = 0) -> list[int]:
    ids: list[int] = EpochOrder(n, shuffle=True, seed=seed, epoch=epoch).samples(0, n).tolist()
    return ids


def samples_from(loader: Any, batches: int | None = None) -> list[int]:
    """The samples of the first batches of a loop over it, or of all; the loop is left where it is."""
    received = itertools.islice(loader, batches) if batches != 0 else []
    return [int(sample) for batch in received for sample in torch.as_tensor(batch).reshape(-1)]
