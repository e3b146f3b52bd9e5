"""What the files of the samples take, looked up and checked before anything is written."""

import os
import stat
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdata.errors import PackError
from fastdata.packing.source import Source
from fastdata.packing.write import extension_of
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources.paths import Paths
from fastdata.sources.regular import MAX_BYTES
from fastdata.sources.tar import BLOCK, padded

_PLAIN_NAME = 100  # bytes of an ASCII name that still fits into a member's header
_PAX_RECORDS = 64  # bytes: more than the records of a PAX header have besides a name


class Sizes(NamedTuple):
    """Bytes of each sample's image and of its fields' files, int64 of shape (N,); -1 where it lacks the field.

    `times` are when these files last changed, in ns: int64 of shape (N, 1 + fields).
    """

    images: NDArray[np.int64]
    fields: Mapping[str, NDArray[np.int64]]
    times: NDArray[np.int64]


def measure(source: Source) -> Sizes:
    """The sizes of all files. PackError for what is known now to be nothing that can be packed."""
    scan = source.scan
    times = np.full((len(scan), 1 + len(source.fields)), -1, np.int64)
    images = np.empty(len(scan), np.int64)
    for i, name in enumerate(scan.paths):
        images[i], times[i, 0] = _size_and_time(path := f"{scan.root}/{name}")
        if not images[i]:
            raise PackError(f"{path} is empty: remove it, or get it again")
        _check_extension(source, i, path)
    fields = {}
    for column, (field, paths) in enumerate(source.fields.items(), 1):
        sizes = fields[field] = np.full(len(scan), -1, np.int64)
        for i, name in enumerate(paths):
            if name:
                sizes[i], times[i, column] = _size_and_time(f"{scan.root}/{name}")
    return Sizes(images, fields, times)


def sizes_in_tar(source: Source, sizes: Sizes) -> NDArray[np.int64]:
    """Bytes that each sample takes in a tar file with its image as it is, or a little more: int64 of shape (N,)."""
    scan = source.scan
    components = [("cls", np.where(scan.targets >= 0, 1, -1)), *sizes.fields.items()]
    if source.columns:
        components.append(("json", np.fromiter((len(json) or -1 for json in source.columns), np.int64, len(scan))))
    if _are_plain(scan.paths, [name for name, _ in components]):
        return (
            BLOCK + _padded(sizes.images) + sum(np.where(size >= 0, BLOCK + _padded(size), 0) for _, size in components)
        )
    images = (_header(f"{key}.{extension_of(path)}") for key, path in zip(scan.keys, scan.paths, strict=True))
    total = np.fromiter(images, np.int64, len(scan)) + _padded(sizes.images)
    for name, in_bytes in components:
        headers = np.fromiter((_header(f"{key}.{name}") for key in scan.keys), np.int64, len(scan))
        total += np.where(in_bytes >= 0, headers + _padded(in_bytes), 0)
    return total


def _size_and_time(path: str) -> tuple[int, int]:
    """A file's bytes, and when it last changed, in ns."""
    try:
        status = os.stat(path)  # noqa: PTH116 -- a Path for each file takes longer than the rest
    except OSError as error:
        raise PackError(f"{path} can't be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise PackError(f"{path} is no regular file: remove it")
    if status.st_size > MAX_BYTES:
        raise PackError(f"{path} has {status.st_size} bytes, more than the limit of {MAX_BYTES}: remove it")
    return status.st_size, status.st_mtime_ns


def _check_extension(source: Source, i: int, path: str) -> None:
    """PackError for an image that readers would not find by its extension among the sample's components."""
    extension = extension_of(path)
    if not extension:
        raise PackError(f"{path} has no extension, by which readers would know it for an image: rename it")
    if extension == "cls" and source.scan.targets[i] >= 0:
        raise PackError(f"{path} has the extension that the class index has in shards: rename it")
    if extension == "json" and source.columns:
        raise PackError(f"{path} has the extension that the table's columns have in shards: rename it")
    rank = IMAGE_EXTENSIONS.index(extension) if extension in IMAGE_EXTENSIONS else len(IMAGE_EXTENSIONS)
    for name in set(source.fields) & set(IMAGE_EXTENSIONS[:rank]):
        if source.fields[name][i]:
            raise PackError(
                f"readers would take {source.scan.root}/{source.fields[name][i]} for the image of its sample, and not "
                f"{path}: rename it, to mask.{name} say"
            )


def _are_plain(paths: Paths, components: Iterable[str]) -> bool:
    """Whether all names surely fit into headers of one block: a key is no longer than its path."""
    longest = int(np.diff(paths.offsets).max(initial=0))
    return bool((paths.joined < 128).all()) and longest + 1 + max([longest, *map(len, components)]) <= _PLAIN_NAME


def _header(name: str) -> int:
    """Bytes of a member's headers."""
    if name.isascii() and len(name) <= _PLAIN_NAME:
        return BLOCK
    return 2 * BLOCK + padded(len(os.fsencode(name)) + _PAX_RECORDS)


def _padded(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """What data of so many bytes take: whole blocks."""
    return (sizes + BLOCK - 1) // BLOCK * BLOCK
