"""Write one shard from its files."""

import os
from collections.abc import Callable
from typing import NamedTuple

from fastdata.errors import PackError
from fastdata.packing.check import is_undamaged
from fastdata.packing.convert import Conversion, Converted, convert
from fastdata.packing.plan import PlannedShard
from fastdata.sources.manifest import ShardEntry
from fastdata.sources.tar import pread
from fastdata.sources.writer import ShardWriter

Progress = Callable[[int, int], None]
"""Is called with the number of files, and of their bytes, that were read since the last call."""


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
    changed = refused = image_bytes = damaged = 0
    targets, sizes = planned.targets.tolist(), planned.sizes.tolist()  # as numpy's numbers they take a third longer
    samples = zip(planned.files, planned.keys, targets, sizes, strict=True)
    with ShardWriter(planned.path) as shard:
        for number, (file, key, target, size) in enumerate(samples):
            path = f"{planned.root}/{file}"
            data = _read(path, size)
            image = _converted(path, data, planned.conversion)
            components = {image.extension: image.data}
            if target >= 0:
                components["cls"] = str(target).encode()
            fields = _fields(planned, number)
            shard.write(key, components | fields)
            changed += image.data is not data
            refused += image.refused
            image_bytes += len(image.data)
            if planned.check:  # What was made here was decoded for it; a field may be loaded as the image, too.
                kept = [*fields.values(), *([data] if image.data is data else [])]
                damaged += not all(map(is_undamaged, kept))
            report(1, len(data) + sum(map(len, fields.values())))
    checked = planned.check and not damaged
    entry = ShardEntry(planned.path.name, shard.samples, shard.size, shard.hash, checked)
    return Written(entry, int(planned.sizes.sum()), changed, refused, image_bytes, damaged)


def _fields(planned: PlannedShard, number: int) -> dict[str, bytes]:
    """The components of a sample that are neither image nor class, in the order in which they are packed."""
    fields = {}
    if planned.columns and planned.columns[number]:
        fields["json"] = planned.columns[number]
    for name, files, sizes in planned.fields:
        if sizes[number] >= 0:
            fields[name] = _read(f"{planned.root}/{files[number]}", int(sizes[number]))
    return fields


def _read(path: str, size: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY)  # a file object for each takes as long as reading it
        try:
            data = os.read(fd, size + 1)
            if len(data) < size:
                data += pread(fd, size + 1 - len(data), len(data))
        finally:
            os.close(fd)
    except OSError as error:
        raise PackError(f"{path} can't be read: {error.strerror}") from error
    if len(data) != size:
        raise PackError(f"{path} changed while it was packed: it had {size} bytes")
    return data


def _converted(path: str, data: bytes, conversion: Conversion) -> Converted:
    try:
        return convert(data, extension_of(path), conversion)
    except Exception as error:
        raise PackError(f"{path} can't be packed: {error or type(error).__name__}") from error
