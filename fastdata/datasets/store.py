"""Samples in tar shards, by number: where the bytes of each lie."""

import functools
import itertools
import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from fastdata.datasets.base import BYTES_AT_ONCE, FAILURES, ImageDataset, Transforms
from fastdata.datasets.components import Found, Received, read_components
from fastdata.datasets.fields import Declared, Target, Wanted, check_followed, declared
from fastdata.datasets.joining import join_tables
from fastdata.datasets.mapping import Map
from fastdata.datasets.mix import Selectable
from fastdata.datasets.prepared import Data, LookFor, Seen
from fastdata.epoch.identity import fingerprint_of_selected
from fastdata.errors import ReadError, SampleError, TarError, TargetError
from fastdata.images import kernel
from fastdata.images.limits import MAX_PIXELS
from fastdata.sample import IMAGE_EXTENSIONS, Sample
from fastdata.sources import manifest
from fastdata.sources.cache import local
from fastdata.sources.faults import patiently
from fastdata.sources.index import NO_CLASS, index_count, index_summary
from fastdata.sources.shard import Component, Shard, ShardCache
from fastdata.sources.tar import pread
from fastdata.sources.targets import read_field
from fastdata.sources.urls import Urls, expand, is_manifest
from fastdata.transforms.fields import Field, Label

IMAGES = ";".join(IMAGE_EXTENSIONS)


class _Location(NamedTuple):
    shard: Shard
    row: int


