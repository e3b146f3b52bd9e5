"""torch's Subset and ConcatDataset of this package's datasets, as such a dataset again: with keys, views and places."""

import functools
from abc import abstractmethod
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import ConcatDataset, Subset

from fastdata.datasets.base import Data, ImageDataset, Prepared, Task
from fastdata.epoch.identity import fingerprint_of_joined, fingerprint_of_selected, own_numbers
from fastdata.errors import ReadError, SampleError
from fastdata.images.header import Header
from fastdata.sample import Sample
from fastdata.transforms.steps import View


def as_image_dataset(dataset: Any) -> ImageDataset:
    """The dataset itself, or what torch has made of some; TypeError for anything else."""
    if isinstance(dataset, ImageDataset):
        return dataset
    if isinstance(dataset, Subset):
        images = as_image_dataset(dataset.dataset)
        return SelectedSamples(images, own_numbers(dataset.indices, images.num_samples))
    if isinstance(dataset, ConcatDataset):
        return JoinedDatasets([as_image_dataset(part) for part in dataset.datasets])
    raise TypeError(
        "Loader takes an ImageDirectoryDataset, a TarImageDataset, or a Subset or ConcatDataset of such, got a "
        f"{type(dataset).__name__}"
    )


class _OtherNumbers(ImageDataset):
    """Samples of other datasets under other numbers. What becomes of one is its own dataset's affair."""

    @abstractmethod
    def _locate(self, number: int) -> tuple[ImageDataset, int]:
        """The dataset that a sample is of, and its number there."""

    def key(self, number: int) -> str:
        part, own = self._locate(number)
        return part.key(own)

    def where(self, number: int) -> str:
        part, own = self._locate(number)
        return part.where(own)

    def _read(self, number: int) -> Sample[bytes]:
        part, own = self._locate(number)
        return part._read(own)

    def read_some(self, numbers: Sequence[int]) -> list[Sample[Data] | SampleError]:
        part, own = self._of_one_part(numbers)
        return [self._renumbered(sample, number) for sample, number in zip(part.read_some(own), numbers, strict=False)]

    def prepare(self, numbers: Sequence[int], epoch: int) -> Task:
        part, own = self._of_one_part(numbers)
        task = part.prepare(own, epoch)
        samples: list[Prepared | SampleError] = [
            self._renumbered(sample, number) for sample, number in zip(task.samples, numbers, strict=False)
        ]
        return task._replace(samples=samples)

    def _of_one_part(self, numbers: Sequence[int]) -> tuple[ImageDataset, list[int]]:
        """The first of these samples, those that are of one dataset."""
        _, group = next(groupby(map(self._locate, numbers), key=lambda located: id(located[0])))
        located = list(group)
        return located[0][0], [own for _, own in located]

    def _renumbered(self, sample: Any, number: int) -> Any:
        if isinstance(sample, Prepared):
            return sample._replace(number=number)
        if isinstance(sample, ReadError) and sample.key.startswith("number "):  # whose key can't be read
            return sample.at(f"number {number}", sample.where)
        return sample


class SelectedSamples(_OtherNumbers):
    """Some samples of a dataset, by their numbers in it (from 0 on), in the order given."""

    def __init__(self, dataset: ImageDataset, numbers: npt.NDArray[np.int64]) -> None:
        super().__init__(dataset.transform, dataset.seed, dataset.max_pixels)
        self._dataset = dataset
        self._numbers = numbers

    @property
    def num_samples(self) -> int:
        return len(self._numbers)

    @functools.cached_property
    def fingerprint(self) -> str:
        return fingerprint_of_selected(self._dataset.fingerprint, self._numbers)

    @property
    def is_mapped(self) -> bool:
        return self._dataset.is_mapped

    def draw(self, sample: Sample[bytes], epoch: int) -> tuple[Header, View]:
        return self._dataset.draw(sample, epoch)

    def _locate(self, number: int) -> tuple[ImageDataset, int]:
        return self._dataset, int(self._numbers[number])


class JoinedDatasets(_OtherNumbers):
    """Datasets one after the other. Each draws the views of its own samples, which come out in one size."""

    def __init__(self, parts: Sequence[ImageDataset]) -> None:
        super().__init__(parts[0].transform, parts[0].seed, parts[0].max_pixels)
        sizes = {part.transform.output_size for part in parts}
        if len(sizes) > 1:
            raise ValueError(
                f"datasets whose images come out in different sizes can't be one: {sorted(map(str, sizes))}"
            )
        self._parts = parts
        self._ends = np.cumsum([part.num_samples for part in parts])

    @property
    def num_samples(self) -> int:
        return int(self._ends[-1])

    @functools.cached_property
    def fingerprint(self) -> str:
        return fingerprint_of_joined([part.fingerprint for part in self._parts])

    @property
    def is_mapped(self) -> bool:
        return any(part.is_mapped for part in self._parts)

    def draw(self, sample: Sample[bytes], epoch: int) -> tuple[Header, View]:
        """As of every dataset. TypeError where parts draw differently: a sample does not say whose it is."""
        if len({(part.transform, part.seed, part.max_pixels) for part in self._parts}) > 1:
            raise TypeError("these datasets have transforms or seeds of their own: prepare the sample by its number")
        return self._parts[0].draw(sample, epoch)

    def _locate(self, number: int) -> tuple[ImageDataset, int]:
        at = int(np.searchsorted(self._ends, number, side="right"))
        return self._parts[at], number - (int(self._ends[at - 1]) if at else 0)
