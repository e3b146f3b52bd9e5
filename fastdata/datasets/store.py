"""Samples in tar shards, by number: where the bytes of each lie."""

import functools
import weakref
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from fastdata.datasets.base import ImageDataset, Transforms
from fastdata.datasets.components import Found, Received, read_components
from fastdata.datasets.far import FarSamples
from fastdata.datasets.fields import Declared, Target, Wanted, check_followed
from fastdata.datasets.joining import join_tables
from fastdata.datasets.kept import Kept
from fastdata.datasets.mapping import Map
from fastdata.datasets.places import Place, Places
from fastdata.datasets.prepared import Data, LookFor, Seen
from fastdata.datasets.samples import BYTES_AT_ONCE, FAILURES
from fastdata.datasets.selection import Selectable
from fastdata.datasets.shard_fields import IMAGES, declared_of_shards, extensions_of, no_image, read_shard_field
from fastdata.errors import SampleError, TarError, TargetError
from fastdata.images import kernel
from fastdata.images.limits import MAX_PIXELS
from fastdata.sample import Sample
from fastdata.sources.faults import patiently
from fastdata.sources.listing import Listing, list_shards
from fastdata.sources.node.node_cache import Cache
from fastdata.sources.regular import MAX_BYTES, refuse_larger
from fastdata.sources.shard import Component, Shard
from fastdata.sources.tars.index import NO_CLASS
from fastdata.sources.tars.tar import pread
from fastdata.sources.urls import Urls