class ShardStore(ImageDataset):
    """Samples in shards, by number."""

    def __init__(
        self,
        urls: Urls,
        transform: Transforms,
        image: str,
        target: Target,
        seed: int,
        max_pixels: int,
        map: Map | None = None,
    ) -> None:
        super().__init__(transform, seed, max_pixels, map)
        fields = _components_of_shards(declared(target))
        if fields is not None:
            check_followed(fields, self.transform)
        self.image = tuple(image.lower().split(";"))
        if not all(self.image):
            raise ValueError(f"image must name extensions, as 'jpg;png', got {image!r}")
        self.target = target
        self.shards = [local(url) for url in expand(urls)]
        listed = manifest.listed(self.shards, whole=_names_all(urls))
        self.classes = (fields and fields.classes) or list(listed.classes)
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        known = listed.entries
        counts = (known[shard].nsamples if shard in known else index_count(shard) for shard in self.shards)
        self._ends = list(itertools.accumulate(counts))
        self._open = ShardCache(self.shards)
        self._checked = frozenset(shard for shard, entry in known.items() if entry.checked and _has_size(shard, entry))
        self._kept: npt.NDArray[np.int64] | None = None
        self.left_out: Mapping[str, int] = {}
        self._fields = None if fields is None else self._join(fields)

    def _join(self, fields: Declared) -> Wanted:
        """The fields with their tables joined; which samples are kept is decided here."""
        joined = join_tables(fields, self._key_hashes, self.key)
        self._kept, self.left_out = joined.kept, joined.left_out
        return joined.wanted

    def _key_hashes(self) -> npt.NDArray[np.uint64]:
        return np.concatenate([np.asarray(self._shard(n).rows["key"], np.uint64) for n in range(len(self.shards))])

    @property
    def num_samples(self) -> int:
        return self._ends[-1] if self._kept is None else len(self._kept)

    @functools.cached_property
    def bytes_per_sample(self) -> float:
        """As of every dataset; of samples of which tables keep some, with what lies between these."""
        return sum(Path(shard).stat().st_size for shard in self.shards) / max(self.num_samples, 1)

    @functools.cached_property
    def fingerprint(self) -> str:
        return fingerprint_of_kept(tuple(self.shards), self._kept)

    def key(self, number: int) -> str:
        shard, row = self._locate(number)
        return shard.key(row)

    def key_hashes(self) -> npt.NDArray[np.uint64]:
        return self._kept_of(self._key_hashes())

    @functools.cached_property
    def targets(self) -> npt.NDArray[np.int64] | list[Any]:
        """The target of every sample, as torchvision's: int64 where it is the class, which the indexes know.

        Any other is read from each sample, when first asked for.
        """
        if self.target != "cls":
            return [self._target_of(number) for number in range(self.num_samples)]
        classes = [self._shard(position).rows["cls"] for position in range(len(self.shards))]
        targets = self._kept_of(np.concatenate(classes).astype(np.int64))
        for number in np.flatnonzero(targets == NO_CLASS).tolist():
            targets[number] = self._target_of(number)
        return targets

    def where(self, number: int) -> str:
        shard = self._open[bisect_right(self._ends, self._stored(number))]
        try:
            _, row = self._locate(number)
            return f"{shard.path}, offset {shard.rows['start'][row]}"
        except (OSError, TarError):
            return shard.path

    def _kept_of(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Of a number for each stored sample those of the samples that are kept."""
        return column if self._kept is None else column[self._kept]

    def _stored(self, number: int) -> int:
        """The sample's number among all that lie in the shards. IndexError for one that no sample has."""
        if not 0 <= number < self.num_samples:
            raise IndexError(f"sample {number} of {self.num_samples}")
        return number if self._kept is None else int(self._kept[number])

    def _locate(self, number: int) -> _Location:
        number = self._stored(number)
        position = bisect_right(self._ends, number)
        return _Location(self._shard(position), number - (self._ends[position - 1] if position else 0))

    def _shard(self, position: int) -> Shard:
        """A shard by its position. TarError if it has not as many samples as were counted."""
        shard, expected = self._open[position], self._ends[position] - (self._ends[position - 1] if position else 0)
        if len(shard) != expected:
            raise TarError.at(
                shard.path, 0, f"has {len(shard)} samples where {expected} were counted: replaced, or another's json"
            )
        return shard

    def _read(self, number: int) -> Sample[bytes]:
        component = self._component(number)
        key, image = component.shard.read_component(component)
        return Sample(key, image, self._target(component.shard, component.row, key, number))

    def read_beginning(self, number: int, length: int) -> bytes:
        component = self._component(number)
        return pread(component.opened.fd, min(length, component.size), component.offset)

    def _component(self, number: int) -> Component:
        """Where a sample's image lies. ReadError where it has none."""
        shard, row = self._locate(number)
        component = shard.find(row, self.image)
        if component is not None:
            return component
        has = ", ".join(name for name in shard.extensions if shard.has(row, name))
        cause = f"it has none of the components {';'.join(self.image)}, but {has}: say image='...'"
        raise ReadError(cause, shard.key(row), self.where(number))

    def _read_some(self, numbers: Sequence[int], look_for: LookFor | None) -> Seen:
        if kernel.KERNEL is None:
            return super()._read_some(numbers, look_for)
        found: list[Found] = []
        total = 0
        for number in numbers:
            each = self._find(number, patient=not found)
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

    def _find(self, number: int, patient: bool) -> Found | None:
        """Where a sample's image lies, or what is wrong with it.

        Where the machine fails it is waited for, then raised, if `patient`; else None.
        """
        try:
            return self._component(number)
        except FAILURES:
            find = partial(self._tried, number, partial(self._component, number))
        if patient:
            return patiently(find, find)
        with suppress(OSError):
            return find()
        return None

    def _read_found(self, numbers: Sequence[int], found: list[Found], look_for: LookFor | None) -> Seen:
        """What was found, read in one call of the kernel into one memory; nothing of those with an error."""
        looks = None if look_for is None else look_for([0 if isinstance(c, SampleError) else c.hashed for c in found])
        received = read_components(found, self.target == "cls", None if looks is None else looks.first)
        if looks is not None:
            checked = [isinstance(c, Component) and c.shard.path in self._checked for c in found]
            looks.finish([each.data for each in received], checked if self._checked else None)
        samples = zip(numbers, received, strict=False)
        return [self._read_as(number, partial(self._sample, number, each)) for number, each in samples], looks

    def _sample(self, number: int, received: Received) -> Sample[Data]:
        key, label = received.checked(self.target == "cls")
        if label is None and isinstance(received.found, Component):
            label = self._target(received.found.shard, received.found.row, key, number)
        return Sample(key, received.data, label)

    def _read_again(self, number: int) -> Sample[bytes]:
        self._open[bisect_right(self._ends, self._stored(number))].close()  # a stale handle stays what it is
        return self._read(number)

    def _target(self, shard: Shard, row: int, key: str, number: int) -> Any:
        if self._fields is None:
            return -1
        if self.target == "cls" and (index := shard.cls(row)) != NO_CLASS:
            return index
        try:
            return self._fields.read(number, partial(_read_field, shard, row))
        except TargetError as error:
            raise error.at(key, self.where(number)) from error

    def _target_of(self, number: int) -> Any:
        shard, row = self._locate(number)
        return self._target(shard, row, f"number {number}", number)


class TarImageMapDataset(ShardStore, Selectable, Dataset[tuple[Tensor, Any]]):
    """Images in tar shards, by number: for torch's samplers, weighted ones say, and for `Subset`.

    Arguments are those of `TarImageDataset`; what it is by number is in `MapStyleDataset` and `Selectable`.
    """

    def __init__(
        self,
        urls: Urls,
        transform: Transforms = None,
        image: str = IMAGES,
        target: Target = "cls",
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
        map: Map | None = None,
    ) -> None:
        super().__init__(urls, transform, image, target, seed, max_pixels, map)


def fingerprint_of_kept(shards: tuple[str, ...], kept: npt.NDArray[np.int64] | None) -> str:
    """16 hex digits of what is in these shards, and of which of their samples are kept (None: all)."""
    whole = fingerprint_of(shards)
    return whole if kept is None else fingerprint_of_selected(whole, kept)


@functools.lru_cache(64)
def fingerprint_of(shards: tuple[str, ...]) -> str:
    """16 hex digits of what is in these shards."""
    digest = blake2b(digest_size=8)
    for shard in shards:  # of what is in them, wherever they lie
        digest.update(b"%d,%d;" % index_summary(shard))
    return digest.hexdigest()


def _has_size(shard: str, entry: manifest.ShardEntry) -> bool:
    """Whether it can be the file that was packed; one of another size was replaced."""
    try:
        return os.stat(shard).st_size == entry.filesize  # noqa: PTH116 - a Path for each of 100,000 takes as long
    except OSError:
        return False  # whoever reads it will say so


def _read_field(shard: Shard, row: int, field: Field) -> Any:
    if field == Label("cls") and (index := shard.cls(row)) != NO_CLASS:
        return index
    return read_field(field, shard.read(row, field.component.lower()))


def _components_of_shards(fields: Declared | None) -> Declared | None:
    """The fields; ValueError where one is stored in files, as a folder's may be."""
    for component in fields.components if fields else []:
        if "/" in component or "{" in component:
            raise ValueError(f"a shard's component is an extension, such as 'seg.png', not the path {component!r}")
    return fields


def _names_all(urls: Urls) -> bool:
    """Whether all shards of the datasets are meant: a glob's, or those that a json lists."""
    given = [os.fspath(url) for url in ([urls] if isinstance(urls, str | os.PathLike) else urls)]
    return any(set("*?[") & set(url) or is_manifest(url) for url in given)
