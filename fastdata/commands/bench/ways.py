"""What every measurement loads: the work, and a Loader that does it."""

from typing import Any

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.shards import TarImageDataset
from fastdata.epoch.repeated import Repeated
from fastdata.loading.dali.options import check_installed
from fastdata.loading.loader import Loader
from fastdata.transforms.steps import RandomHorizontalFlip, RandomResizedCrop

SIDE = 224
STEPS = (RandomResizedCrop(SIDE), RandomHorizontalFlip())
BATCH_SIZE = 64
DECODERS = ("cpu", "dali")
_BATCHES = 32  # of an epoch, at least: a few photos would make it a contest in beginning epochs


def loader(dataset: Any, threads: int, decoder: Any = "cpu") -> Loader:
    """Shuffled; bad samples, of which `fastdata report` tells, are left out."""
    order, all_of_them = long_epochs(dataset), max(dataset.num_samples, _BATCHES * BATCH_SIZE)
    return Loader(
        dataset,
        BATCH_SIZE,
        shuffle=True,
        order=order,
        num_threads=threads,
        decoder=decoder,
        on_error="skip",
        max_skipped=all_of_them,
    )


def long_epochs(dataset: ImageDataset | TarImageDataset) -> Repeated | None:
    """The order in which the few photos of a dataset come again and again in an epoch; None where there are many."""
    samples = _BATCHES * BATCH_SIZE
    return Repeated(1, samples) if dataset.num_samples < samples else None


def has_dali() -> bool:
    """Whether DALI can be imported."""
    try:
        check_installed()
    except ImportError:
        return False
    return True
