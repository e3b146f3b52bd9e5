"""Images in folders (map-style) and in tar shards (iterable), read the same way and drawn the same way.

A sample goes down one line: `read` its bytes, `draw` its view, `decode` its pixels. What is particular to a
dataset is only where the bytes lie; `ImageDataset` has the rest, and `fastdata.Loader` goes down the same line.
"""

import functools
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from hashlib import blake2b
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from fastdata import folder, manifest, storage
from fastdata.collate import collate
from fastdata.decode import MAX_PIXELS, Header, Pixels, decode_box, read_header, resample
from fastdata.order import EpochOrder, EpochPlan, Ids, Last, Place, batches_of_samples
from fastdata.sample import Batch, Sample, SampleError
from fastdata.state import EpochState, StateError
from fastdata.tar import NO_CLASS, Shard, ShardCache, TarError, index_count
from fastdata.transforms import Step, Transform, View, as_transform, draw, sample_rng

IMAGES = "jpg;jpeg;png;webp;bmp;tif;tiff;gif;ppm;pgm"
Transforms = Transform | Iterable[Step] | None


def _no_clock() -> None:
    pass


class ImageDataset(ABC):
    """What every dataset of images has: samples by number, from 0 to `num_samples`, and one epoch at a time."""

    def __init__(self, transform: Transforms, seed: int, max_pixels: int) -> None:
        self.transform = as_transform(transform)
        self.seed = seed
        self.max_pixels = max_pixels
        # The epoch, and the position from which it is run. In shared memory, so that workers that live through several
        # epochs see it change.
        self._now: Tensor = torch.zeros(2, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self._now.is_shared():  # type: ignore[no-untyped-call]  # a copy, or unpickled from a file: not by a worker's start
            self._now.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def epoch(self) -> int:
        """The epoch whose views are drawn."""
        return int(self._now[0])

    def set_epoch(self, epoch: int) -> None:
        """Draw new views from now on, in workers too, and for shuffled shards take a new order."""
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}")
        if epoch != self.epoch:
            self._go_to(epoch, 0)

    def _go_to(self, epoch: int, position: int) -> None:
        # At once: where each worker loads the same state, none may see another's half of it.
        self._now.copy_(torch.tensor([epoch, position]))

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """The number of samples, over all ranks and workers."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A short name of the samples and their order, by which a resumed run knows its dataset."""

    @abstractmethod
    def where(self, index: int) -> str:
        """The file of sample `index`, or its shard and offset, for messages."""

    @abstractmethod
    def _read(self, index: int) -> Sample[bytes]: ...

    @abstractmethod
    def key(self, index: int) -> str:
        """The key of sample `index`."""

    def read(self, index: int) -> Sample[bytes]:
        """Sample `index` as it is stored. SampleError where it can't be read, with key, place and cause."""
        try:
            return self._read(index)
        except (OSError, TarError) as error:
            raise SampleError.of(self._key_if_readable(index), self.where(index), error) from error

    def draw(self, sample: Sample[bytes]) -> tuple[Header, View]:
        """The view of a sample in this epoch: a function of seed, epoch and key. DecodeError for a bad header."""
        header = read_header(sample.image, self.max_pixels)
        return header, draw(self.transform, header.size, sample_rng(self.seed, self.epoch, sample.key))

    def load(self, index: int, out: Pixels | None = None, lap: Callable[[], object] = _no_clock) -> Sample[Pixels]:
        """Sample `index`, its pixels uint8 of shape (H, W, 3), in `out` where it is given.

        `lap` is called after each of the four stages (read, draw, decode, resize), for whoever takes the time.
        SampleError where the sample can't be read or decoded, with key, place and cause.
        """
        sample = self.read(index)
        lap()
        try:
            header, view = self.draw(sample)
            lap()
            source = decode_box(sample.image, view, header)
            lap()
            pixels = resample(source, view, header, out)
        except ValueError as error:  # DecodeError is one
            raise SampleError.of(sample.key, self.where(index), error) from error
        lap()
        return Sample(sample.key, pixels, sample.target)

    def _pair(self, index: int) -> tuple[Tensor, Any]:
        _stay_in_one_thread(os.getpid())
        sample = self.load(index)
        return torch.from_numpy(sample.image).permute(2, 0, 1), sample.target

    def _key_if_readable(self, index: int) -> str:
        try:
            return self.key(index)
        except (OSError, TarError):
            return f"number {index}"


@functools.cache
def _stay_in_one_thread(pid: int) -> None:
    """Keep OpenCV from starting threads in each of a DataLoader's workers, as torch does for itself."""
    if get_worker_info() is not None:
        cv2.setNumThreads(0)


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


def _json_dict(data: bytes) -> Any:
    target = json.loads(data)
    if not isinstance(target, dict):
        raise ValueError(f"holds no JSON object but a {type(target).__name__}")
    return target


