"""Samples in tar shards, by number: where the bytes of each lie."""

import functools
import os
from collections.abc import Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from fastdata.datasets.base import BYTES_AT_ONCE, Data, ImageDataset, Transforms
from fastdata.datasets.mix import Selectable
from fastdata.errors import ReadError, SampleError, TarError, TargetError
from fastdata.images import kernel
from fastdata.images.limits import MAX_PIXELS
from fastdata.sample import IMAGE_EXTENSIONS, Sample
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


class ShardStore(ImageDataset):
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
        return fingerprint_of(tuple(self.shards))

    def key(self, number: int) -> str:
        shard, row = self._locate(number)
        return shard.key(row)

    def key_hashes(self) -> npt.NDArray[np.uint64]:
        hashes = [self._shard(position).rows["key"] for position in range(len(self.shards))]
        return np.concatenate(hashes).astype(np.uint64)

    @functools.cached_property
    def targets(self) -> npt.NDArray[np.int64] | list[Any]:
        """The target of every sample, as torchvision's: int64 where it is the class, which the indexes know.

        Any other is read from each sample, when first asked for.
        """
        if self.target != "cls":
            return [self._target_of(number) for number in range(self.num_samples)]
        classes = [self._shard(position).rows["cls"] for position in range(len(self.shards))]
        targets = np.concatenate(classes).astype(np.int64)
        for number in np.flatnonzero(targets == NO_CLASS).tolist():
            targets[number] = self._target_of(number)
        return targets

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
        return _Location(self._shard(position), number - first)

    def _shard(self, position: int) -> Shard:
        """A shard by its position. TarError if it has not as many samples as were counted."""
        first = int(self._ends[position - 1]) if position else 0
        shard, expected = self._open[position], int(self._ends[position]) - first
        if len(shard) != expected:
            raise TarError.at(
                shard.path, 0, f"has {len(shard)} samples where {expected} were counted: replaced, or another's json"
            )
        return shard

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
        if not components:
            return [found for found in located if isinstance(found, SampleError)]
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


class TarImageMapDataset(ShardStore, Selectable, Dataset[tuple[Tensor, Any]]):
    """Images in tar shards, by number: for torch's samplers, weighted ones say, and for `Subset`.

    Arguments are those of `TarImageDataset`; what it is by number is in `MapStyleDataset` and `Selectable`.
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


@functools.lru_cache(64)
def fingerprint_of(shards: tuple[str, ...]) -> str:
    """16 hex digits of what is in these shards."""
    digest = blake2b(digest_size=8)
    for shard in shards:  # of what is in them, wherever they lie
        digest.update(b"%d,%d;" % index_summary(shard))
    return digest.hexdigest()


def _has_glob(urls: Urls) -> bool:
    return any(set("*?[") & set(os.fspath(url)) for url in ([urls] if isinstance(urls, str | os.PathLike) else urls))
