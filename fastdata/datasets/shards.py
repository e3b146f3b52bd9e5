"""Images in tar shards, iterated over: an epoch that ranks and workers share."""

import os
import weakref
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from inspect import signature
from multiprocessing.context import get_spawning_popen
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset, get_worker_info

from fastdata.datasets.base import Transforms
from fastdata.datasets.collate import collate
from fastdata.datasets.far import expected
from fastdata.datasets.fields import Target
from fastdata.datasets.mapping import Map
from fastdata.datasets.shard_fields import IMAGES
from fastdata.datasets.store import ShardStore, fingerprint_of_kept
from fastdata.datasets.streams import TarImageStream
from fastdata.epoch.cursor import EpochCursor
from fastdata.epoch.frameworks import refuse_second_split
from fastdata.epoch.orders import Order, Shuffle, as_shuffle, orders_of
from fastdata.epoch.plan import EpochPlan, Last
from fastdata.epoch.run_iterator import RunIterator
from fastdata.epoch.window import Window
from fastdata.errors import StateError
from fastdata.images.limits import MAX_PIXELS
from fastdata.sample import Batch, Pair
from fastdata.sources.node.node_cache import Cache
from fastdata.sources.regular import MAX_BYTES
from fastdata.sources.streams import is_stream
from fastdata.sources.urls import Urls


