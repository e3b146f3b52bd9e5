"""torch's Subset and ConcatDataset of this package's datasets, as what those are here."""

from typing import Any

from torch.utils.data import ConcatDataset, Subset

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.concatenation import ConcatenatedDatasets
from fastdata.datasets.selection import SelectedSamples
from fastdata.epoch.identity import own_numbers
from fastdata.epoch.orders import check_no_order_is_lost


def as_image_dataset(dataset: Any) -> ImageDataset:
    """The dataset itself, or what torch has made of some; TypeError for anything else."""
    if isinstance(dataset, ImageDataset):
        return dataset
    check_no_order_is_lost(dataset)
    if isinstance(dataset, Subset):
        images = as_image_dataset(dataset.dataset)
        return SelectedSamples(images, own_numbers(dataset.indices, images.num_samples))
    if isinstance(dataset, ConcatDataset):
        return ConcatenatedDatasets([as_image_dataset(part) for part in dataset.datasets])
    raise TypeError(
        "Loader takes an ImageDirectoryDataset, a TarImageDataset, or a Subset or ConcatDataset of such, got a "
        f"{type(dataset).__name__}"
    )
