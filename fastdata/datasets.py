"""Images in folders (map-style) and in tar shards (iterable): where the bytes lie; `ImageDataset` has the rest."""

import functools
import io
import os
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from hashlib import blake2b
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from fastdata import folder, manifest, storage
from fastdata.collate import collate
from fastdata.decode import MAX_PIXELS
from fastdata.image_dataset import ImageDataset, Transforms
from fastdata.order import EpochOrder, EpochPlan, Ids, Last, Place, batches_of_samples
from fastdata.sample import Batch, Sample, SampleError
from fastdata.state import EpochState, StateError
from fastdata.tar import NO_CLASS, Shard, ShardCache, TarError, index_count, index_summary
from fastdata.targets import read_target, target_kind

IMAGES = "jpg;jpeg;png;webp;bmp;tif;tiff;gif;ppm;pgm"


class ImageDirectoryDataset(ImageDataset, Dataset[tuple[Tensor, int]]):
    """Images in a directory, by number: `dataset[i]` is (uint8 tensor of shape (3, H, W), target).

    Without a `pattern`, `root` has a folder of images for each class, as torchvision's ImageFolder (class folders
    sorted, files at any depth below them). A `pattern` ("**/*.jpg", relative to `root`) takes the files that match.

    `labels` is "folder" (the index of the class folder), None (the target is -1) or a function from a file's path,
    relative to `root`, to an int. `seed` belongs to the views. An image of more than `max_pixels` is refused.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        pattern: str | None = None,
        transform: Transforms = None,
        labels: Literal["folder"] | Callable[[str], int] | None = "folder",
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__(transform, seed, max_pixels)
        self.root = Path(root)
        if isinstance(labels, str) and labels != "folder":
            raise ValueError(f"labels must be 'folder', None or a function from path to int, got {labels!r}")
        if labels == "folder":
            self._scan = folder.scan_classes(root, pattern)
        else:
            self._scan = folder.scan_pattern(root, pattern, labels)
        self.classes = self._scan.classes
        self.class_to_idx = self._scan.class_to_idx
        self.targets = self._scan.targets
        self.samples = PathsAndTargets(self._scan)

    def __len__(self) -> int:
        return len(self._scan)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Image and target of a sample; negative numbers count from the end, IndexError beyond."""
        return self._pair(range(len(self))[index])

    @property
    def num_samples(self) -> int:
        return len(self)

    @functools.cached_property
    def fingerprint(self) -> str:
        return folder.fingerprint(self._scan)

    def key(self, index: int) -> str:
        return self._scan.key(index)

    def where(self, index: int) -> str:
        return self._scan.path(index)

    def _read(self, index: int) -> Sample[bytes]:
        with io.FileIO(self._scan.path(index)) as file:  # a third of what open() takes
            return Sample(self._scan.key(index), file.readall(), int(self.targets[index]))


class PathsAndTargets:
    """torchvision's `samples`, a sequence of (path, target), made when asked for."""

    def __init__(self, scan: folder.FolderScan) -> None:
        self._scan = scan

    def __len__(self) -> int:
        return len(self._scan)

    def __getitem__(self, index: int) -> tuple[str, int]:
        index = range(len(self))[index]
        return self._scan.path(index), int(self._scan.targets[index])

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return (self[index] for index in range(len(self)))


class _Location(NamedTuple):
    shard: Shard
    row: int


