"""What the files of the samples take, looked up and checked before anything is written."""

import os
import stat
from array import array
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdata.errors import PackError
from fastdata.packing.origins.reading import reader_of
from fastdata.packing.origins.source import Source
from fastdata.packing.origins.stored import Stored
from fastdata.packing.origins.usable import UNUSABLE, UnusableError, size_and_time
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources.paths import Paths, extension_of
from fastdata.sources.regular import MAX_BYTES
from fastdata.sources.tars.tar import BLOCK, padded

_PLAIN_NAME = 100  # bytes of an ASCII name that still fits into a member's header
_PAX_RECORDS = 64  # bytes: more than the records of a PAX header have besides a name


_KIND = stat.S_IFMT(0o777777)  # the bits of a mode that say what a file is
_LACKING = stat.S_IFREG, -1, -1
_UNKNOWN = 0, 0, 0
_WAY = getattr(os, "O_PATH", os.O_RDONLY)  # O_PATH, of Linux, needs no permission to read the folder


class Sizes(NamedTuple):
    """Bytes of each sample's image and of its fields' files, int64 of shape (N,); -1 where it lacks the field, UNUSABLE
    for a file that can't be packed.

    `times` are when these files last changed, in ns: int64 of shape (N, 1 + fields).
    """

    images: NDArray[np.int64]
    fields: Mapping[str, NDArray[np.int64]]
    times: NDArray[np.int64]


def measure(source: Source, *, skip: bool = False) -> Sizes:
    """The sizes of all files. PackError for one that is known now to be nothing that can be packed, unless `skip`."""
    scan = source.scan
    if source.stored is not None:
        return _of_stored(source, source.stored, skip)
    beside_pictures = not set(source.fields).isdisjoint(IMAGE_EXTENSIONS)
    for i, name in enumerate(scan.paths) if beside_pictures or not _are_usual(scan.paths) else ():
        _check_extension(source, i, f"{scan.root}/{name}")
    found = [_looked_up(scan.root, scan.paths, skip, image=True)]
    found += [_looked_up(scan.root, paths, skip) for paths in source.fields.values()]
    sizes = [np.ascontiguousarray(column[:, 0]) for column in found]
    times = np.stack([column[:, 1] for column in found], axis=1)
    return Sizes(sizes[0], dict(zip(source.fields, sizes[1:], strict=True)), times)


def _are_usual(paths: Paths) -> bool:
    """Whether all have extensions, and none one that something else may have in shards."""
    endings = {path[path.rfind(".") :] for path in paths}  # the last character where there is no dot
    return all(end[0] == "." and "/" not in end and end[1:].lower() not in ("", "cls", "json") for end in endings)


def _looked_up(root: str, paths: Paths, skip: bool, image: bool = False) -> NDArray[np.int64]:
    """Sizes and times of files, int64 of shape (N, 2); -1 where a sample lacks one.

    All are asked for first, and looked at together: one by one that takes half as long again.
    """
    found = array("q")  # a number is appended in a third of the time that it takes to put it into numpy's array
    put = found.extend
    directory = os.open(root, _WAY | os.O_DIRECTORY)  # the way to a file is shorter from there
    try:
        for path in paths:
            put(_asked(path, directory) if path else _LACKING)
    finally:
        os.close(directory)
    table = np.frombuffer(found, np.int64).reshape(-1, 3)
    modes, sizes = table[:, 0], table[:, 1]
    is_good = ((modes & _KIND) == stat.S_IFREG) & (sizes <= MAX_BYTES) & (sizes != 0 if image else True)
    result = table[:, 1:].copy()
    for i in np.flatnonzero(~is_good).tolist():
        result[i] = _usable(f"{root}/{paths[i]}", skip, image)
    return result


def _asked(path: str, directory: int) -> tuple[int, int, int]:
    """A file's mode, size in bytes and time in ns; no file's where it can't be asked for."""
    try:
        status = os.stat(path, dir_fd=directory)
    except OSError:
        return _UNKNOWN
    return status.st_mode, status.st_size, status.st_mtime_ns


def _of_stored(source: Source, stored: Stored, skip: bool) -> Sizes:
    """The sizes of what is stored somewhere, which are known."""
    for i, column in np.argwhere(stored.sizes == UNUSABLE)[:1].tolist() if not skip else []:
        with reader_of(stored.take(np.array([i]))) as reader:
            reader.read(0, column)  # which raises what is wrong with it
    for i, name in enumerate(source.scan.paths):
        _check_extension(source, i, f"{source.scan.root}/{name}")
    columns = dict(zip(source.fields, stored.sizes.T[1:], strict=True))
    return Sizes(stored.sizes[:, 0], columns, np.where(stored.sizes >= 0, 0, -1))


def _usable(path: str, skip: bool, image: bool = False) -> tuple[int, int]:
    """Size and time of a file; UNUSABLE and -1 for one that can't be packed where these are skipped."""
    try:
        return size_and_time(path, image=image)
    except UnusableError:
        if not skip:
            raise
        return UNUSABLE, -1


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
    return (np.maximum(sizes, 0) + BLOCK - 1) // BLOCK * BLOCK
