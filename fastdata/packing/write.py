"""Write one shard from its files."""

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from fastdata.errors import PackError
from fastdata.packing.check import is_undamaged
from fastdata.packing.convert import Conversion, Converted, Keep, convert
from fastdata.packing.plan import PlannedShard
from fastdata.sources.manifest import ShardEntry
from fastdata.sources.stretch import Later
from fastdata.sources.writer import ShardWriter

Progress = Callable[[int, int], None]
"""Is called with the number of files, and of their bytes, that were read since the last call."""


_BEYOND = bytearray(1)  # what a file has that became larger than it was goes here


class Written(NamedTuple):
    """A shard that was written, and what became of its images (as in `manifest.Made`)."""

    entry: ShardEntry
    source_bytes: int
    changed: int
    refused: int
    image_bytes: int
    damaged: int


def extension_of(path: str) -> str:
    """The part of a path's basename behind its last dot, in lower case."""
    _, dot, extension = path.rpartition("/")[2].rpartition(".")
    return extension.lower() if dot else ""


def write_shard(planned: PlannedShard, report: Progress) -> Written:
    """Writes a shard, with its index; raises as `engines.write_shards`."""
    try:
        return _write(planned, report)
    except PackError:
        raise
    except OSError as error:
        raise PackError(f"{planned.path} can't be written: {error.strerror or error}") from error


def _write(planned: PlannedShard, report: Progress) -> Written:
    files = _Files(planned, report)
    targets, sizes = planned.targets.tolist(), planned.sizes.tolist()  # as numpy's numbers they take a third longer
    samples = zip(planned.files, planned.keys, targets, sizes, strict=True)
    with ShardWriter(planned.path, planned.hash) as shard:
        for number, (file, key, target, size) in enumerate(samples):
            components = files.image(file, size)
            if target >= 0:
                components["cls"] = b"%d" % target
            shard.write(key, components | _fields(planned, number, files))
            files.end_sample()
    checked = planned.check and not files.damaged
    entry = ShardEntry(planned.path.name, shard.samples, shard.size, shard.hash, checked)
    return Written(entry, int(planned.sizes.sum()), files.changed, files.refused, files.image_bytes, files.damaged)


def _fields(planned: PlannedShard, number: int, files: "_Files") -> dict[str, bytes | Later]:
    """The components of a sample that are neither image nor class, in the order in which they are packed."""
    fields: dict[str, bytes | Later] = {}
    if planned.columns and planned.columns[number]:
        fields["json"] = planned.columns[number]
    for name, paths, sizes in planned.fields:
        if sizes[number] >= 0:
            fields[name] = files.as_it_is(paths[number], int(sizes[number]))
    return fields


class _Files:
    """The files of a shard: they are read to where they shall lie in it, looked at if that was asked for, and counted.

    `changed`, `refused`, `image_bytes` and `damaged` are counts of the samples so far, as in `Written`.
    """

    def __init__(self, planned: PlannedShard, report: Progress) -> None:
        self.changed = self.refused = self.image_bytes = self.damaged = 0
        self._root, self._conversion, self._check = planned.root, planned.conversion, planned.check
        self._report = report
        self._is_damaged, self._bytes = False, 0  # of this sample so far

    def image(self, file: str, size: int) -> dict[str, bytes | Later]:
        """An image as it goes into the shard, by its extension."""
        if isinstance(self._conversion, Keep):
            self.image_bytes += size
            return {extension_of(file): self.as_it_is(file, size)}
        path, data = f"{self._root}/{file}", bytearray(size)
        _read_into(path, memoryview(data))
        self._bytes += size
        given = bytes(data)
        image = _converted(path, given, self._conversion)
        if image.data is given:  # what was made here was decoded for it
            self._look_at(given)
        self.changed += image.data is not given
        self.refused += image.refused
        self.image_bytes += len(image.data)
        return {image.extension: image.data}

    def as_it_is(self, file: str, size: int) -> Later:
        """A file's own bytes, read when there is a place for them. (A field may be loaded as the image, too.)"""
        self._bytes += size
        return Later(size, partial(self._read_checked if self._check else _read_into, f"{self._root}/{file}"))

    def end_sample(self) -> None:
        """Counts and reports a sample, all of which was read."""
        self.damaged += self._is_damaged
        self._report(1, self._bytes)
        self._is_damaged, self._bytes = False, 0

    def _read_checked(self, path: str, place: memoryview) -> None:
        _read_into(path, place)
        self._look_at(place)

    def _look_at(self, data: bytes | memoryview) -> None:
        if self._check and not is_undamaged(data):
            self._is_damaged = True


def _read_into(path: str, place: memoryview) -> None:
    """Reads a file that has just as many bytes as there is place for; PackError for any other."""
    size = len(place)
    try:
        fd = os.open(path, os.O_RDONLY)  # a file object for each takes as long as reading it
        try:
            received = os.readv(fd, (place, _BEYOND))
            while 0 < received < size and (more := os.readv(fd, (place[received:], _BEYOND))):
                received += more
        finally:
            os.close(fd)
    except OSError as error:
        raise PackError(f"{path} can't be read: {error.strerror}") from error
    if received != size:
        raise PackError(f"{path} changed while it was packed: it had {size} bytes")


def _converted(path: str, data: bytes, conversion: Conversion) -> Converted:
    try:
        return convert(data, extension_of(path), conversion)
    except Exception as error:
        raise PackError(f"{path} can't be packed: {error or type(error).__name__}") from error
