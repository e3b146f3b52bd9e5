"""Folders and tar shards of images into PyTorch training batches, fast and exact.

The parts are loaded when first used (after PEP 562), so that `fastdata --help` need not wait for torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastdata.collate import Normalize, collate
    from fastdata.crop_ready import cut, is_crop_ready, make_crop_ready
    from fastdata.dali import Dali
    from fastdata.datasets import ImageDirectoryDataset, TarImageDataset
    from fastdata.decode import DecodeError, decode, read_header
    from fastdata.jpeg import JpegError
    from fastdata.loader import Loader, Stats
    from fastdata.order import EpochOrder, EpochPlan, Place
    from fastdata.sample import Batch, Sample, SampleError
    from fastdata.sampler import EpochSampler
    from fastdata.skipping import Skipped, TooManySkippedError
    from fastdata.state import StateError
    from fastdata.tar import TarError
    from fastdata.transforms import (
        Box,
        CenterCrop,
        RandomHorizontalFlip,
        RandomResizedCrop,
        Resize,
        Transform,
        View,
        draw,
        sample_rng,
    )

__version__ = "0.1.0"

_HOME = {
    "Batch": "sample",
    "Box": "transforms",
    "CenterCrop": "transforms",
    "Dali": "dali",
    "DecodeError": "decode",
    "EpochOrder": "order",
    "EpochPlan": "order",
    "EpochSampler": "sampler",
    "ImageDirectoryDataset": "datasets",
    "JpegError": "jpeg",
    "Loader": "loader",
    "Normalize": "collate",
    "Place": "order",
    "RandomHorizontalFlip": "transforms",
    "RandomResizedCrop": "transforms",
    "Resize": "transforms",
    "Sample": "sample",
    "SampleError": "sample",
    "Skipped": "skipping",
    "StateError": "state",
    "Stats": "loader",
    "TarError": "tar",
    "TarImageDataset": "datasets",
    "TooManySkippedError": "skipping",
    "Transform": "transforms",
    "View": "transforms",
    "collate": "collate",
    "cut": "crop_ready",
    "decode": "decode",
    "draw": "transforms",
    "is_crop_ready": "crop_ready",
    "make_crop_ready": "crop_ready",
    "read_header": "decode",
    "sample_rng": "transforms",
}

__all__ = [
    "Batch",
    "Box",
    "CenterCrop",
    "Dali",
    "DecodeError",
    "EpochOrder",
    "EpochPlan",
    "EpochSampler",
    "ImageDirectoryDataset",
    "JpegError",
    "Loader",
    "Normalize",
    "Place",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "Sample",
    "SampleError",
    "Skipped",
    "StateError",
    "Stats",
    "TarError",
    "TarImageDataset",
    "TooManySkippedError",
    "Transform",
    "View",
    "__version__",
    "collate",
    "cut",
    "decode",
    "draw",
    "is_crop_ready",
    "make_crop_ready",
    "read_header",
    "sample_rng",
]


class _Package(ModuleType):
    """Gives the public names on first use, and keeps a module from hiding the function of its name.

    Importing `fastdata.collate` would set it as the package's attribute, where `fastdata.collate` is the function.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{self.__name__}.{_HOME[name]}"), name)
        super().__setattr__(name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *__all__})


sys.modules[__name__].__class__ = _Package
