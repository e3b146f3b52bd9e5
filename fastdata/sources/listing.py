"""Which shards a dataset consists of, in their order, with all that jsons say of them.

A dataset's json says it all: its shards are asked for nothing before they are read, and their rows come from the
dataset's index. Shards that are named one by one belong to the json beside them, if it lists them.
"""

import errno
import os
import warnings
from array import array
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path

from msgspec import UNSET

from fastdata.errors import ManifestError
from fastdata.sources import manifest
from fastdata.sources.dataset_index import DatasetIndex
from fastdata.sources.manifest import Manifest, ShardEntry
from fastdata.sources.node.cache import local
from fastdata.sources.node.node_cache import Cache
from fastdata.sources.node.sparse import RemoteFile
from fastdata.sources.opened_shard import Known
from fastdata.sources.remote_dataset import remote_index, remote_manifest
from fastdata.sources.tars.index import Summary, index_count, index_summary
from fastdata.sources.tars.index_layout import SUFFIX
from fastdata.sources.urls import (
    Urls,
    as_list,
    beside,
    expand_one,
    is_manifest,
    is_remote,
    names_all,
    plain_path,
    refuse_repeated,
)


class Listing:
    """Shards in order, as paths or URLs, and what jsons say of each: `entries` has None where none lists it."""

    def __init__(self, cache: Cache | None = None) -> None:
        self.cache = Cache() if cache is None else cache
        self.shards: list[str] = []
        self.entries: list[ShardEntry | None] = []
        self.indexes: list[DatasetIndex] = []
        """Of the datasets that have one."""
        self.which = array("q")
        """The place in `indexes` of each shard's, or -1."""
        self.firsts = array("q")
        """The row in that index of each shard's first sample."""
        self._fingerprint = ""

    def add(self, shard: str, entry: ShardEntry | None, index: DatasetIndex | None, first: int) -> None:
        """Adds a shard."""
        if index is not None and index not in self.indexes:
            self.indexes.append(index)
        self.shards.append(shard)
        self.entries.append(entry)
        self.which.append(-1 if index is None else self.indexes.index(index))
        self.firsts.append(first)

    def known(self, position: int) -> Known | None:
        """What is known of a shard, by its position."""
        entry, which = self.entries[position], self.which[position]
        if entry is None:
            return None
        return Known(entry, self.indexes[which] if which >= 0 else None, self.firsts[position])

    @property
    def has_far(self) -> bool:
        """Whether the samples of any shard are read by range."""
        return any(which >= 0 and is_remote(shard) for shard, which in zip(self.shards, self.which, strict=True))

    def remote_file(self, position: int) -> RemoteFile | None:
        """A shard whose samples are read by range, None for any other; by its position."""
        known = self.known(position)
        return None if known is None else known.remote_file(self.shards[position])

    def counts(self) -> list[int]:
        """The number of samples in each shard. Those that no json lists are counted, as `index_count` raises."""
        pairs = zip(self.shards, self.entries, strict=True)
        return [
            index_count(local(shard, self.cache.dir)) if entry is None else entry.nsamples for shard, entry in pairs
        ]

    def filesizes(self) -> list[int]:
        """Bytes of each shard. Those that no json lists are asked, as `local` and `stat` raise."""
        pairs = zip(self.shards, self.entries, strict=True)
        return [
            Path(local(shard, self.cache.dir)).stat().st_size if entry is None else entry.filesize
            for shard, entry in pairs
        ]

    def fingerprint(self) -> str:
        """16 hex digits of what is in the shards, wherever they lie, and whether or not a json lists them."""
        if not self._fingerprint:
            digest = blake2b(digest_size=8)
            for shard, entry in zip(self.shards, self.entries, strict=True):
                digest.update(b"%d,%d;" % self._summary(shard, entry))
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def _summary(self, shard: str, entry: ShardEntry | None) -> Summary:
        if entry is None or entry.rows is UNSET:
            return index_summary(local(shard, self.cache.dir))
        return Summary(entry.nsamples, entry.rows)


