"""Some samples of a dataset as a dataset again, with the same keys and views."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.map_style import MapStyleDataset
from fastdata.datasets.other_numbers import OtherNumbers
from fastdata.epoch.identity import fingerprint_of_selected, own_numbers
from fastdata.epoch.sampler import EpochIndex
from fastdata.images.header import Header
from fastdata.sample import Sample, Size, key_hash
from fastdata.transforms.view import View


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
        IndexError for a number out of range, TypeError for numbers that are no list of integers, and unless one of the
        three is given.
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
    try:
        listed = np.asarray(numbers)
    except ValueError:  # lists of several lengths are no array
        raise TypeError("numbers must be one list of integers, or a mask, got lists of several lengths") from None
    if listed.size and listed.dtype.kind not in "iub":
        raise TypeError(f"numbers of samples are integers, or a mask of bools, got {listed.dtype}")
    if listed.ndim == 0:
        raise TypeError(f"numbers must be a list of integers: write numbers=[{numbers!r}]")
    if listed.dtype != np.bool_:
        if listed.ndim > 1:
            raise TypeError(f"numbers must be one list of integers, got an array of shape {listed.shape}")
        return listed.astype(np.int64).tolist()
    if listed.shape != (samples,):
        raise ValueError(f"a mask has one bool for each of {samples} samples, got shape {listed.shape}")
    return np.flatnonzero(listed)


class SelectedSamples(OtherNumbers, Selectable, Dataset[tuple[Tensor, Any]]):
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
        """A short name of the samples and their order, by which a resumed run knows its dataset."""
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
        self._check_number(number)
        return self._dataset, int(self._numbers[number])

    def _parts_used(self) -> Sequence[ImageDataset]:
        return [self._dataset]
