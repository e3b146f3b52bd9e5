"""Datasets one after the other as a dataset again, with the same keys and views."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.other_numbers import OtherNumbers
from fastdata.epoch.identity import fingerprint_of_joined
from fastdata.images.header import Header
from fastdata.sample import Sample, Size
from fastdata.transforms.view import View


class ConcatenatedDatasets(OtherNumbers):
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
        """A short name of the samples and their order, by which a resumed run knows its dataset."""
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
        self._check_number(number)
        at = int(np.searchsorted(self._ends, number, side="right"))
        return self._parts[at], number - (int(self._ends[at - 1]) if at else 0)

    def _parts_used(self) -> Sequence[ImageDataset]:
        return self._parts