# Nothing that was read is ever unpickled, so an array of objects is an error.
_TARGETS: dict[str, Callable[[bytes], Any]] = {
    "cls": int,
    "txt": lambda data: data.decode("utf-8"),
    "json": _json_dict,
    "npy": lambda data: np.load(io.BytesIO(data), allow_pickle=False),
}


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
        if target is not None and target.rpartition(".")[2] not in _TARGETS:
            raise ValueError(f"target must be None or end in one of {', '.join(_TARGETS)}, got {target!r}")
        self.image = tuple(image.lower().split(";"))
        self.target = target
        self.shuffle = shuffle
        self.batch_size = batch_size
        self.last: Last = last
        self.ranks = (rank, world_size)
        self.shards = [storage.local(url) for url in storage.expand(urls)]
        listed = _listed(self.shards, whole=_has_glob(urls))
        self.classes = list(listed.classes)
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        counts = (listed.counts[shard] if shard in listed.counts else index_count(shard) for shard in self.shards)
        self._ends = np.cumsum(list(counts), dtype=np.int64)
        self._open = ShardCache(self.shards)
        self._awaits_iterator = False
        self._iteration: _Iteration | None = None
        self.plan(Place.detect(rank, world_size))  # raises for what is out of range

    @property
    def num_samples(self) -> int:
        return int(self._ends[-1])

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
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
        digest = blake2b(self._ends.astype("<i8").tobytes(), digest_size=8)
        for shard in self.shards:
            digest.update(os.fsencode(Path(shard).name) + b"\0")
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
        self._iteration = _Iteration(self, Place.detect(*self.ranks))
        return self._iteration

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
        return _TARGETS[self.target.rpartition(".")[2]](shard.read(row, self.target))

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Where to go on once the training loop has received that many batches of this epoch (samples, without
        a `batch_size`) since it was begun or resumed, on every rank.

        A DataLoader's workers run ahead of the loop, so only the loop knows the number. torchdata's StatefulDataLoader
        counts by itself and calls this without it; StateError for anyone else who does.
        """
        if batches is not None:
            position = self.plan(Place.detect(*self.ranks)).position_after(batches)
            return self._state(position).to_dict()
        if self._iteration is None and get_worker_info() is None:
            raise StateError(
                "what a DataLoader's workers have read ahead is not delivered: say how many batches the loop has "
                "received, state_dict(batches=...), or use torchdata's StatefulDataLoader"
            )
        return {**self._state(self._position).to_dict(), _AWAITS: True}

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
        self._plan = dataset.plan(place)
        self._go_on_after(0)
        if dataset.batch_size is not None:
            self._plan.warn_if_uneven()

    def _go_on_after(self, made: int) -> None:
        self.made = made
        self._ids = self._dataset.ids(self._place, made)

    def __next__(self) -> Batch | tuple[Tensor, Any]:
        if self._dataset._awaits_iterator:
            raise StateError(
                "the dataset's state was taken without the number of batches that the loop had received: take it "
                "by state_dict(batches=...); call set_epoch to begin another epoch"
            )
        ids = next(self._ids).tolist()
        self.made += 1
        if self._dataset.batch_size is None:
            return self._dataset._pair(ids[0])
        return collate([self._dataset._pair(index) for index in ids])

    def _share(self) -> dict[str, Any]:
        """What must not change for the number of batches made to mean the same."""
        return {"batch_size": self._dataset.batch_size, "last": self._dataset.last, **asdict(self._place)}

    def state_dict(self) -> dict[str, Any]:
        """Where this worker goes on."""
        return {"made": self.made, **self._share()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there; StateError where ranks, workers or batch size are not the ones it was taken with."""
        if state != {"made": state.get("made"), **self._share()}:
            raise StateError(f"the iterator's state is of {dict(state)}, this is {self._share()}: use the same")
        self._go_on_after(state["made"])
        self._dataset._awaits_iterator = False


class _Listed(NamedTuple):
    """What the jsons beside shards say of them: the numbers of their samples, by path, and the classes."""

    counts: dict[str, int]
    classes: tuple[str, ...]


def _listed(shards: list[str], whole: bool) -> _Listed:
    """ValueError where the shards' datasets have different classes: one number would mean two of them.

    FileNotFoundError where a json lists more shards than there are, if `whole` datasets are meant.
    """
    manifests: dict[tuple[str, str], dict[str, int]] = {}  # of each directory and name
    classes: dict[tuple[str, ...], Path] = {}
    for shard in shards:
        directory, name = os.path.split(shard)
        dataset = (directory, name.rpartition("-")[0])
        if dataset in manifests:
            continue
        file = manifest.json_of(shard)
        found = manifest.load(file) if file else None
        manifests[dataset] = {entry.url: entry.nsamples for entry in found.shards} if found else {}
        if file and found:
            classes.setdefault(found.classes, file)
            missing = [url for url in manifests[dataset] if whole and not (file.parent / url).exists()]
            if missing:
                raise FileNotFoundError(f"{file} lists {missing[0]} and {len(missing) - 1} more that are not there")
    if len(classes) > 1:
        first, second, *_ = classes.values()
        raise ValueError(f"{first} and {second} have different classes: pack both with the same class folders")
    split = [(shard, *os.path.split(shard)) for shard in shards]
    counts = {shard: manifests[directory, name.rpartition("-")[0]].get(name) for shard, directory, name in split}
    known = {shard: count for shard, count in counts.items() if count is not None}
    return _Listed(known, next(iter(classes), ()))


def _has_glob(urls: storage.Urls) -> bool:
    return any(set("*?[") & set(os.fspath(url)) for url in ([urls] if isinstance(urls, str | os.PathLike) else urls))
