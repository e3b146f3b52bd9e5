"""Write one shard from its files."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdata.errors import PackError
from fastdata.packing.check import image_problem, is_undamaged
from fastdata.packing.convert import Conversion, Converted, Keep, convert
from fastdata.packing.origins.reading import Reader, reader_of
from fastdata.packing.origins.usable import CHANGED, UNUSABLE, UnusableError, size_and_time, unreadable
from fastdata.packing.plan import PlannedShard
from fastdata.sources.manifest import ShardEntry
from fastdata.sources.paths import extension_of
from fastdata.sources.tars.stretch import Later
from fastdata.sources.tars.writer import ShardWriter
from fastdata.sources.urls import path_of

Progress = Callable[[int, int], None]
"""Is called with the number of files, and of their bytes, that were read since the last call."""


_BEYOND = bytearray(1)  # what a file has that became larger than it was goes here


class Rejected(NamedTuple):
    """A sample that was left out: the file at fault, as a path below the root, and why."""

    path: str
    reason: str


class Written(NamedTuple):
    """A shard that was written, and what became of its images (as in `manifest.Made`)."""

    entry: ShardEntry
    source_bytes: int
    changed: int
    refused: int
    image_bytes: int
    damaged: int
    rejected: tuple[Rejected, ...] = ()


def write_shard(planned: PlannedShard, report: Progress) -> Written:
    """Writes a shard, with its index; raises as `engines.write_shards`."""
    try:
        return _write(planned, report)
    except PackError:
        raise
    except OSError as error:
        raise PackError(f"{planned.path} can't be written: {error.strerror or error}") from error


def _write(planned: PlannedShard, report: Progress) -> Written:
    if planned.stored is None:
        return _write_from(planned, _Files(planned, report))
    with reader_of(planned.stored) as reader:
        return _write_from(planned, _Files(planned, report, reader))


def _write_from(planned: PlannedShard, files: "_Files") -> Written:
    has_fields = bool(planned.columns or planned.fields)
    samples = zip(planned.files, planned.keys, _numbers(planned.targets), _numbers(planned.sizes), strict=True)
    with ShardWriter(planned.path, planned.hash) as shard:
        for number, (file, key, target, size) in enumerate(samples):
            try:
                components = files.image(number, file, size)
                if target >= 0:
                    components["cls"] = b"%d" % target
                if has_fields:
                    components |= _fields(planned, number, files)
            except UnusableError as error:
                files.reject(error)
                continue
            shard.write(key, components)
            files.end_sample(size)
        if files.rejected and not shard.samples:
            problem = f"{planned.path.name} would be empty, since none of its {len(files.rejected)} files can be packed"
            raise PackError(f"{problem}; the first: {files.rejected[0].path} {files.rejected[0].reason}")
    checked = planned.check and not files.damaged
    entry = ShardEntry(planned.path.name, shard.samples, shard.size, shard.hash, checked)
    images = files.changed, files.refused, files.image_bytes, files.damaged
    return Written(entry, files.source_bytes, *images, tuple(files.rejected))


def _numbers(column: NDArray[np.int64]) -> Iterator[int]:
    """An array's numbers as Python's, as which they are faster; not all at once, as which they take five times more."""
    for first in range(0, len(column), 4096):
        yield from column[first : first + 4096].tolist()


def _fields(planned: PlannedShard, number: int, files: "_Files") -> dict[str, bytes | Later]:
    """The components of a sample that are neither image nor class, in the order in which they are packed."""
    fields: dict[str, bytes | Later] = {}
    if planned.columns and planned.columns[number]:
        fields["json"] = planned.columns[number]
    for column, (name, paths, sizes) in enumerate(planned.fields, 1):
        if sizes[number] != -1:
            fields[name] = files.field(number, column, paths[number], int(sizes[number]))
    return fields


class _Files:
    """The files of a shard: they are read to where they shall lie in it, looked at if that was asked for, and counted.

    Where one may be rejected all of its sample is read before anything is written, and so is what is no local file.
    `source_bytes`, `changed`, `refused`, `image_bytes`, `damaged` and `rejected` are of the samples so far, as in
    `Written`.
    """

    def __init__(self, planned: PlannedShard, report: Progress, stored: Reader | None = None) -> None:
        self.source_bytes = self.changed = self.refused = self.image_bytes = self.damaged = 0
        self.rejected: list[Rejected] = []
        self._planned, self._report, self._stored = planned, report, stored
        self._at_once = planned.skip or stored is not None
        self._begin_sample()

    def _begin_sample(self) -> None:
        self._image_bytes = self._bytes = 0
        self._is_changed = self._is_refused = self._is_damaged = False

    def image(self, number: int, file: str, size: int) -> dict[str, bytes | Later]:
        """An image as it goes into the shard, by its extension. UnusableError where it can't be packed."""
        planned, path = self._planned, f"{self._planned.root}/{file}"
        if isinstance(planned.conversion, Keep) and not self._at_once:
            self._image_bytes = size
            return {extension_of(file): self._later(number, 0, path, size)}
        given = self._whole(number, 0, path, size)
        if planned.skip and planned.check and (problem := image_problem(given)):
            raise UnusableError(path, f"is no image: {problem}")
        image = _converted(path, given, planned.conversion)
        if image.data is given:  # what was made here was decoded for it
            self._look_at(given)
        self._is_changed, self._is_refused = image.data is not given, image.refused
        self._image_bytes = len(image.data)
        return {image.extension: image.data}

    def field(self, number: int, column: int, file: str, size: int) -> bytes | Later:
        """A field as it goes into the shard. (It may be loaded as the image, too.) Raises as `image`."""
        path = f"{self._planned.root}/{file}"
        if not self._at_once:
            return self._later(number, column, path, size)
        data = self._whole(number, column, path, size)
        self._look_at(data)
        return data

    def reject(self, error: UnusableError) -> None:
        """Notes what is wrong with the sample, and leaves it out; raises the error where none is left out."""
        if not self._planned.skip:
            raise error
        self.rejected.append(_listed(self._planned.root, error))
        self._report(1, 0)
        self._begin_sample()

    def end_sample(self, size: int) -> None:
        """Counts and reports a sample, all of which was read; its image's file has that many bytes."""
        self.source_bytes += size
        self.changed += self._is_changed
        self.refused += self._is_refused
        self.image_bytes += self._image_bytes
        self.damaged += self._is_damaged
        self._report(1, self._bytes)
        self._begin_sample()

    def _later(self, number: int, column: int, path: str, size: int) -> Later:
        """A file's own bytes, read when there is a place for them."""
        self._bytes += size
        read = self._read_checked if self._planned.check else _read_into
        return Later(size, partial(read, path, self._time_of(number, column)))

    def _time_of(self, number: int, column: int) -> int | None:
        """When the file had last changed when this was planned, in ns."""
        times = self._planned.times
        return None if times is None else int(times[number, column])

    def _read_checked(self, path: str, time: int | None, place: memoryview) -> None:
        _read_into(path, time, place)
        self._look_at(place)

    def _whole(self, number: int, column: int, path: str, size: int) -> bytes:
        """The bytes of a component now, from its file or from wherever it is stored."""
        if self._stored is not None:
            stored = self._stored.read(number, column)
            self._bytes += size
            return stored
        if size == UNUSABLE:
            size_and_time(path, image=column == 0)
            raise UnusableError(path, "changed while it was packed: it could not be packed before")
        data = bytearray(size)
        _read_into(path, self._time_of(number, column), memoryview(data))
        self._bytes += size
        return bytes(data)

    def _look_at(self, data: bytes | memoryview) -> None:
        if self._planned.check and not is_undamaged(data):
            self._is_damaged = True


