"""Datasets of an EpochCursor alone, which give what it says: no image is read."""

from collections.abc import Iterator

from torch.utils.data import IterableDataset

from fastdata.epoch.cursor import EpochCursor
from fastdata.epoch.orders import PlainOrders
from fastdata.epoch.plan import Last

SEED = 3


def fingerprint() -> str:
    return "numbers"


def cursor(
    samples: int,
    batch_size: int | None = None,
    rank: int | None = 0,
    world_size: int | None = 1,
    shuffle: bool = True,
    last: Last = "partial",
) -> EpochCursor:
    """A rank's cursor over so many samples, in an order by SEED."""
    return EpochCursor(PlainOrders(samples, shuffle, SEED), batch_size, last, (rank, world_size), fingerprint)


class Numbers(IterableDataset[tuple[int, int]]):
    """Pairs of the epoch that this process has begun, and a sample's number in it."""

    def __init__(self, samples: int) -> None:
        self.cursor = cursor(samples)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        run = self.cursor.begin()
        return ((run.epoch, number) for batch in run.batches() for number in batch.numbers.tolist())