class ShardStore(ImageDataset):
    """Samples in shards, by number."""

    def __init__(
        self,
        urls: Urls,
        transform: Transforms = None,
        image: str = IMAGES,
        target: Target = "cls",
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
        map: Map | None = None,
        cache: Cache | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__(transform, seed, max_pixels, map, max_bytes)
        fields = declared_of_shards(target)
        if fields is not None:
            check_followed(fields, self.transform)
        self.image = extensions_of(image)
        self.target = target
        self._listing, classes = list_shards(urls, cache)
        self.shards = self._listing.shards
        self.classes = (fields and fields.classes) or list(classes)
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        self._places = Places(self._listing)
        self._far = FarSamples(self._listing, self._places, self._listing.cache) if self._listing.has_far else None
        if self._far is not None:
            weakref.finalize(self, self._far.expect_nothing)  # the threads that read ahead know it, not this dataset
        self.left_out: Mapping[str, int] = {}
        self._fields = None if fields is None else self._join(fields)

    def _join(self, fields: Declared) -> Wanted:
        """The fields with their tables joined; which samples are kept is decided here."""
        joined = join_tables(fields, self.key_hashes, self.key)
        self._places.keep(joined.kept)
        self.left_out = joined.left_out
        return joined.wanted

    @property
    def num_samples(self) -> int:
        return len(self._places.kept)

    @functools.cached_property
    def bytes_per_sample(self) -> float:
        """As of every dataset; of samples of which tables keep some, with what lies between these."""
        return sum(self._listing.filesizes()) / max(self.num_samples, 1)

    def samples_and_bytes(self) -> list[tuple[int, int]]:
        """Of each shard how many samples it stores, and its bytes; OSError, or TarError, as `shards` are read."""
        return list(zip(self._listing.counts(), self._listing.filesizes(), strict=True))

    @functools.cached_property
    def fingerprint(self) -> str:
        """A short name of the samples and their order, by which a resumed run knows its dataset."""
        return fingerprint_of_kept(self._listing, self._places.kept)

    def key(self, number: int) -> str:
        with self._there(number):
            shard, row = self._locate(number)
            return shard.key(row)

    def key_hashes(self) -> npt.NDArray[np.uint64]:
        return self._places.keys()

    @functools.cached_property
    def targets(self) -> npt.NDArray[np.int64] | list[Any]:
        """The target of every sample, as torchvision's: int64 where it is the class, which the indexes know.

        Any other is read from each sample, when first asked for.
        """
        if self.target != "cls":
            return [self._target_of(number) for number in range(self.num_samples)]
        targets = self._places.classes()
        for number in np.flatnonzero(targets == NO_CLASS).tolist():
            targets[number] = self._target_of(number)
        return targets

    def class_indexes(self) -> npt.NDArray[np.int64]:
        """The class of every sample as the indexes know it, whatever the target is: int64, -1 where they know none."""
        known = self._places.classes()
        return np.where(known == NO_CLASS, -1, known)

    def where(self, number: int) -> str:
        path = self._places.path(number)
        try:
            shard, row = self._locate(number)
            return f"{path}, offset {shard.start(row)}"
        except (OSError, TarError):
            return path

    def _locate(self, number: int) -> tuple[Shard, int]:
        """A sample's shard and row."""
        place = self._places.at(number)
        return self._places.shard(place.position), place.row

    @property
    def is_far(self) -> bool:
        return self._far is not None

    def has_room(self, samples: int) -> bool:
        """As of every dataset: by the cache's limit."""
        return self._far is not None and self._far.room >= samples * self.bytes_per_sample

    def expect(self, numbers: Sequence[int], blocks: Sequence[Sequence[int]] = ()) -> None:
        if self._far is not None:
            self._far.expect(numbers, blocks)

    def expect_nothing(self) -> None:
        if self._far is not None:
            self._far.expect_nothing()

    def together(self, numbers: Sequence[int]) -> AbstractContextManager[None]:
        return nullcontext() if self._far is None else self._far.together(numbers)

    def _there(self, number: int) -> AbstractContextManager[None]:
        """A block in which a sample's bytes are on disk. OSError where they can't be had."""
        return nullcontext() if self._far is None else self._far.one_there(number)

    def _read(self, number: int) -> Sample[bytes]:
        with self._there(number):
            component = self._component(number)
            key, image = component.shard.read_component(component)
            return Sample(key, image, self._target(component.shard, component.row, key, number))

    def read_beginning(self, number: int, length: int) -> bytes:
        with self._there(number):
            component = self._component(number)
            return pread(component.opened.fd, min(length, component.size), component.offset)

    def _component(self, number: int, place: Place | None = None) -> Component:
        """Where a sample's image lies. NoImageError where it has none."""
        position, row, entry = place or self._places.at(number)
        shard = self._places.shard(position)
        component = shard.find(row, self.image, entry)
        if component is not None:
            refuse_larger(f"its component {component.extension!r}", component.size, self.max_bytes)
            return component
        raise no_image(self.image, shard.extensions_of(row), self.key(number), self.where(number))

    def _read_some(self, numbers: Sequence[int], look_for: LookFor | None) -> Seen:
        if kernel.KERNEL is None:
            return super()._read_some(numbers, look_for)
        if self._far is None:  # an index that can't be read is no sample's fault
            return self._read_placed(numbers, patiently(partial(self._places.some, numbers)), {}, look_for)
        placed = patiently(partial(self._far.placed, numbers))
        with self._far.there(placed) as missing:
            return self._read_placed(numbers, [placed[number].place for number in numbers], missing, look_for)

    def _read_placed(
        self, numbers: Sequence[int], placed: list[Place], missing: Mapping[int, OSError], look_for: LookFor | None
    ) -> Seen:
        """The first of the samples at these places, but for those that are missing."""
        found: list[Found] = []
        total = 0
        for number, place in zip(numbers, placed, strict=True):
            error = missing.get(number)
            each = self._fault(number, error) if error else self._find(number, place, patient=not found)
            if each is None:
                break  # What is found is read first, which lets go of its files.
            found.append(each)
            total += 0 if isinstance(each, SampleError) else each.size
            if total > BYTES_AT_ONCE:
                break
        try:
            return self._read_found(numbers, found, look_for)
        except MemoryError:  # one by one, to say which
            return super()._read_some(numbers, look_for)

    def _key_if_readable(self, number: int) -> str:
        return super()._key_if_readable(number) if self._far is None else f"number {number}"  # not to ask for it again

    def _find(self, number: int, place: Place, patient: bool) -> Found | None:
        """Where a sample's image lies, or what is wrong with it.

        Where the machine fails it is waited for, then raised, if `patient`; else None.
        """
        try:
            return self._component(number, place)
        except FAILURES:
            find = partial(self._tried, number, partial(self._component, number, place))
        if patient:
            return patiently(find)
        with suppress(OSError):
            return find()
        return None

    def _read_found(self, numbers: Sequence[int], found: list[Found], look_for: LookFor | None) -> Seen:
        """What was found, read in one call of the kernel into one memory; nothing of those with an error."""
        looks = None if look_for is None else look_for([0 if isinstance(c, SampleError) else c.hashed for c in found])
        received = read_components(found, self.target == "cls", looks)
        samples = zip(numbers, received, strict=False)
        return [self._read_as(number, partial(self._sample, number, each)) for number, each in samples], looks

    def _sample(self, number: int, received: Received) -> Sample[Data]:
        key, label = received.checked(self.target == "cls")
        if label is None and isinstance(received.found, Component):
            label = self._target(received.found.shard, received.found.row, key, number)
        return Sample(key, received.data, label)

    def _read_again(self, number: int) -> Sample[bytes]:
        self._places.close(number)
        return self._read(number)

    def _target(self, shard: Shard, row: int, key: str, number: int) -> Any:
        if self._fields is None:
            return -1
        if self.target == "cls" and (index := shard.cls(row)) != NO_CLASS:
            return index
        try:
            return self._fields.read(number, partial(read_shard_field, shard, row, self.max_bytes))
        except TargetError as error:
            raise error.at(key, self.where(number)) from error

    def _target_of(self, number: int) -> Any:
        with self._there(number):
            shard, row = self._locate(number)
            return self._target(shard, row, f"number {number}", number)


class TarImageMapDataset(ShardStore, Selectable, Dataset[tuple[Tensor, Any]]):
    """Images in tar shards, by number: for torch's samplers, weighted ones say, and for `Subset`.

    Arguments are those of `TarImageDataset`; what it is by number is in `MapStyleDataset` and `Selectable`.
    """


def fingerprint_of_kept(listing: Listing, kept: Kept) -> str:
    """16 hex digits of what is in these shards, and of which of their samples are kept."""
    return kept.fingerprint(listing.fingerprint())
