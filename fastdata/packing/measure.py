"""What the files of the samples take, looked up and checked before anything is written."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdata.errors import PackError
from fastdata.packing.source import Source
from fastdata.packing.write import extension_of
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources.regular import MAX_BYTES
from fastdata.sources.tar import BLOCK, padded

_PLAIN_NAME = 100  # bytes of an ASCII name that still fits into a member's header
_PAX_RECORDS = 64  # bytes: more than the records of a PAX header have besides a name


class Sizes(NamedTuple):
    """Bytes of each sample's image and of its fields' files, int64 of shape (N,); -1 where it lacks the field."""

    images: NDArray[np.int64]
    fields: Mapping[str, NDArray[np.int64]]


def measure(source: Source) -> Sizes:
    """The sizes of all files. PackError for what is known now to be nothing that can be packed."""
    scan = source.scan
    images = np.empty(len(scan), np.int64)
    for i in range(len(scan)):
        path = scan.path(i)
        images[i] = _size(path)
        if not images[i]:
            raise PackError(f"{path} is empty: remove it, or get it again")
        _check_extension(source, i)
    fields = {
        name: np.fromiter((_size(f"{scan.root}/{path}") if path else -1 for path in paths), np.int64, len(paths))
        for name, paths in source.fields.items()
    }
    return Sizes(images, fields)


def size_in_tar(source: Source, sizes: Sizes, i: int) -> int:
    """Bytes that a sample takes in a tar file with its image as it is, or a little more."""
    key = source.scan.key(i)
    size = _member(f"{key}.{extension_of(source.scan.paths[i])}", int(sizes.images[i]))
    if source.scan.targets[i] >= 0:
        size += _member(f"{key}.cls", 1)
    if source.columns and source.columns[i]:
        size += _member(f"{key}.json", len(source.columns[i]))
    return size + sum(_member(f"{key}.{name}", int(n[i])) for name, n in sizes.fields.items() if n[i] >= 0)


def _size(path: str) -> int:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise PackError(f"{path} can't be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise PackError(f"{path} is no regular file: remove it")
    if status.st_size > MAX_BYTES:
        raise PackError(f"{path} has {status.st_size} bytes, more than the limit of {MAX_BYTES}: remove it")
    return status.st_size


def _check_extension(source: Source, i: int) -> None:
    """PackError for an image that readers would not find by its extension among the sample's components."""
    path = source.scan.path(i)
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


def _member(name: str, size: int) -> int:
    encoded = os.fsencode(name)
    plain = name.isascii() and len(encoded) <= _PLAIN_NAME
    header = BLOCK if plain else 2 * BLOCK + padded(len(encoded) + _PAX_RECORDS)
    return header + padded(size)
