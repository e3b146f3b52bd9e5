"""What torch asks for by number: samples in the epoch that was said, or in new views each time."""

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from fastdata.datasets.base import ImageDataset, Transforms
from fastdata.datasets.mapping import Map
from fastdata.epoch.sampler import EpochIndex
from fastdata.epoch.shared import SharedNumbers
from fastdata.sample import Pair
from fastdata.sources.regular import MAX_BYTES


class MapStyleDataset(ImageDataset):
    """What torch asks for by number: `dataset[i]` is (uint8 tensor of shape (3, H, W), target).

    Views are new each time that a sample is asked for, as torchvision's, and reproducible by `torch.manual_seed` where
    those are. With `set_epoch`, or in the order of an `EpochSampler`, they are those of that epoch, exactly.
    """

    _NONE = -1

    def __init__(
        self, transform: Transforms, seed: int, max_pixels: int, map: Map | None = None, max_bytes: int = MAX_BYTES
    ) -> None:
        super().__init__(transform, seed, max_pixels, map, max_bytes)
        self._said = SharedNumbers([self._NONE])  # with workers, which may live through several epochs

    def set_epoch(self, epoch: int | None) -> None:
        """Have `dataset[i]` give the views of this epoch, in workers too; with None, new ones each time."""
        if epoch is not None and operator.index(epoch) < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}")
        self._said.values[0] = self._NONE if epoch is None else epoch

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: int) -> Pair:
        """Image and target of a sample, a pair that knows its `key`; negative numbers count from the end.

        IndexError beyond, TypeError for a slice.
        """
        if isinstance(index, slice):
            raise TypeError("a dataset gives one sample at a time: select(numbers=...) makes a dataset of some")
        size = index.size if isinstance(index, EpochIndex) else None
        return self.pair(range(len(self))[index], self._epoch_of(index), size)

    def __getitems__(self, indices: Sequence[int]) -> list[Pair]:
        """What torch's DataLoader asks for a batch by: the same, some at once.

        ValueError where the order's batches, each of a size of its own, are not the DataLoader's.
        """
        numbers = [range(len(self))[index] for index in indices]
        said = [index for index in indices if isinstance(index, EpochIndex)]
        sizes = list({index.size for index in said} or {None})
        if len(sizes) > 1:
            raise ValueError(f"a batch of images of {sizes}: give EpochSampler the DataLoader's batch_size")
        if len(said) == len(indices) or len(set(numbers)) < len(numbers):
            return self.pairs(numbers, [self._epoch_of(index) for index in indices], sizes[0])
        return self.pairs(numbers, self._epoch_of(indices[0]))

    def _epoch_of(self, index: int) -> int:
        if isinstance(index, EpochIndex):
            return index.epoch
        said = int(self._said.values[0])
        if said != self._NONE or self._has_fixed_views:
            return max(said, 0)
        return int(torch.empty((), dtype=torch.int64, device="cpu").random_())

    @property
    def samples(self) -> "Sequence[tuple[str, Any]]":
        """As torchvision's `samples`: what lies where, and its target; read when asked for."""
        return PlacesAndTargets(self)

    @property
    def imgs(self) -> "Sequence[tuple[str, Any]]":
        """The same, under torchvision's older name."""
        return self.samples

    @property
    def _has_fixed_views(self) -> bool:
        return self.transform.is_fixed and not self.is_mapped

    def _target_of(self, number: int) -> Any:
        return self._read(number).target


class PlacesAndTargets(Sequence[tuple[str, Any]]):
    """A sequence of (path, or shard and offset; target), made when asked for."""

    def __init__(self, dataset: MapStyleDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = range(len(self))[index]
        return self._dataset.where(number), self._dataset._target_of(number)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return (self[number] for number in range(len(self)))
