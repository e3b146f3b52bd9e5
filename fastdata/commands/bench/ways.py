"""What every measurement loads: the work, and a Loader that does it."""

from typing import Any

from fastdata.loading.dali.options import check_installed
from fastdata.loading.loader import Loader
from fastdata.transforms.steps import RandomHorizontalFlip, RandomResizedCrop

SIDE = 224
STEPS = (RandomResizedCrop(SIDE), RandomHorizontalFlip())
BATCH_SIZE = 64
DECODERS = ("cpu", "dali")


def loader(dataset: Any, threads: int, decoder: Any = "cpu") -> Loader:
    """Shuffled; bad samples, of which `fastdata report` tells, are left out."""
    return Loader(dataset, BATCH_SIZE, shuffle=True, num_threads=threads, decoder=decoder, on_error="skip")


def has_dali() -> bool:
    """Whether DALI can be imported."""
    try:
        check_installed()
    except ImportError:
        return False
    return True