class _Dataset:
    """A json that was read, and the index that it means."""

    def __init__(self, json: str, found: Manifest, index: DatasetIndex | None) -> None:
        self.json, self.manifest, self.index = json, found, index
        self.firsts = list(accumulate((entry.nsamples for entry in found.shards), initial=0))
        self.places = {entry.url: place for place, entry in enumerate(found.shards)}

    def add_to(self, listing: Listing, place: int, shard: str) -> None:
        listing.add(shard, self.manifest.shards[place], self.index, self.firsts[place])


def list_shards(urls: Urls, cache: Cache | None = None) -> tuple[Listing, tuple[str, ...]]:
    """The shards that `urls` stands for, as `expand` says, and the names of their classes, () where unknown.

    A json may be remote, too; what is fetched goes into `cache`. ValueError where the shards' datasets have different
    classes, since one number would mean two of them; FileNotFoundError where all shards of a dataset are meant and its
    json lists one that is not there; ManifestError for a damaged json; OSError, or what the protocol's package raises,
    where a remote one can't be had.
    """
    listing, datasets = Listing(cache), dict[str, _Dataset | None]()
    for url in as_list(urls):
        if is_manifest(url):
            dataset = datasets[url] = _remote(url, listing.cache) if is_remote(url) else _local(Path(plain_path(url)))
            for place, entry in enumerate(dataset.manifest.shards):
                dataset.add_to(listing, place, beside(dataset.json, entry.url))
        else:
            for shard in expand_one(url):
                _add_named(listing, shard, datasets)
    refuse_repeated(listing.shards)
    known = [dataset for dataset in datasets.values() if dataset is not None]
    for dataset in known if names_all(urls) else ():
        _refuse_missing(dataset)
    return listing, _classes(known)


def _add_named(listing: Listing, shard: str, datasets: dict[str, _Dataset | None]) -> None:
    """Adds a shard with what a json beside it says. Jsons are read once for all shards of their name."""
    folder, name = os.path.split(shard)
    prefix = "" if is_remote(shard) else f"{folder}/{name.rpartition('-')[0]}"
    if prefix not in datasets:
        file = manifest.json_of(shard) if prefix else None
        datasets[prefix] = _local(file) if file else None
    dataset = datasets[prefix]
    place = dataset.places.get(name) if dataset else None
    if dataset is None or place is None:
        listing.add(shard, None, None, 0)
    else:
        dataset.add_to(listing, place, shard)


def _local(file: Path) -> _Dataset:
    found = manifest.load(file)
    return _Dataset(str(file), found, _index_beside(file, found))


def _index_beside(file: Path, found: Manifest) -> DatasetIndex | None:
    """The index of a local json; None, with a warning, where it is missing or another's: shards have all it says."""
    if found.index is None:
        return None
    path = file.with_name(file.stem + SUFFIX)
    try:
        index = DatasetIndex(str(path), found.index)
        if len(index) != found.nsamples:
            raise ManifestError(f"{path} has {len(index)} samples, and {file} says {found.nsamples}")
    except (ManifestError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        todo = "copy it again from where the shards come from"
        warnings.warn(
            f"{error}: so each shard is indexed when it is first read, which takes time: {todo}", stacklevel=2
        )
        return None
    return index


def _remote(url: str, cache: Cache) -> _Dataset:
    found = remote_manifest(url, cache.dir)
    index = None if found.index is None else remote_index(url, found.index, cache.dir)
    if index is not None and len(index) != found.nsamples:
        raise ManifestError(f"{index.path} has {len(index)} samples, and {url} says {found.nsamples}: copy both again")
    return _Dataset(url, found, index)


def _refuse_missing(dataset: _Dataset) -> None:
    if is_remote(dataset.json):
        return
    there = {file.name for file in os.scandir(Path(dataset.json).parent)}  # one question, not one for each shard
    missing = [name for name in dataset.places if name not in there]
    if missing:
        raise FileNotFoundError(f"{dataset.json} lists {missing[0]} and {len(missing) - 1} more that are not there")


def _classes(datasets: list[_Dataset]) -> tuple[str, ...]:
    classes = {dataset.manifest.classes: dataset.json for dataset in reversed(datasets)}
    if len(classes) > 1:
        *_, second, first = classes.values()
        raise ValueError(f"{first} and {second} have different classes: pack both with the same class folders")
    return next(iter(classes), ())