class TarImageDataset(ShardStore, IterableDataset[Any]):
    """Images in tar shards of WebDataset's layout: iterating gives (uint8 tensor of shape (3, H, W), target).

    `urls` is a path, a glob ("train-*.tar"), brace notation ("train-{000000..000007}.tar"), the json of a dataset that
    `fastdata shard` has packed ("train.json"), or a list of them. They may be URLs: of a dataset whose json is named
    samples are fetched when they are needed, and ahead of that, into a `cache` on this node's disk (`fd.Cache`); shards
    without one are copied there first. `image` names the extensions of which a sample's first is its image. `target` is
    the component that is the target: cls to int, txt to str, json to a dict, npy to an array; None makes it -1. Or it
    is a field (`fd.Mask("seg.png")`), a table that joins the samples by key (`fd.Table`, `fd.Coco`), or several of
    these by name: a list of components or a dict, of which targets are dicts. `map` is a function of the image or of
    (image, target), as of an `ImageDirectoryDataset`.

    Ranks (torch.distributed where it is initialized, else RANK and WORLD_SIZE, or `rank` and `world_size`) and
    DataLoader workers share an epoch sample by sample, each delivered exactly once however many shards there are;
    `shuffle` takes a new order each epoch, keyed by `seed`: with True or "full" over all shards, with "window" or a
    `Window` by blocks of neighbouring samples, for shards that are far away. `order` is another than the plain one:
    `Weighted`, `Balanced`, `Repeated` or `Buckets`. With `batch_size` it gives ready batches
    (for `DataLoader(dataset, batch_size=None)`), the same sequence for any number of workers. `last` says how the
    epoch ends, see `EpochPlan`. `len()` is what one rank gets of a whole epoch, exactly: batches with a
    `batch_size`, else samples.

    Each iteration runs the epoch after the last one, in a DataLoader's workers too, or that which `set_epoch` says.

    Of "-", standard input, and with `allow_pipe` of "pipe:" and a command, this makes a `TarImageStream`.
    """

    def __init__(
        self,
        urls: Urls,
        transform: Transforms = None,
        image: str = IMAGES,
        target: Target = "cls",
        shuffle: Shuffle | None = None,
        seed: int = 0,
        *,
        batch_size: int | None = None,
        last: Last = "partial",
        rank: int | None = None,
        world_size: int | None = None,
        order: Order | None = None,
        max_pixels: int = MAX_PIXELS,
        map: Map | None = None,
        cache: Cache | None = None,
        allow_pipe: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__(urls, transform, image, target, seed, max_pixels, map, cache, max_bytes)
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        shuffle = as_shuffle(shuffle)
        orders = orders_of(self, self.num_samples, order, shuffle, self.seed)
        self.shuffle = shuffle if isinstance(shuffle, Window) else orders.shuffle
        self.order = order
        self.batch_size = batch_size
        self.last: Last = last
        self.ranks = (rank, world_size)
        self._cursor = EpochCursor(
            # A function of the shards' listing: through the dataset itself it would keep their files open.
            orders,
            batch_size,
            last,
            self.ranks,
            partial(fingerprint_of_kept, self._listing, self._places.kept),
        )
        self._iteration: weakref.ref[_Iteration] | None = None

    if not TYPE_CHECKING:  # who would take its arguments, of no type, for the constructor's

        def __new__(cls, urls: Urls = "", *args: Any, **options: Any) -> Any:
            if isinstance(urls, str | os.PathLike | list | tuple) and any(map(is_stream, _texts(urls))):
                return _new_stream(urls, *args, **options)
            return super().__new__(cls)

        __new__.__signature__ = signature(__init__)  # as which notebooks and editors show the class

    @property
    def epoch(self) -> int:
        """The epoch that was begun last, or the one that was said or loaded since."""
        return self._cursor.epoch

    def set_epoch(self, epoch: int) -> None:
        """Run this epoch next, from its first sample on.

        Naming the epoch of a loaded state keeps the position from which it goes on.
        """
        refuse_second_split(self._cursor.place(), type(self).__name__)
        self._cursor.set_epoch(epoch)

    def __len__(self) -> int:
        return self._size(self._cursor.plan(0))

    @property
    def remaining(self) -> int:
        """What the next iteration gives this rank, as `len` counts it: the epoch, or the rest of a loaded one."""
        return self._size(self._cursor.next_plan())

    def _size(self, plan: EpochPlan) -> int:
        rank = self._cursor.place().rank
        return plan.samples_of(rank) if self.batch_size is None else plan.steps(rank)

    def __iter__(self) -> "_Iteration":
        refuse_second_split(self._cursor.place(), type(self).__name__)
        self.expect_nothing()  # of an iteration that was broken off
        iteration = _Iteration(self, self._cursor)
        self._iteration = weakref.ref(iteration)
        return iteration

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_iteration": None}
        if get_spawning_popen() is not None:
            refuse_second_split(self._cursor.place(), type(self).__name__)
            state["ranks"] = self._cursor.ranks_elsewhere()
        return state

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Where to go on once the training loop has received that many batches of the iteration that was begun last,
        on every rank; where some ranks had one less at its end, by rank 0's number.

        A DataLoader's workers run ahead of the loop, so only the loop knows the number. torchdata's StatefulDataLoader
        counts by itself and calls this without it. StateError for anyone else who does, and without a `batch_size`,
        where workers mix the samples of several batches.
        """
        if batches is not None:
            return self._cursor.state_after(batches)
        iteration = self._iteration() if self._iteration else None
        if iteration is not None:
            iteration.expect_partner()
        elif get_worker_info() is None:
            raise StateError(
                "what a DataLoader's workers have read ahead is not delivered: say how many batches the loop has "
                "received, state_dict(batches=...), or use torchdata's StatefulDataLoader"
            )
        return self._cursor.next_state(needs_partner=True)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken, with any number of ranks and workers and any batch size.

        StateError if it is another dataset's, seed's, shuffle's or order's; it says what differs.
        """
        self._iteration = None
        self._cursor.load(state)


def _texts(urls: Urls) -> list[str]:
    return [os.fspath(url) for url in ([urls] if isinstance(urls, str | os.PathLike) else urls)]


_NOT_OF_STREAMS = {"a shuffle": "shuffle", "an order": "order", "a cache": "cache"}


def _new_stream(*args: Any, **options: Any) -> TarImageStream:
    """Of the arguments of a TarImageDataset. TypeError for those that have no meaning for a stream."""
    given = signature(TarImageDataset.__init__).bind(None, *args, **options).arguments
    last = given.pop("last", "partial")
    refused = {what: given.pop(name, None) for what, name in _NOT_OF_STREAMS.items()}
    ranks = given.pop("rank", None), given.pop("world_size", None)
    stream = TarImageStream(**{name: value for name, value in given.items() if name != "self"}, ranks=ranks)
    stream.refuse_given({**refused, f"last={last!r}": last != "partial"})
    return stream


class _Iteration(RunIterator):
    """One worker's share of what is left of an epoch. StatefulDataLoader saves and loads its state."""

    def __init__(self, dataset: TarImageDataset, cursor: EpochCursor) -> None:
        super().__init__("dataset")
        self._dataset = dataset
        self.run = cursor.begin()
        self._needs_partner = self.run.needs_partner
        self._batches = expected(dataset, self.run)

    def __next__(self) -> Batch | Pair:
        self._check()
        picks = next(self._batches, None)
        if picks is None:
            self._dataset.expect_nothing()
            raise StopIteration
        numbers, epochs, size = picks
        self._given += 1
        pairs = self._dataset.pairs(numbers.tolist(), epochs if isinstance(epochs, int) else epochs.tolist(), size)
        return pairs[0] if self._dataset.batch_size is None else collate(pairs)

    def _share(self) -> dict[str, Any]:
        """What must not change for the number of batches made to mean the same."""
        return {"batch_size": self._dataset.batch_size, "last": self._dataset.last, **asdict(self.run.place)}

    def state_dict(self) -> dict[str, Any]:
        """Where this worker goes on."""
        self._answer()
        return {"made": self._given, **self._share()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there; StateError where ranks, workers or batch size are not the ones it was taken with."""
        if state != {"made": state.get("made"), **self._share()}:
            raise StateError(f"the iterator's state is of {dict(state)}, this is {self._share()}: use the same")
        self._batches = expected(self._dataset, self.run, state["made"])
        self._go_on(state["made"])
