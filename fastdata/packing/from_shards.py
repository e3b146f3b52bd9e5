"""Shards as what is packed: their samples with all components untouched, in other shards."""

import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdata.errors import PackError
from fastdata.packing.source import Source
from fastdata.packing.stored import Stored
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources.folder import FolderScan
from fastdata.sources.listing import Listing, list_shards
from fastdata.sources.paths import Paths, find_key_collisions, key_of, keys_of
from fastdata.sources.tar import Member
from fastdata.sources.urls import Urls, is_remote
from fastdata.sources.webdataset import groups


class _Found(NamedTuple):
    """A sample of shard number `which`: its key, the extension of its image, and all of its members by extension."""

    which: int
    key: str
    image: str
    parts: dict[str, Member]


def collect_shards(urls: Urls) -> Source:
    """The samples of shards, one after the other, for `pack`. `urls` are paths, globs, brace notation or a json.

    A sample's image is the first that it has of `IMAGE_EXTENSIONS`. All else of it, its class too, is a field, of which
    the bytes stay as they are; fields come in the order of their first appearance. Classes' names are those of the
    jsons beside the shards. Headers are read, and nothing else.

    Raises what `list_shards` raises, TarError for a shard that is damaged, PackError for a sample without an image, for
    a shard that has not as many samples as its json says, and where there are none at all, and ValueError for a key
    that is there twice and shards that are remote.
    """
    listing, classes = list_shards(urls)
    shards = listing.shards
    remote = [shard for shard in shards if is_remote(shard)]
    if remote:
        raise ValueError(f"{remote[0]} is a URL, and shards are packed from local files only: copy them first")
    which = array("q")
    members: dict[str, array[int]] = {}
    times: list[int] = []
    names: list[str] = []
    for row, found in enumerate(_samples(shards, times)):
        names.append(f"{found.key}.{found.image}")
        which.append(found.which)
        for extension, member in found.parts.items():
            column = "" if extension == found.image else extension
            members.setdefault(column, array("q")).extend((row, member.offset, member.size))
    _check_counts(listing, which)
    paths = Paths.of(names)
    fields = [name for name in members if name]
    offsets = np.full((len(paths), 1 + len(fields)), -1, np.int64)
    sizes = offsets.copy()
    for place, name in enumerate(["", *fields]):
        rows, offset, size = np.frombuffer(members[name], np.int64).reshape(-1, 3).T
        offsets[rows, place], sizes[rows, place] = offset, size
    stored = Stored(
        Paths.of(str(Path(shard).absolute()) for shard in shards),
        np.frombuffer(which, np.int64),
        offsets,
        sizes,
        np.array(times, np.int64),
    )
    return Source(
        _scan(str(Path(shards[0]).parent), list(classes), paths), _fields(paths, fields, offsets), stored=stored
    )


def _check_counts(listing: Listing, which: "array[int]") -> None:
    """PackError where there are no samples, or a shard has not as many as its json says: some would be lost."""
    if not which:
        raise PackError(f"there are no samples in {listing.shards[0] if listing.shards else 'these shards'}")
    counts = np.bincount(np.frombuffer(which, np.int64), minlength=len(listing.shards)).tolist()
    for shard, entry, count in zip(listing.shards, listing.entries, counts, strict=True):
        if entry is not None and entry.nsamples != count:
            raise PackError(f"{shard} has {count} samples, and its json says {entry.nsamples}: copy both again")


def _samples(shards: list[str], times: list[int]) -> Iterator[_Found]:
    """All samples; appends to `times` when each shard last changed."""
    for which, shard in enumerate(shards):
        fd = os.open(shard, os.O_RDONLY)
        try:
            times.append(os.fstat(fd).st_mtime_ns)
            for key, start, parts in groups(fd, shard):
                image = next((extension for extension in IMAGE_EXTENSIONS if extension in parts), None)
                if image is None:
                    problem = f"sample {key!r} has no image but {', '.join(parts)}"
                    raise PackError(f"{shard}, offset {start}: {problem}: images end in {', '.join(IMAGE_EXTENSIONS)}")
                yield _Found(which, key, image, parts)
        finally:
            os.close(fd)


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
