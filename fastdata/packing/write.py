"""Write one shard from its files."""

import os
from collections.abc import Callable
from typing import NamedTuple

from fastdata.errors import PackError
from fastdata.packing.check import image_problem, is_undamaged
from fastdata.packing.convert import Conversion, Converted, convert
from fastdata.packing.plan import PlannedShard
from fastdata.packing.usable import UNUSABLE, UnusableError, size_and_time, unreadable
from fastdata.sources.manifest import ShardEntry
from fastdata.sources.tar import pread
from fastdata.sources.writer import ShardWriter

Progress = Callable[[int, int], None]
"""Is called with the number of files, and of their bytes, that were read since the last call."""


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
    source_bytes = changed = refused = image_bytes = damaged = 0
    rejected: list[Rejected] = []
    targets, sizes = planned.targets.tolist(), planned.sizes.tolist()  # as numpy's numbers they take a third longer
    samples = zip(planned.files, planned.keys, targets, sizes, strict=True)
    with ShardWriter(planned.path) as shard:
        for number, (file, key, target, size) in enumerate(samples):
            path = f"{planned.root}/{file}"
            try:
                data, fields = _image(planned, number, path, size), _fields(planned, number)
            except UnusableError as error:
                rejected.append(_rejected(planned, error))
                report(1, 0)
                continue
            image = _converted(path, data, planned.conversion)
            components = {image.extension: image.data}
            if target >= 0:
                components["cls"] = str(target).encode()
            shard.write(key, components | fields)
            source_bytes += size
            changed += image.data is not data
            refused += image.refused
            image_bytes += len(image.data)
            if planned.check:  # What was made here was decoded for it; a field may be loaded as the image, too.
                kept = [*fields.values(), *([data] if image.data is data else [])]
                damaged += not all(map(is_undamaged, kept))
            report(1, len(data) + sum(map(len, fields.values())))
        if rejected and not shard.samples:
            problem = f"{planned.path.name} would be empty, since none of its {len(rejected)} files can be packed"
            raise PackError(f"{problem}; the first: {rejected[0].path} {rejected[0].reason}")
    checked = planned.check and not damaged
    entry = ShardEntry(planned.path.name, shard.samples, shard.size, shard.sha256, checked)
    return Written(entry, source_bytes, changed, refused, image_bytes, damaged, tuple(rejected))


def _image(planned: PlannedShard, number: int, path: str, size: int) -> bytes:
    """The bytes of an image's file. UnusableError where they can't be read or, if that is looked at, are no image."""
    data = _read(path, size, image=True) if planned.stored is None else planned.stored.read(number, 0)
    if planned.skip and planned.check and (problem := image_problem(data)):
        raise UnusableError(path, f"is no image: {problem}")
    return data


def _rejected(planned: PlannedShard, error: UnusableError) -> Rejected:
    """What is noted of a file that is left out; raises the error where none is."""
    if not planned.skip:
        raise error
    return Rejected(error.path.removeprefix(f"{planned.root}/"), error.reason)


def _fields(planned: PlannedShard, number: int) -> dict[str, bytes]:
    """The components of a sample that are neither image nor class, in the order in which they are packed."""
    fields = {}
    if planned.columns and planned.columns[number]:
        fields["json"] = planned.columns[number]
    for column, (name, files, sizes) in enumerate(planned.fields, 1):
        if (size := int(sizes[number])) == -1:
            continue
        if planned.stored is None:
            fields[name] = _read(f"{planned.root}/{files[number]}", size)
        else:
            fields[name] = planned.stored.read(number, column)
    return fields


def _read(path: str, size: int, *, image: bool = False) -> bytes:
    if size == UNUSABLE:
        size_and_time(path, image=image)
        raise UnusableError(path, "changed while it was packed: it could not be packed before")
    try:
        fd = os.open(path, os.O_RDONLY)  # a file object for each takes as long as reading it
        try:
            data = os.read(fd, size + 1)
            if len(data) < size:
                data += pread(fd, size + 1 - len(data), len(data))
        finally:
            os.close(fd)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(data) != size:
        raise UnusableError(path, f"changed while it was packed: it had {size} bytes")
    return data


def _converted(path: str, data: bytes, conversion: Conversion) -> Converted:
    try:
        return convert(data, extension_of(path), conversion)
    except Exception as error:
        raise PackError(f"{path} can't be packed: {error or type(error).__name__}") from error
