"""`Mix`: several datasets, each with its share of every epoch."""

import functools
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.concatenation import ConcatenatedDatasets
from fastdata.datasets.from_torch import as_image_dataset
from fastdata.datasets.map_style import MapStyleDataset
from fastdata.epoch.order import Ids
from fastdata.epoch.orders import Order, checked_length
from fastdata.epoch.parts import Parts, PartsOrders, Schedule
from fastdata.epoch.sampler import EpochIndex
from fastdata.epoch.shares import whole_weights
from fastdata.errors import SampleError
from fastdata.images.header import Header
from fastdata.sample import Pair, Sample
from fastdata.transforms.view import View


class Mix(ConcatenatedDatasets, MapStyleDataset, Dataset[tuple[Tensor, Any]]):
    """Several datasets, each with its share of every epoch, for a `Loader` or an `EpochSampler`.

    `parts` are datasets and weights by name: `{"photos": (photos, 0.7), "drawings": (drawings, 0.3)}`. Weights are
    proportions of any sum. A part's share of an epoch is exact where it is a whole number (else off by a few at most,
    which do not add up), and spread evenly over the epoch. The samples of a part come in turn, with `shuffle` in a new
    order each time that all of them have come, and go on from one epoch to the next; so those of a small part come
    several times in an epoch. A sample has the views of its part's own pass: of epoch 0 when it comes for the first
    time, of epoch 1 then, as if the part were trained on alone; keys begin with the part's name, `photos/…`.

    `num_samples` is the length of an epoch, by default that of all parts together. `seed` is that of the order; by
    default the first part's. ValueError for weights that are negative or all 0, a part without samples, and parts whose
    images come out in different sizes.
    """

    def __init__(
        self, parts: Mapping[str, tuple[Any, float]], num_samples: int | None = None, seed: int | None = None
    ) -> None:
        if not parts:
            raise ValueError("a Mix needs a dataset")
        if bad := [name for name in parts if not name or "/" in name]:
            raise ValueError(f"a part's name is the first folder of its samples' keys, which {bad[0]!r} can't be")
        datasets = {name: as_image_dataset(dataset) for name, (dataset, _) in parts.items()}
        for name, dataset in datasets.items():
            if not dataset.num_samples:
                raise ValueError(f"part {name!r} of the Mix has no samples")
            if isinstance(dataset, Mix):
                raise TypeError(f"part {name!r} is a Mix itself: mix its parts instead")
        super().__init__(list(datasets.values()))
        self.seed = self.seed if seed is None else seed
        self.names = list(datasets)
        self.own_order = _OwnOrder(self, num_samples)
        self.set_weights({name: weight for name, (_, weight) in parts.items()}, from_epoch=0)

    def set_weights(self, weights: Mapping[str, float], from_epoch: int) -> None:
        """Have these weights, one for each part, from an epoch on (until the next for which weights were said).

        To be said before that epoch begins, and again, as was said before, when a run is resumed. ValueError where it
        has begun in this process with others.
        """
        if set(weights) != set(self.names):
            raise ValueError(f"set_weights needs a weight for each of {self.names}, got {list(weights)}")
        if from_epoch < 0:
            raise ValueError(f"from_epoch must be at least 0, got {from_epoch}")
        whole, schedule = whole_weights([weights[name] for name in self.names]), self.own_order.schedule
        if from_epoch <= schedule.begun and not np.array_equal(whole, schedule.get(from_epoch, [])):
            raise ValueError(
                f"epoch {schedule.begun} has begun, with what was said before: say these weights "
                f"from_epoch={schedule.begun + 1} on, or make another Mix"
            )
        schedule[from_epoch] = whole

    @functools.cached_property
    def fingerprint(self) -> str:
        """A short name of the samples and their order, by which a resumed run knows its dataset."""
        parts = [f"{name}:{part.fingerprint}" for name, part in zip(self.names, self._parts, strict=True)]
        return blake2b("/".join(parts).encode(), digest_size=8).hexdigest()

    def key(self, number: int) -> str:
        return f"{self._name(number)}/{super().key(number)}"

    def __getitems__(self, indices: Sequence[int]) -> list[Pair]:
        """As of every dataset; TypeError where it is not asked in its own order, which has the weights."""
        if not all(isinstance(index, EpochIndex) for index in indices):
            raise TypeError("a Mix has its weights in its order: DataLoader(mix, sampler=fd.EpochSampler(mix, ...))")
        return super().__getitems__(indices)

    def _renumbered(self, sample: Any, number: int) -> Any:
        sample = super()._renumbered(sample, number)
        name = self._name(number)
        if isinstance(sample, SampleError):
            return sample.at(f"{name}/{sample.key}", sample.where)
        return sample._replace(key=f"{name}/{sample.key}")

    def _read(self, number: int) -> Sample[bytes]:
        renumbered: Sample[bytes] = self._renumbered(super()._read(number), number)
        return renumbered

    def draw(self, sample: Sample[bytes], epoch: int) -> tuple[Header, View]:
        """As of every dataset: the part's, which a key begins with."""
        name, _, key = sample.key.partition("/")
        return self._parts[self.names.index(name)].draw(sample._replace(key=key), epoch)

    def _name(self, number: int) -> str:
        return self.names[int(np.searchsorted(self._ends, number, side="right"))]

    @property
    def _has_fixed_views(self) -> bool:
        return all(part.transform.is_fixed for part in self._parts) and not self.is_mapped

    @property
    def sizes(self) -> Ids:
        """The number of samples of each part, int64."""
        return np.array([part.num_samples for part in self._parts], np.int64)


class _OwnOrder(Order):
    """That of a Mix."""

    def __init__(self, mix: Mix, num_samples: int | None) -> None:
        self.schedule = Schedule()
        self._parts = Parts(mix.sizes)
        self._length = checked_length(num_samples, int(mix.sizes.sum()))

    def over(self, dataset: ImageDataset, samples: int, shuffle: bool, seed: int) -> PartsOrders:
        return PartsOrders(self._length, shuffle, seed, self._parts, self.schedule, "Mix")
