"""Batches of a Loader or a DataLoader, to be compared."""

import torch

from fastdata.loading.loader import Loader
from fastdata.sample import Batch


def assert_same_batches(ours: list[Batch], theirs: list[Batch]) -> None:
    assert [batch.targets.tolist() for batch in ours] == [batch.targets.tolist() for batch in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert torch.equal(our.images, their.images)


def targets(batches: Loader) -> list[list[int]]:
    return [batch.targets.tolist() for batch in batches]
