"""Some samples of a dataset, and datasets one after the other, as a dataset again: with keys, views and places.

So are torch's Subset and ConcatDataset of this package's datasets taken.
"""

import functools
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, takewhile
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.map_style import MapStyleDataset
from fastdata.datasets.prepared import Data, Prepared, Task
from fastdata.epoch.identity import fingerprint_of_joined, fingerprint_of_selected, own_numbers
from fastdata.epoch.orders import check_no_order_is_lost
from fastdata.epoch.sampler import EpochIndex
from fastdata.errors import ReadError, SampleError
from fastdata.images.header import Header
from fastdata.sample import Sample, Size, key_hash
from fastdata.sources.read_ahead import NONE_BESIDE, Beside
from fastdata.transforms.view import View


def as_image_dataset(dataset: Any) -> ImageDataset:
    """The dataset itself, or what torch has made of some; TypeError for anything else."""
    if isinstance(dataset, ImageDataset):
        return dataset
    check_no_order_is_lost(dataset)
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

    @abstractmethod
    def _parts_used(self) -> Sequence[ImageDataset]:
        """The datasets that samples are of."""

    @property
    def is_far(self) -> bool:
        return any(part.is_far for part in self._parts_used())

    def expect(self, numbers: Sequence[int], beside: Beside = NONE_BESIDE) -> None:
        """As of every dataset; each part is told of its own. Neighbours here need not be neighbours there."""
        by_part: dict[int, tuple[ImageDataset, list[int]]] = {}
        for part, own in map(self._locate, numbers):
            by_part.setdefault(id(part), (part, []))[1].append(own)
        for part, of_part in by_part.values():
            part.expect(of_part)

    def expect_nothing(self) -> None:
        """As of every dataset."""
        for part in self._parts_used():
            part.expect_nothing()

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

    def read_beginning(self, number: int, length: int) -> bytes:
        part, own = self._locate(number)
        return part.read_beginning(own, length)

    def prepare(self, numbers: Sequence[int], epochs: int | Sequence[int], size: Size | None = None) -> Task:
        """As of every dataset: what is of one part is prepared at once, wherever it stands among these samples."""
        located = [self._locate(number) for number in numbers]
        places: dict[int, list[int]] = {}
        for place, (part, _) in enumerate(located):
            places.setdefault(id(part), []).append(place)
        samples: list[Prepared | SampleError | None] = [None] * len(numbers)
        read_ns = draw_ns = 0
        for own in places.values():
            own_epochs = epochs if isinstance(epochs, int) else [epochs[place] for place in own]
            task = located[own[0]][0].prepare([located[place][1] for place in own], own_epochs, size)
            for place, sample in zip(own, task.samples, strict=False):
                samples[place] = self._renumbered(sample, numbers[place])
            read_ns, draw_ns = read_ns + task.read_ns, draw_ns + task.draw_ns
        first = list(takewhile(lambda sample: sample is not None, samples))
        return Task(first, read_ns, draw_ns)  # type: ignore[arg-type] # none of them is None

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


class Selectable(MapStyleDataset):
    """A dataset of which some samples can be selected."""

    def select(
        self,
        where: Callable[[str, Any], bool] | None = None,
        *,
        keys: Iterable[str] | None = None,
        numbers: "Sequence[int] | npt.NDArray[Any] | slice | None" = None,
    ) -> "SelectedSamples":
        """Some of the samples as a dataset, with the same keys and views.

        Those for which `where(key, target)` is true; or those of some `keys`, in their order; or by `numbers`, a slice,
        or a mask (bools, one a sample). ValueError for a key that no sample has, or where nothing is selected,
        IndexError for a number out of range, TypeError unless one of the three is given.
        """
        if sum(given is not None for given in (where, keys, numbers)) != 1:
            raise TypeError("select by one of where=, keys= and numbers=")
        if where is not None:
            chosen = [number for number in range(len(self)) if where(self.key(number), self._target_of(number))]
        elif keys is not None:
            chosen = _numbers_of(self, [keys] if isinstance(keys, str) else list(keys))
        else:
            chosen = _listed(numbers, len(self))
        if not len(chosen):
            raise ValueError(f"none of {len(self)} samples is selected")
        return SelectedSamples(self, own_numbers(chosen, len(self)))


def _numbers_of(dataset: ImageDataset, keys: list[str]) -> list[int]:
    """The sample numbers of some keys."""
    hashes = dataset.key_hashes()
    by_hash = np.argsort(hashes, kind="stable")
    asked = np.array([key_hash(key) for key in keys], np.uint64)
    at = np.searchsorted(hashes, asked, sorter=by_hash)
    numbers: list[int] = by_hash[np.minimum(at, len(by_hash) - 1)].tolist()
    for key, number in zip(keys, numbers, strict=True):
        if dataset.key(number) != key:
            raise ValueError(f"no sample has the key {key!r}; the first one's is {dataset.key(0)!r}")
    return numbers


def _listed(numbers: Any, samples: int) -> Any:
    """Numbers, those of a slice, or where a mask is true."""
    if isinstance(numbers, slice):
        return range(samples)[numbers]
    listed = np.asarray(numbers)
    if listed.size and listed.dtype.kind not in "iub":
        raise TypeError(f"numbers of samples are integers, or a mask of bools, got {listed.dtype}")
    if listed.dtype != np.bool_:
        return listed.astype(np.int64).tolist()
    if listed.shape != (samples,):
        raise ValueError(f"a mask has one bool for each of {samples} samples, got shape {listed.shape}")
    return np.flatnonzero(listed)


