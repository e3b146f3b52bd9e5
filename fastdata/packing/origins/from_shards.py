"""Shards as what is packed: their samples with all components untouched, in other shards."""

import os
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdata.errors import PackError
from fastdata.packing.origins.near import near
from fastdata.packing.origins.source import Source
from fastdata.packing.origins.stored import Stored
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources.folder import FolderScan
from fastdata.sources.listing import Listing, list_shards
from fastdata.sources.paths import Paths, find_key_collisions, key_of, keys_of
from fastdata.sources.regular import open_regular
from fastdata.sources.stores.remote_glob import remote_matches
from fastdata.sources.stores.storage import storage_of
from fastdata.sources.tars.tar import Member
from fastdata.sources.tars.webdataset import Group, groups
from fastdata.sources.urls import Urls, as_list, is_remote, path_of

_COPIES = 4  # of remote shards, which are here at a time


class _Found(NamedTuple):
    """A sample: its key, the extension of its image, and all of its members by extension."""

    key: str
    image: str
    parts: dict[str, Member]


class _Shard(NamedTuple):
    """All samples of a shard, and how it was when they were read, as `Stored.versions` says."""

    version: str
    samples: list[_Found]


def collect_shards(urls: Urls) -> Source:
    """The samples of shards, one after the other, for `pack`. `urls` are paths, globs, brace notation or a json, or
    URLs of such.

    A sample's image is the first that it has of `IMAGE_EXTENSIONS`. All else of it, its class too, is a field, of which
    the bytes stay as they are; fields come in the order of their first appearance. Classes' names are those of the
    jsons beside the shards, or of the json that is named. Of local shards headers are read, and nothing else; others
    are copied here for that, some at a time, and read again, by range, when they are packed.

    Raises what `list_shards` raises, TarError for a shard that is damaged, PackError for a sample without an image, for
    a shard that has not as many samples as its json says, and where there are none at all, OSError for a shard that
    can't be had, and ValueError for a key that is there twice, and for shards of which some are local and others not.
    """
    given = [url for each in as_list(urls) for url in _matches(each)]
    listing, classes = list_shards(given)
    shards = listing.shards
    if len(set(map(is_remote, shards))) > 1:
        raise ValueError(f"{shards[0]} and {shards[-1]}: some shards are local, others are not: pack them one by one")
    which = array("q")
    members: dict[str, array[int]] = {}
    versions: list[str] = []
    names: list[str] = []
    for number, shard in enumerate(_read(shards)):
        versions.append(shard.version)
        for found in shard.samples:
            for extension, member in found.parts.items():
                column = "" if extension == found.image else extension
                members.setdefault(column, array("q")).extend((len(names), member.offset, member.size))
            names.append(f"{found.key}.{found.image}")
            which.append(number)
    _check_counts(listing, which)
    paths = Paths.of(names)
    fields = [name for name in members if name]
    offsets = np.full((len(paths), 1 + len(fields)), -1, np.int64)
    sizes = offsets.copy()
    for place, name in enumerate(["", *fields]):
        rows, offset, size = np.frombuffer(members[name], np.int64).reshape(-1, 3).T
        offsets[rows, place], sizes[rows, place] = offset, size
    of_all = np.repeat(np.frombuffer(which, np.int64)[:, None], 1 + len(fields), 1)
    files = Paths.of(shard if is_remote(shard) else str(Path(shard).absolute()) for shard in shards)
    stored = Stored.of(files, Paths.of(versions), of_all, offsets, sizes)
    return Source(_scan(_folder_of(shards[0]), list(classes), paths), _fields(paths, fields, offsets), stored=stored)


def _check_counts(listing: Listing, which: "array[int]") -> None:
    """PackError where there are no samples, or a shard has not as many as its json says: some would be lost."""
    if not which:
        raise PackError(f"there are no samples in {listing.shards[0] if listing.shards else 'these shards'}")
    counts = np.bincount(np.frombuffer(which, np.int64), minlength=len(listing.shards)).tolist()
    for shard, entry, count in zip(listing.shards, listing.entries, counts, strict=True):
        if entry is not None and entry.nsamples != count:
            raise PackError(f"{shard} has {count} samples, and its json says {entry.nsamples}: copy both again")


def _matches(url: str) -> list[str]:
    return remote_matches(url) if is_remote(url) and "*" in url else [url]


def _folder_of(shard: str) -> str:
    return path_of(shard).rpartition("/")[0] if is_remote(shard) else str(Path(shard).absolute().parent)


def _read(shards: Sequence[str]) -> Iterator[_Shard]:
    """All shards, in their order; several at a time where they are elsewhere."""
    if not shards or not is_remote(shards[0]):
        yield from map(_samples, shards)
        return
    with ThreadPoolExecutor(_COPIES) as pool:
        yield from pool.map(_samples, shards)


def _samples(shard: str) -> _Shard:
    """The samples of a shard; what their members are is in headers, and nothing else is read."""
    etag = storage_of(shard).stat(shard).etag or "" if is_remote(shard) else ""
    with near(shard) as path:
        fd = open_regular(path)
        try:
            version = etag if is_remote(shard) else str(os.fstat(fd).st_mtime_ns)
            return _Shard(version, [_found(shard, group) for group in groups(fd, shard)])
        finally:
            os.close(fd)


def _found(shard: str, group: Group) -> _Found:
    image = next((extension for extension in IMAGE_EXTENSIONS if extension in group.parts), None)
    if image is None:
        problem = f"sample {group.key!r} has no image but {', '.join(group.parts)}"
        raise PackError(f"{shard}, offset {group.start}: {problem}: images end in {', '.join(IMAGE_EXTENSIONS)}")
    return _Found(group.key, image, group.parts)


def _scan(folder: str, classes: list[str], paths: Paths) -> FolderScan:
    """The samples as if they were extracted."""
    twice = find_key_collisions(paths)
    if twice:
        key = key_of(paths[twice[0][0]])
        raise ValueError(f"{len(twice)} keys are there twice in these shards, as {key!r}: leave one of them out")
    class_to_idx = {name: index for index, name in enumerate(classes)}
    targets = np.full(len(paths), -1, np.int64)
    return FolderScan(folder, paths, targets, classes, class_to_idx, keys_of(paths))


def _fields(paths: Paths, names: list[str], offsets: NDArray[np.int64]) -> dict[str, Paths]:
    """For each field the name of each sample's member, '' for a sample without."""
    keys = [path.rpartition(".")[0] for path in paths]
    return {
        name: Paths.of(
            f"{key}.{name}" if has else "" for key, has in zip(keys, (offsets[:, column] >= 0).tolist(), strict=True)
        )
        for column, name in enumerate(names, 1)
    }