def _read_into(path: str, time: int | None, place: memoryview) -> None:
    """Reads a file that has just as many bytes as there is place for, and was last changed at this time, in ns;
    UnusableError for any other. Asked for when all is read, the time tells of whoever wrote meanwhile, too."""
    size = len(place)
    try:
        # A file object for each takes as long as reading it; and what has become a pipe since would wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            received = os.readv(fd, (place, _BEYOND))
            while 0 < received < size and (more := os.readv(fd, (place[received:], _BEYOND))):
                received += more
            changed = time is not None and os.fstat(fd).st_mtime_ns != time
        finally:
            os.close(fd)
    except OSError as error:
        raise unreadable(path, error) from error
    if received != size:
        raise UnusableError(path, f"changed while it was packed: it had {size} bytes")
    if changed:
        raise UnusableError(path, CHANGED)


def _listed(root: str, error: UnusableError) -> Rejected:
    """What is listed of a file, by its path below the root, which is `https://` for URLs of several hosts. The list
    goes where the dataset goes: what follows a "?" in a URL, such as a signature, is not for it."""
    path = path_of(error.path)
    below = path.removeprefix(root if root.endswith("://") else f"{root}/")
    return Rejected(f"{below}{error.part}", error.reason.replace(error.path, path))


def _converted(path: str, data: bytes, conversion: Conversion) -> Converted:
    try:
        return convert(data, extension_of(path), conversion)
    except Exception as error:
        raise PackError(f"{path} can't be packed: {error or type(error).__name__}") from error