class SelectedSamples(_OtherNumbers, Selectable, Dataset[tuple[Tensor, Any]]):
    """Some samples of a dataset, by their numbers in it (from 0 on), in the order given."""

    def __init__(self, dataset: ImageDataset, numbers: npt.NDArray[np.int64]) -> None:
        super().__init__(dataset.transform, dataset.seed, dataset.max_pixels)
        self._dataset = dataset
        self._numbers = numbers

    @property
    def targets(self) -> Any:
        """The target of every sample, where the dataset knows its own: int64 of shape (num_samples,), or a list."""
        targets = self._dataset.targets  # type: ignore[attr-defined] # AttributeError says that there are none
        if isinstance(targets, np.ndarray):
            return targets[self._numbers]
        return [targets[number] for number in self._numbers.tolist()]

    @property
    def classes(self) -> Any:
        """The names of the dataset's classes."""
        return self._dataset.classes  # type: ignore[attr-defined]

    @property
    def class_to_idx(self) -> Any:
        """The index of each of them."""
        return self._dataset.class_to_idx  # type: ignore[attr-defined]

    def _epoch_of(self, index: int) -> int:
        """As of every dataset; where none was said here, that which the whole dataset was told."""
        told = isinstance(index, EpochIndex) or int(self._said.values[0]) != self._NONE
        if told or not isinstance(self._dataset, MapStyleDataset):
            return super()._epoch_of(index)
        return self._dataset._epoch_of(index)

    @property
    def _has_fixed_views(self) -> bool:
        return self._dataset.transform.is_fixed and not self.is_mapped

    @property
    def num_samples(self) -> int:
        return len(self._numbers)

    @functools.cached_property
    def fingerprint(self) -> str:
        return fingerprint_of_selected(self._dataset.fingerprint, self._numbers)

    @property
    def is_mapped(self) -> bool:
        return self._dataset.is_mapped

    @functools.cached_property
    def image_sizes(self) -> npt.NDArray[np.int32]:
        return self._dataset.image_sizes[self._numbers]

    def check_size(self, size: Size) -> None:
        self._dataset.check_size(size)

    def draw(self, sample: Sample[bytes], epoch: int) -> tuple[Header, View]:
        return self._dataset.draw(sample, epoch)

    def _locate(self, number: int) -> tuple[ImageDataset, int]:
        return self._dataset, int(self._numbers[number])

    def _parts_used(self) -> Sequence[ImageDataset]:
        return [self._dataset]


class JoinedDatasets(_OtherNumbers):
    """Datasets one after the other. Each draws the views of its own samples, which come out in one size."""

    def __init__(self, parts: Sequence[ImageDataset]) -> None:
        super().__init__(parts[0].transform, parts[0].seed, parts[0].max_pixels)
        sizes = {part.transform.output for part in parts}
        if len(sizes) > 1:
            raise ValueError(
                f"datasets whose images come out in different sizes can't be one: {sorted(map(str, sizes))}"
            )
        self._parts = parts
        self._ends = np.cumsum([part.num_samples for part in parts])

    @property
    def num_samples(self) -> int:
        return int(self._ends[-1])

    @property
    def bytes_per_sample(self) -> float | None:
        """As of every dataset; None where a part's is not known."""
        known = [part.bytes_per_sample for part in self._parts]
        sizes = [each * part.num_samples for each, part in zip(known, self._parts, strict=True) if each is not None]
        return sum(sizes) / max(self.num_samples, 1) if len(sizes) == len(known) else None

    @functools.cached_property
    def fingerprint(self) -> str:
        return fingerprint_of_joined([part.fingerprint for part in self._parts])

    @property
    def is_mapped(self) -> bool:
        return any(part.is_mapped for part in self._parts)

    @functools.cached_property
    def image_sizes(self) -> npt.NDArray[np.int32]:
        return np.concatenate([part.image_sizes for part in self._parts])

    def check_size(self, size: Size) -> None:
        for part in self._parts:
            part.check_size(size)

    @property
    def targets(self) -> Any:
        """The target of every sample, where the datasets know theirs."""
        targets = [part.targets for part in self._parts]  # type: ignore[attr-defined]
        if all(isinstance(some, np.ndarray) for some in targets):
            return np.concatenate(targets)
        return [target for some in targets for target in some]

    def draw(self, sample: Sample[bytes], epoch: int) -> tuple[Header, View]:
        """As of every dataset. TypeError where parts draw differently: a sample does not say whose it is."""
        if len({(part.transform, part.seed, part.max_pixels) for part in self._parts}) > 1:
            raise TypeError("these datasets have transforms or seeds of their own: prepare the sample by its number")
        return self._parts[0].draw(sample, epoch)

    def _locate(self, number: int) -> tuple[ImageDataset, int]:
        at = int(np.searchsorted(self._ends, number, side="right"))
        return self._parts[at], number - (int(self._ends[at - 1]) if at else 0)

    def _parts_used(self) -> Sequence[ImageDataset]:
        return self._parts
