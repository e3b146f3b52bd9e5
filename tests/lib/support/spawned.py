"""What tests run in a process that was spawned: importable there, and importing no test module."""

from typing import Any

from torch.utils.data import Dataset

from fastdata.loading.loader import Loader


def first_targets(dataset: Dataset[Any], decoder: Any) -> Any:
    loader = Loader(dataset, 4, decoder=decoder)
    return next(iter(loader)).targets.tolist()
