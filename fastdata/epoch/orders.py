"""The orders of all epochs: the plain one, and what a user declares in its place (`order=fd.Balanced()`)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np

from fastdata.epoch.order import LARGEST, EpochOrder, Ids, Picks, _check
from fastdata.epoch.window import Window
from fastdata.sample import Size

# What an order draws once more in the same epoch has views of an epoch of its own, which no run reaches.
_AGAIN = 2**32

Shuffle: TypeAlias = bool | Literal["full", "window"] | Window
"""How an epoch is shuffled: over all samples (True, "full"), by blocks ("window": `Window()`), or not at all."""


class OneEpoch(Protocol):
    """The sequence of one epoch."""

    @property
    def epoch(self) -> int: ...

    def picks(self, positions: Ids) -> Picks:
        """What comes at these positions, int64 of shape (N,)."""


class Orders(Protocol):
    """The sequences of all epochs, and what of them a state has to know."""

    @property
    def num_positions(self) -> int:
        """The length of an epoch, over all ranks."""

    @property
    def shuffle(self) -> bool: ...

    @property
    def seed(self) -> int: ...

    def name(self, epoch: int, position: int) -> str | None:
        """What tells this order, as far as it determines the samples before that position, from others of its seed.

        None for the plain one.
        """

    def of(self, epoch: int) -> OneEpoch:
        """That of an epoch. ValueError for one out of range."""


@runtime_checkable
class SizedEpoch(OneEpoch, Protocol):
    """An epoch whose batches come in sizes of their own."""

    def size_at(self, position: int) -> Size:
        """That of the batch, over all ranks, which begins at a position."""


@runtime_checkable
class OrdersOfBatches(Orders, Protocol):
    """Orders that pick whole batches, and so depend on how many samples a batch has over all ranks."""

    @property
    def sizes(self) -> tuple[Size, ...]:
        """In which images come out."""

    def of_batches(self, samples: int) -> Orders:
        """Those for batches of so many samples."""


@dataclass(frozen=True)
class PlainOrders:
    """Each sample once in each epoch."""

    num_positions: int
    shuffle: bool
    seed: int

    def name(self, epoch: int, position: int) -> None:
        return None

    def of(self, epoch: int) -> EpochOrder:
        return EpochOrder(self.num_positions, self.shuffle, self.seed, epoch)


class Order(ABC):
    """How a `Loader` or an `EpochSampler` goes through a dataset, other than each sample once: `order=` takes it."""

    always_shuffled = False

    @abstractmethod
    def over(self, dataset: Any, samples: int, shuffle: bool, seed: int) -> Orders:
        """Its orders of a dataset of so many samples."""


def as_shuffle(shuffle: Shuffle | None) -> bool | Window | None:
    """The same without names. ValueError for one that says nothing."""
    if isinstance(shuffle, str):
        named: dict[str, bool | Window] = {"full": True, "window": Window()}
        if shuffle not in named:
            raise ValueError(f"shuffle must be True, False, 'full', 'window' or a fd.Window(...), not {shuffle!r}")
        return named[shuffle]
    return shuffle if shuffle is None or isinstance(shuffle, Window) else bool(shuffle)


def orders_of(dataset: Any, samples: int, order: Order | None, shuffle: Shuffle | None, seed: int) -> Orders:
    """The orders of a dataset: those declared, its own if it is a `Mix`, or the plain one.

    A `shuffle` of None is that of the order, else False. ValueError where these contradict each other.
    """
    _check("seed", seed, 0)
    shuffle = as_shuffle(shuffle)
    check_no_order_is_lost(dataset)
    own = getattr(dataset, "own_order", None)
    if order is not None and own is not None:
        raise ValueError(f"a {type(dataset).__name__} has an order of its own: leave out order={order!r}")
    order = own if order is None else order
    if order is None and isinstance(shuffle, Window):
        known = (getattr(dataset, name, None) for name in ("bytes_per_sample", "block_size"))
        return shuffle.over(samples, seed, *known)
    if order is None:
        return PlainOrders(samples, bool(shuffle), seed)
    if not isinstance(order, Order):
        raise TypeError(f"order must be one of fastdata's, as fd.Balanced(), got a {type(order).__name__}")
    if order.always_shuffled and shuffle is False:
        raise ValueError(f"{type(order).__name__} draws at random: leave out shuffle=False")
    if isinstance(shuffle, Window):
        whose = f"a {type(dataset).__name__}" if own is not None else type(order).__name__
        raise ValueError(f"{whose} picks among all samples, and not block by block: leave out the window shuffle")
    if samples == 0:
        raise ValueError(f"{type(order).__name__} has no samples to draw from")
    return order.over(dataset, samples, order.always_shuffled or bool(shuffle), seed)


def check_no_order_is_lost(dataset: Any) -> None:
    """ValueError for torch's Subset or ConcatDataset of a dataset with an order of its own."""
    for part in [dataset.dataset] if hasattr(dataset, "dataset") else getattr(dataset, "datasets", ()):
        if hasattr(part, "own_order"):
            raise ValueError("the weights of a Mix are lost in a Subset or ConcatDataset of it: mix those instead")
        check_no_order_is_lost(part)


def checked_length(num_samples: int | None, default: int) -> int:
    """The number of positions of an epoch."""
    length = default if num_samples is None else num_samples
    _check("num_samples", length, 1, LARGEST)
    return length


def repeated_epochs(epochs: int | Ids, repetitions: Ids) -> Ids:
    """The epochs whose views belong to samples that come for the first (0), second (1) … time in theirs."""
    if np.max(epochs, initial=0) >= _AGAIN or np.max(repetitions, initial=0) >= 2**30:
        raise ValueError(f"this order has epochs below {_AGAIN}, and no sample 2**30 times in one")
    return np.asarray(epochs + repetitions * _AGAIN, np.int64)
