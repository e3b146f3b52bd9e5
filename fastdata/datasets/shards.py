"""Images in tar shards: a store by number, with a map-style and an iterable face."""

import functools
import os
import weakref
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict
from functools import partial
from hashlib import blake2b
from multiprocessing.context import get_spawning_popen
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from fastdata.datasets.base import BYTES_AT_ONCE, Data, ImageDataset, MapStyleDataset, Transforms
from fastdata.datasets.collate import collate
from fastdata.epoch.cursor import EpochCursor, RunIterator
from fastdata.epoch.frameworks import refuse_second_split
from fastdata.epoch.plan import EpochPlan, Last
from fastdata.errors import ReadError, SampleError, StateError, TarError, TargetError
from fastdata.images import kernel
from fastdata.images.limits import MAX_PIXELS
from fastdata.sample import IMAGE_EXTENSIONS, Batch, Sample
from fastdata.sources import manifest
from fastdata.sources.cache import local
from fastdata.sources.index import NO_CLASS, index_count, index_summary
from fastdata.sources.shard import Component, Shard, ShardCache
from fastdata.sources.tar import BLOCK
from fastdata.sources.targets import read_target, target_kind
from fastdata.sources.urls import Urls, expand

IMAGES = ";".join(IMAGE_EXTENSIONS)


class _Location(NamedTuple):
    shard: Shard
    row: int


class _ShardStore(ImageDataset):
    """Samples in shards, by number."""

    def __init__(
        self, urls: Urls, transform: Transforms, image: str, target: str | None, seed: int, max_pixels: int
    ) -> None:
        super().__init__(transform, seed, max_pixels)
        if target is not None:
            target_kind(target)
        self.image = tuple(image.lower().split(";"))
        if not all(self.image):
            raise ValueError(f"image must name extensions, as 'jpg;png', got {image!r}")
        self.target = target
        self.shards = [local(url) for url in expand(urls)]
        listed = manifest.listed(self.shards, whole=_has_glob(urls))
        self.classes = list(listed.classes)
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        counts = (listed.counts[shard] if shard in listed.counts else index_count(shard) for shard in self.shards)
        self._ends = np.cumsum(list(counts), dtype=np.int64)
        self._open = ShardCache(self.shards)

    @property
    def num_samples(self) -> int:
        return int(self._ends[-1])

    @functools.cached_property
    def fingerprint(self) -> str:
        return _fingerprint(tuple(self.shards))

    def key(self, number: int) -> str:
        shard, row = self._locate(number)
        return shard.key(row)

    def where(self, number: int) -> str:
        shard = self._open[int(np.searchsorted(self._ends, number, side="right"))]
        try:
            _, row = self._locate(number)
            return f"{shard.path}, offset {shard.rows['start'][row]}"
        except (OSError, TarError):
            return shard.path

    def _locate(self, number: int) -> _Location:
        position = int(np.searchsorted(self._ends, number, side="right"))
        first = int(self._ends[position - 1]) if position else 0
        shard, expected = self._open[position], int(self._ends[position]) - first
        if len(shard) != expected:
            raise TarError.at(
                shard.path, 0, f"has {len(shard)} samples where {expected} were counted: replaced, or another's json"
            )
        return _Location(shard, number - first)

    def _read(self, number: int) -> Sample[bytes]:
        shard, component = self._component(number)
        key, image = shard.read_sample(component.row, component.extension)
        return Sample(key, image, self._target(shard, component.row, key, number))

    def _component(self, number: int) -> tuple[Shard, Component]:
        """Where a sample's image lies. ReadError where it has none."""
        shard, row = self._locate(number)
        for extension in self.image:
            if shard.has(row, extension):
                return shard, shard.component(row, extension)
        has = ", ".join(name for name in shard.extensions if shard.has(row, name))
        cause = f"it has none of the components {';'.join(self.image)}, but {has}: say image='...'"
        raise ReadError(cause, shard.key(row), self.where(number))

    def read_some(self, numbers: Sequence[int]) -> list[Sample[Data] | SampleError]:
        if kernel.KERNEL is None:
            return super().read_some(numbers)
        located: list[tuple[Shard, Component] | SampleError] = []
        total = 0
        for number in numbers:
            located.append(self._tried(number, partial(self._component, number)))
            total += 0 if isinstance(located[-1], SampleError) else located[-1][1].size
            if total > BYTES_AT_ONCE:
                break
        return self._read_located(numbers, located)

    def _read_located(
        self, numbers: Sequence[int], located: list[tuple[Shard, Component] | SampleError]
    ) -> list[Sample[Data] | SampleError]:
        """What was found, read in one call of the kernel into one memory."""
        components = [found[1] for found in located if not isinstance(found, SampleError)]
        sizes = np.array([component.size + BLOCK for component in components], np.int64)
        offsets = np.array([component.offset - BLOCK for component in components], np.int64)
        memory = np.empty(int(sizes.sum()), np.uint8).data
        received = iter(kernel.read([component.opened.fd for component in components], offsets, sizes, memory).tolist())
        samples: list[Sample[Data] | SampleError] = []
        at = 0
        for number, found in zip(numbers, located, strict=False):
            if isinstance(found, SampleError):
                samples.append(found)
                continue
            part = memory[at : at + found[1].size + BLOCK]
            at += len(part)
            samples.append(self._tried(number, partial(self._sample, number, *found, part, next(received))))
        return samples

    def _sample(self, number: int, shard: Shard, component: Component, part: memoryview, received: int) -> Sample[Data]:
        if received < 0:
            raise OSError(-received, os.strerror(-received), shard.path)
        key = shard.checked_key(component, bytes(part[:BLOCK]), received - BLOCK)
        return Sample(key, part[BLOCK:], self._target(shard, component.row, key, number))

    def _target(self, shard: Shard, row: int, key: str, number: int) -> Any:
        if self.target is None:
            return -1
        if self.target == "cls" and (index := shard.cls(row)) != NO_CLASS:
            return index
        try:
            return read_target(self.target, shard.read(row, self.target))
        except (TargetError, TarError) as error:
            cause = f"its component {self.target!r} can't be used: {error}"
            raise TargetError(cause, key, self.where(number)) from error

    def _target_of(self, number: int) -> Any:
        shard, row = self._locate(number)
        return self._target(shard, row, f"number {number}", number)