class TarImageDataset(ImageDataset, IterableDataset[Any]):
    """Images in tar shards of WebDataset's layout: iterating gives (uint8 tensor of shape (3, H, W), target).

    `urls` is a path, a glob ("train-*.tar"), brace notation ("train-{000000..000007}.tar") or a list of them; remote
    shards are copied into a cache first. `image` names the extensions of which a sample's first is its image. `target`
    is the component that is the target: cls to int, txt to str, json to a dict, npy to an array; None makes it -1.

    Ranks (torch.distributed where it is initialized, else RANK and WORLD_SIZE, or `rank` and `world_size`) and
    DataLoader workers share an epoch sample by sample, each delivered exactly once however many shards there are;
    `shuffle` takes a new order over all shards each epoch, keyed by `seed`. With `batch_size` it gives ready batches
    (for `DataLoader(dataset, batch_size=None)`), the same sequence for any number of workers. `last` says how the
    epoch ends, see `EpochPlan`. `len()` is what one rank gets, exactly: batches with a `batch_size`, else samples.
    """

    def __init__(
        self,
        urls: storage.Urls,
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
        super().__init__(transform, seed, max_pixels)
        if target is not None:
            target_kind(target)
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.image = tuple(image.lower().split(";"))
        if not all(self.image):
            raise ValueError(f"image must name extensions, as 'jpg;png', got {image!r}")
        self.target = target
        self.shuffle = shuffle
        self.batch_size = batch_size
        self.last: Last = last
        self.ranks = (rank, world_size)
        self.shards = [storage.local(url) for url in storage.expand(urls)]
        listed = manifest.listed(self.shards, whole=_has_glob(urls))
        self.classes = list(listed.classes)
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        counts = (listed.counts[shard] if shard in listed.counts else index_count(shard) for shard in self.shards)
        self._ends = np.cumsum(list(counts), dtype=np.int64)
        self._open = ShardCache(self.shards)
        self._awaits_iterator = False
        self._iteration: weakref.ref[_Iteration] | None = None
        self._finished: tuple[int, int] | None = None
        self.plan(Place.detect(rank, world_size))  # raises for what is out of range

    @property
    def num_samples(self) -> int:
        return int(self._ends[-1])

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["_iteration"]
        if get_spawning_popen() is not None:
            # A worker that is spawned can't see its parent's process group, so it is told its rank.
            place = Place.detect(*self.ranks)
            state["ranks"] = (place.rank, place.world_size)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "_iteration": None})

    @functools.cached_property
    def fingerprint(self) -> str:
        digest = blake2b(digest_size=8)
        for shard in self.shards:  # of what is in them, wherever they lie
            digest.update(b"%d,%d;" % index_summary(shard))
        return digest.hexdigest()

    @property
    def _position(self) -> int:
        return int(self._now[1])

    def plan(self, place: Place) -> EpochPlan:
        """How the ranks share the rest of the epoch."""
        return EpochPlan(self.num_samples, self.batch_size or 1, place.world_size, self.last, self._position)

    def ids(self, place: Place, made: int = 0) -> Iterator[Ids]:
        """The sample ids of the batches that are a place's (single samples without a batch_size), after `made`."""
        order = EpochOrder(self.num_samples, self.shuffle, self.seed, self.epoch)
        plan = self.plan(place)
        steps = plan.steps_of(place.rank, place.worker, place.num_workers)
        return batches_of_samples(order, plan, place.rank, steps[made:])

    def __len__(self) -> int:
        place = Place.detect(*self.ranks)
        plan = self.plan(place)
        return plan.samples_of(place.rank) if self.batch_size is None else plan.steps(place.rank)

    def __iter__(self) -> "_Iteration":
        if (self.epoch, self._position) == self._finished and (self.shuffle or not self.transform.is_fixed):
            warnings.warn(
                f"epoch {self.epoch} is run once more, with the same order and views: call set_epoch first",
                stacklevel=2,
            )
        iteration = _Iteration(self, Place.detect(*self.ranks))
        self._iteration = weakref.ref(iteration)
        return iteration

    def set_epoch(self, epoch: int) -> None:
        """Take this epoch's order and views, from its first sample on.

        Naming the epoch of a loaded state keeps the position from which it goes on.
        """
        if epoch != self.epoch:
            self._awaits_iterator = False
        super().set_epoch(epoch)

    def key(self, index: int) -> str:
        shard, row = self._locate(index)
        return shard.key(row)

    def where(self, index: int) -> str:
        shard = self._open[int(np.searchsorted(self._ends, index, side="right"))]
        try:
            _, row = self._locate(index)
            return f"{shard.path}, offset {shard.rows['start'][row]}"
        except (OSError, TarError):
            return shard.path

    def _locate(self, index: int) -> _Location:
        number = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[number - 1]) if number else 0
        shard, expected = self._open[number], int(self._ends[number]) - first
        if len(shard) != expected:
            raise TarError.at(
                shard.path, 0, f"has {len(shard)} samples where {expected} were counted: replaced, or another's json"
            )
        return _Location(shard, index - first)

    def _read(self, index: int) -> Sample[bytes]:
        shard, row = self._locate(index)
        extension = next((name for name in self.image if shard.has(row, name)), None)
        if extension is None:
            has = ", ".join(name for name in shard.extensions if shard.has(row, name))
            cause = f"it has none of the components {';'.join(self.image)}, but {has}: say image='...'"
            raise SampleError.of(shard.key(row), self.where(index), cause)
        key, image = shard.read_sample(row, extension)
        try:
            return Sample(key, image, self._target(shard, row))
        except ValueError as error:
            cause = f"its component {self.target!r} can't be used: {error}"
            raise SampleError.of(key, self.where(index), cause) from error

    def _target(self, shard: Shard, row: int) -> Any:
        if self.target is None:
            return -1
        if self.target == "cls" and (number := shard.cls(row)) != NO_CLASS:
            return number
        return read_target(self.target, shard.read(row, self.target))

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Where to go on once the training loop has received that many batches of this epoch since it was begun or
        resumed, on every rank; where some ranks had one less at its end, by rank 0's number.

        A DataLoader's workers run ahead of the loop, so only the loop knows the number. torchdata's StatefulDataLoader
        counts by itself and calls this without it. StateError for anyone else who does, and without a `batch_size`,
        where workers mix the samples of several batches.
        """
        if batches is not None:
            return self._state(self._position_after(batches)).to_dict()
        iteration = self._iteration() if self._iteration else None
        if iteration is not None:
            iteration.expect_partner()
        elif get_worker_info() is None:
            raise StateError(
                "what a DataLoader's workers have read ahead is not delivered: say how many batches the loop has "
                "received, state_dict(batches=...), or use torchdata's StatefulDataLoader"
            )
        return {**self._state(self._position).to_dict(), _AWAITS: True}

    def _position_after(self, batches: int) -> int:
        if self.batch_size is None:
            raise StateError("a TarImageDataset without a batch_size can't count batches: leave batching to it")
        plan = self.plan(Place.detect(*self.ranks))
        if not 0 <= batches <= plan.steps(0):
            raise StateError(f"the loop can't have received batches={batches}: there are {plan.steps(0)}")
        return plan.position_after(batches)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken, with any number of ranks and workers and any batch size.

        StateError if it is another dataset's, seed's or shuffle's; it says what differs.
        """
        loaded = EpochState.from_dict({name: value for name, value in state.items() if name != _AWAITS})
        loaded.check(self._state(0))
        self._go_to(loaded.epoch, loaded.position)
        self._awaits_iterator = _AWAITS in state

    def _state(self, position: int) -> EpochState:
        return EpochState(self.epoch, position, self.seed, self.shuffle, self.num_samples, self.fingerprint)


