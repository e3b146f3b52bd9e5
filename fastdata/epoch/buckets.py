"""`Buckets`: batches of one shape each, out of several: that which is nearest to the shape of their images."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import ConcatDataset, Subset

from fastdata.epoch.identity import own_numbers
from fastdata.epoch.order import EpochOrder, Ids, Picks, _check, derived_seed
from fastdata.epoch.orders import Order
from fastdata.sample import Size

ImageSizes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Buckets(Order):
    """Aspect-ratio buckets: each sample once, each batch of one of several `sizes`, (height, width) each.

    A sample belongs to the bucket whose aspect ratio is nearest to its image's, by the logarithm; one whose size can't
    be read to the squarest. In an epoch the samples stand in a line, bucket by bucket from the narrowest to the widest,
    in a new order within each; batches, counted over all ranks, are cut out of the line one after another, and come in
    a random order (without `shuffle` in the line's). So a batch is of one bucket, or, where what is left of one is
    filled up from the next, of neighbours; its size is that of the bucket of its middle sample, on all ranks. Only the
    epoch's last batch, cut out at a random place, is smaller, as `last` says.

    The batch's size takes the place of that in the transform's step that decides what comes out: RandomResizedCrop,
    RandomCrop, CenterCrop, or Resize to (height, width). (Other steps stay: a Resize before a crop should be to the
    longest side of all buckets, lest the crop reach into black.) A view is a function of seed, epoch, key and size.

    What batches there are depends on the number of samples in one, over all ranks: a run that is resumed within an
    epoch needs the same, else StateError says so. The sizes of all images are read once, from the beginnings of
    their files. ValueError for sizes that are no pairs of positive integers, or of which two have one aspect ratio.
    """

    sizes: Sequence[Size]

    def __post_init__(self) -> None:
        sizes = tuple(map(_checked, self.sizes))
        if not sizes:
            raise ValueError("Buckets needs a size, (height, width), at least")
        by_aspect = sorted(sizes, key=_aspect)
        for size, other in pairwise(by_aspect):
            if _aspect(size) == _aspect(other):
                raise ValueError(f"buckets {size} and {other} have the same aspect ratio: leave one out")
        object.__setattr__(self, "sizes", sizes)

    def over(self, dataset: Any, samples: int, shuffle: bool, seed: int) -> "BucketsOrders":
        """As `Order` says. ValueError where the dataset's images can't come out in these sizes."""
        sizes = tuple(sorted(self.sizes, key=_aspect))
        return BucketsOrders(samples, shuffle, seed, sizes, _Line(_buckets_of(_sizes_of(dataset, sizes), sizes), sizes))


def _checked(size: Any) -> Size:
    sides = tuple(size) if isinstance(size, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and 1 <= side < 2**16 for side in sides):
        raise ValueError(f"a bucket is (height, width), two integers from 1 to {2**16 - 1}, got {size!r}")
    return sides[0], sides[1]


def _aspect(size: Size) -> float:
    return size[1] / size[0]


def _sizes_of(dataset: Any, sizes: Sequence[Size]) -> ImageSizes:
    """Width and height of each image of a dataset whose images can come out in `sizes`."""
    if isinstance(dataset, Subset):
        numbers = own_numbers(dataset.indices, len(dataset.dataset))  # type: ignore[arg-type]
        chosen: ImageSizes = _sizes_of(dataset.dataset, sizes)[numbers]
        return chosen
    if isinstance(dataset, ConcatDataset):
        return np.concatenate([_sizes_of(part, sizes) for part in dataset.datasets])
    if not hasattr(dataset, "image_sizes"):
        raise TypeError(f"Buckets needs a dataset of this package, or what torch has made of some: {dataset!r} is none")
    for size in sizes:
        dataset.check_size(size)
    known: ImageSizes = dataset.image_sizes
    return known


def _buckets_of(images: ImageSizes, sizes: Sequence[Size]) -> Ids:
    """The bucket of each image by (width, height), int64. Exactly rounded operations alone: the same everywhere."""
    aspects = np.array([_aspect(size) for size in sizes])
    width, height = np.maximum(images, 1).astype(np.float64).T  # of unknown size: a square
    # Midway between the logarithms of two aspect ratios is that of their geometric mean.
    buckets: Ids = np.searchsorted(aspects[:-1] * aspects[1:], (width / height) ** 2).astype(np.int64)
    return buckets


@dataclass(frozen=True, eq=False)
class _Line:
    """All samples, bucket by bucket."""

    buckets: Ids = field(repr=False)
    sizes: tuple[Size, ...]

    @functools.cached_property
    def members(self) -> Ids:
        return np.argsort(self.buckets, kind="stable").astype(np.int64)

    @functools.cached_property
    def ends(self) -> Ids:
        """Where each bucket ends in the line."""
        return np.cumsum(np.bincount(self.buckets, minlength=len(self.sizes))).astype(np.int64)

    @functools.cached_property
    def digest(self) -> str:
        """What tells it from others."""
        digest = blake2b(self.buckets.astype("<i8").tobytes(), digest_size=8)
        digest.update(repr(self.sizes).encode())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class BucketsOrders:
    """`Buckets` over the samples of a dataset, in batches of `batch` over all ranks; `sizes` from narrow to wide."""

    num_positions: int
    shuffle: bool
    seed: int
    sizes: tuple[Size, ...]
    line: _Line
    batch: int = 1

    def of_batches(self, samples: int) -> "BucketsOrders":
        """As `OrdersOfBatches` says."""
        return replace(self, batch=samples)

    def name(self, epoch: int, position: int) -> str:
        """As `Orders` says: at an epoch's ends, and nowhere between, any batch size goes on."""
        name = f"Buckets({self.line.digest})"
        within = 0 < position < self.num_positions
        return f"{name} in batches of {self.batch} over all ranks" if within else name

    def of(self, epoch: int) -> "BucketsEpoch":
        _check("epoch", epoch, 0)
        return BucketsEpoch(self, epoch)


@dataclass(frozen=True, eq=False)
class BucketsEpoch:
    """One epoch of it."""

    orders: BucketsOrders
    epoch: int

    def picks(self, positions: Ids) -> Picks:
        """As `OneEpoch` says."""
        steps, within = np.divmod(positions, self.orders.batch)
        return Picks(self._samples(self._starts(steps) + within), self.epoch)

    def size_at(self, position: int) -> Size:
        """As `SizedEpoch` says: that of the bucket of the batch's middle sample."""
        orders = self.orders
        step = position // orders.batch
        length = min(orders.batch, orders.num_positions - step * orders.batch)
        middle = int(self._starts(np.array([step]))[0]) + length // 2
        return orders.sizes[int(np.searchsorted(orders.line.ends, middle, side="right"))]

    @functools.cached_property
    def _full(self) -> int:
        """The number of full batches."""
        return self.orders.num_positions // self.orders.batch

    @functools.cached_property
    def _before_rest(self) -> int:
        """How many of them stand in the line before the samples of the last, smaller batch."""
        if not self.orders.shuffle:
            return self._full
        return int(EpochOrder(self._full + 1, True, self._seed("rest"), self.epoch).samples(0, 1)[0])

    def _starts(self, steps: Ids) -> Ids:
        """Where in the line the batches of some steps begin."""
        rest = self.orders.num_positions % self.orders.batch
        order = EpochOrder(self._full, self.orders.shuffle, self._seed("batches"), self.epoch)
        is_full = steps < self._full
        batches = np.full_like(steps, self._before_rest)
        batches[is_full] = order.at(steps[is_full])
        return batches * self.orders.batch + np.where(is_full & (batches >= self._before_rest), rest, 0)

    def _samples(self, places: Ids) -> Ids:
        """The sample numbers at some places of the line."""
        line = self.orders.line
        buckets = np.searchsorted(line.ends, places, side="right")
        for bucket in np.unique(buckets).tolist():
            here = buckets == bucket
            start, end = (int(line.ends[bucket - 1]) if bucket else 0), int(line.ends[bucket])
            order = EpochOrder(end - start, self.orders.shuffle, self._seed(f"bucket {bucket}"), self.epoch)
            places[here] = start + order.at(places[here] - start)
        return line.members[places]

    def _seed(self, what: str) -> int:
        return derived_seed(self.orders.seed, what)
