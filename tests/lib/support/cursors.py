"""Datasets of an EpochCursor alone, which give what it says: no image is read."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import IterableDataset

from fastdata.epoch.cursor import EpochCursor

SEED = 3


def fingerprint() -> str:
    return "numbers"


def cursor(samples: int, batch_size: int | None = None, rank: int = 0, world_size: int = 1, **how: Any) -> EpochCursor:
    """A rank's cursor over so many samples, in an order by SEED."""
    how = {"shuffle": True, "last": "partial", **how}
    return EpochCursor(samples, SEED, batch_size=batch_size, ranks=(rank, world_size), fingerprint=fingerprint, **how)


class Numbers(IterableDataset[tuple[int, int]]):
    """Pairs of the epoch that this process has begun, and a sample's number in it."""

    def __init__(self, samples: int) -> None:
        self.cursor = cursor(samples)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        run = self.cursor.begin()
        return ((run.epoch, number) for batch in run.batches() for number in batch.tolist())