_AWAITS = "needs_iterator"  # marks a dataset's state that means nothing without its iterator's


class _Iteration(Iterator[Any]):
    """One worker's share of what is left of an epoch. StatefulDataLoader saves and loads its state."""

    def __init__(self, dataset: TarImageDataset, place: Place) -> None:
        self._dataset = dataset
        self._place = place
        self._go_on_after(0)
        if dataset.batch_size is not None and place.worker == 0:
            dataset.plan(place).warn_if_uneven()

    def _go_on_after(self, made: int) -> None:
        self._made = made
        self._asked = self._answered = -1
        self._ids = self._dataset.ids(self._place, made)

    def __next__(self) -> Batch | tuple[Tensor, Any]:
        dataset = self._dataset
        if dataset._awaits_iterator:
            raise StateError(
                "the dataset's state was taken without the number of batches that the loop had received: take it "
                "by state_dict(batches=...); call set_epoch to begin another epoch"
            )
        if self._asked == self._made != self._answered:
            raise StateError(
                "state_dict() in the middle of an epoch can't tell what the loop has received: call "
                "state_dict(batches=...), or use torchdata's StatefulDataLoader"
            )
        ids = next(self._ids, None)
        if ids is None:
            dataset._finished = (dataset.epoch, dataset._position)
            raise StopIteration
        self._made += 1
        if dataset.batch_size is None:
            return dataset._pair(int(ids[0]))
        return collate([dataset._pair(index) for index in ids.tolist()])

    def expect_partner(self) -> None:
        """Note that the dataset's state was asked for: at this point the iterator's has to be, too."""
        self._asked = self._made

    def _share(self) -> dict[str, Any]:
        """What must not change for the number of batches made to mean the same."""
        return {"batch_size": self._dataset.batch_size, "last": self._dataset.last, **asdict(self._place)}

    def state_dict(self) -> dict[str, Any]:
        """Where this worker goes on."""
        self._answered = self._made
        return {"made": self._made, **self._share()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there; StateError where ranks, workers or batch size are not the ones it was taken with."""
        if state != {"made": state.get("made"), **self._share()}:
            raise StateError(f"the iterator's state is of {dict(state)}, this is {self._share()}: use the same")
        self._go_on_after(state["made"])
        self._dataset._awaits_iterator = False


def _has_glob(urls: storage.Urls) -> bool:
    return any(set("*?[") & set(os.fspath(url)) for url in ([urls] if isinstance(urls, str | os.PathLike) else urls))
