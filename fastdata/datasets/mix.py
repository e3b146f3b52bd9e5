"""torch's Subset and ConcatDataset of this package's datasets, as such a dataset again: with keys, views and places."""

import functools
from collections.abc import Sequence
from hashlib import blake2b
from itertools import takewhile
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from fastdata.datasets.base import Data, ImageDataset, Prepared, Task
from fastdata.errors import SampleError
from fastdata.sample import Sample


def as_image_dataset(dataset: Any) -> ImageDataset:
    """The dataset itself, or what torch has made of some; TypeError for anything else."""
    if isinstance(dataset, ImageDataset):
        return dataset
    if isinstance(dataset, Subset):
        return SelectedSamples(as_image_dataset(dataset.dataset), np.fromiter(dataset.indices, np.int64))
    if isinstance(dataset, ConcatDataset):
        return JoinedDatasets([as_image_dataset(part) for part in dataset.datasets])
    raise TypeError(
        f"Loader takes an ImageDirectoryDataset, a TarImageDataset, or a Subset or ConcatDataset of such, got a "
        f"{type(dataset).__name__}"
    )


class SelectedSamples(ImageDataset):
    """Some samples of a dataset, by their numbers in it, in the order given."""

    def __init__(self, dataset: ImageDataset, numbers: "np.ndarray[Any, np.dtype[np.int64]]") -> None:
        super().__init__(dataset.transform, dataset.seed, dataset.max_pixels)
        outside = numbers[(numbers < -dataset.num_samples) | (numbers >= dataset.num_samples)]
        if outside.size:
            raise IndexError(f"index {outside[0]} of a Subset is not one of its dataset's {dataset.num_samples}")
        self._dataset = dataset
        self._numbers = numbers % max(dataset.num_samples, 1)  # negative ones count from the end

    @property
    def num_samples(self) -> int:
        return len(self._numbers)

    @functools.cached_property
    def fingerprint(self) -> str:
        digest = blake2b(self._dataset.fingerprint.encode(), digest_size=8)
        digest.update(self._numbers.astype("<i8").tobytes())
        return digest.hexdigest()

    def key(self, number: int) -> str:
        return self._dataset.key(int(self._numbers[number]))

    def where(self, number: int) -> str:
        return self._dataset.where(int(self._numbers[number]))

    def _read(self, number: int) -> Sample[bytes]:
        return self._dataset._read(int(self._numbers[number]))

    def read_some(self, numbers: Sequence[int]) -> list[Sample[Data] | SampleError]:
        return self._dataset.read_some(self._numbers[numbers].tolist())


class JoinedDatasets(ImageDataset):
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
        return blake2b("/".join([part.fingerprint for part in self._parts]).encode(), digest_size=8).hexdigest()

    def key(self, number: int) -> str:
        part, own = self._locate(number)
        return part.key(own)

    def where(self, number: int) -> str:
        part, own = self._locate(number)
        return part.where(own)

    def _read(self, number: int) -> Sample[bytes]:
        part, own = self._locate(number)
        return part._read(own)

    def prepare(self, numbers: Sequence[int], epoch: int) -> Task:
        part, _ = self._locate(numbers[0])
        located = [self._locate(number) for number in numbers]
        own = [own for _, own in takewhile(lambda at: at[0] is part, located)]
        task = part.prepare(own, epoch)
        samples: list[Prepared | SampleError] = [
            sample if isinstance(sample, SampleError) else sample._replace(number=number)
            for sample, number in zip(task.samples, numbers, strict=False)
        ]
        return task._replace(samples=samples)

    def _locate(self, number: int) -> tuple[ImageDataset, int]:
        at = int(np.searchsorted(self._ends, number, side="right"))
        return self._parts[at], number - (int(self._ends[at - 1]) if at else 0)