class TarImageMapDataset(_ShardStore, MapStyleDataset, Dataset[tuple[Tensor, Any]]):
    """Images in tar shards, by number: for torch's samplers, weighted ones say, and for `Subset`.

    Arguments are those of `TarImageDataset`; what it is by number is in `MapStyleDataset`.
    """

    def __init__(
        self,
        urls: Urls,
        transform: Transforms = None,
        image: str = IMAGES,
        target: str | None = "cls",
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__(urls, transform, image, target, seed, max_pixels)


class TarImageDataset(_ShardStore, IterableDataset[Any]):
    """Images in tar shards of WebDataset's layout: iterating gives (uint8 tensor of shape (3, H, W), target).

    `urls` is a path, a glob ("train-*.tar"), brace notation ("train-{000000..000007}.tar") or a list of them; remote
    shards are copied into a cache first. `image` names the extensions of which a sample's first is its image. `target`
    is the component that is the target: cls to int, txt to str, json to a dict, npy to an array; None makes it -1.

    Ranks (torch.distributed where it is initialized, else RANK and WORLD_SIZE, or `rank` and `world_size`) and
    DataLoader workers share an epoch sample by sample, each delivered exactly once however many shards there are;
    `shuffle` takes a new order over all shards each epoch, keyed by `seed`. With `batch_size` it gives ready batches
    (for `DataLoader(dataset, batch_size=None)`), the same sequence for any number of workers. `last` says how the
    epoch ends, see `EpochPlan`. `len()` is what one rank gets of a whole epoch, exactly: batches with a
    `batch_size`, else samples.

    Each iteration runs the epoch after the last one, in a DataLoader's workers too, or that which `set_epoch` says.
    """

    def __init__(
        self,
        urls: Urls,
        transform: Transforms = None,
        image: str = IMAGES,
        target: str | None = "cls",
        shuffle: bool = False,
        seed: int = 0,
        *,
        batch_size: int | None = None,
        last: Last = "partial",
        rank: int | None = None,
        world_size: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__(urls, transform, image, target, seed, max_pixels)
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.shuffle = shuffle
        self.batch_size = batch_size
        self.last: Last = last
        self.ranks = (rank, world_size)
        self._cursor = EpochCursor(
            # A function of the shards' names: through the dataset itself it would keep their files open.
            self.num_samples,
            self.seed,
            shuffle,
            batch_size,
            last,
            self.ranks,
            partial(_fingerprint, tuple(self.shards)),
        )
        self._iteration: weakref.ref[_Iteration] | None = None

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
        iteration = _Iteration(self, self._cursor)
        self._iteration = weakref.ref(iteration)
        return iteration

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_iteration": None}
        if get_spawning_popen() is not None:
            refuse_second_split(self._cursor.place(), type(self).__name__)
            # A worker that is spawned can't see its parent's process group, so it is told its rank.
            place = self._cursor.place()
            state["_cursor"] = cursor = copy(self._cursor)
            state["ranks"] = cursor.ranks = (place.rank, place.world_size)
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

        StateError if it is another dataset's, seed's or shuffle's; it says what differs.
        """
        self._iteration = None
        self._cursor.load(state)


class _Iteration(RunIterator):
    """One worker's share of what is left of an epoch. StatefulDataLoader saves and loads its state."""

    def __init__(self, dataset: TarImageDataset, cursor: EpochCursor) -> None:
        super().__init__("dataset")
        self._dataset = dataset
        self.run = cursor.begin()
        self._needs_partner = self.run.needs_partner
        self._ids = self.run.batches()

    def __next__(self) -> Batch | tuple[Tensor, Any]:
        self._check()
        ids = next(self._ids)
        self._given += 1
        pairs = self._dataset.pairs(ids.tolist(), self.run.epoch)
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
        self._ids = self.run.batches(state["made"])
        self._go_on(state["made"])


@functools.lru_cache(64)
def _fingerprint(shards: tuple[str, ...]) -> str:
    digest = blake2b(digest_size=8)
    for shard in shards:  # of what is in them, wherever they lie
        digest.update(b"%d,%d;" % index_summary(shard))
    return digest.hexdigest()


def _has_glob(urls: Urls) -> bool:
    return any(set("*?[") & set(os.fspath(url)) for url in ([urls] if isinstance(urls, str | os.PathLike) else urls))
