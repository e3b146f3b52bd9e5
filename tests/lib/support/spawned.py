"""What tests run in a process that was spawned: importable there, and importing no test module."""

from typing import Any

from fastdata.datasets.base import ImageDataset
from fastdata.loading.loader import Loader


def first_targets(dataset: ImageDataset, decoder: Any) -> Any:
    loader = Loader(dataset, 4, decoder=decoder)
    return next(iter(loader)).targets.tolist()
