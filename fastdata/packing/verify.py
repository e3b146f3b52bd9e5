"""Shards are read again, to find what is wrong with them: on another machine after a copy, say."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from xxhash import xxh3_64_intdigest

from fastdata.errors import ManifestError, TarError
from fastdata.packing.check import image_problem
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources import manifest
from fastdata.sources.cache import local
from fastdata.sources.content_hash import hash_of
from fastdata.sources.dataset_index import DatasetIndex, IndexPart
from fastdata.sources.index import index_path, load
from fastdata.sources.index_writer import widened
from fastdata.sources.manifest import ShardEntry
from fastdata.sources.rows import NO_CLASS, Rows, RowsBuilder, class_in, extensions, is_sealed, plain
from fastdata.sources.tar import Member, padded, pread
from fastdata.sources.urls import expand
from fastdata.sources.webdataset import groups


class Fault(NamedTuple):
    """What is wrong with a shard: `key` and `offset` say where in it, '' and -1 where it is the file as a whole."""

    shard: str
    key: str
    offset: int
    problem: str

    def __str__(self) -> str:
        where = f", offset {self.offset}" if self.offset >= 0 else ""
        return f"{self.shard}{where}{f', sample {self.key!r}' if self.key else ''}: {self.problem}"


class Listed(NamedTuple):
    """A shard to verify, the json of the dataset whose name it has, and what that says of it; None without one.

    `part` are its rows in the dataset's index; what is wrong with that index is said of the first of its shards.
    """

    path: str
    json: Path | None = None
    entry: ShardEntry | None = None
    part: IndexPart | None = None
    of_index: Fault | None = None


def shards_of(what: str) -> list[Listed]:
    """The shards of a dataset's json, of all datasets in a folder, or those that a path, URL or glob stands for.

    In a folder without a json these are all `*.tar`. Beside a json those that have the dataset's name belong to it,
    whether it lists them or not. Raises as `manifest.load` and `expand`, FileNotFoundError where there is nothing.
    """
    path = Path(what)
    if path.suffix == ".json":
        return _of_json(path)
    if not path.is_dir():
        return [Listed(local(url)) for url in expand(what)]
    listed = [shard for file in sorted(path.glob("*.json")) if manifest.is_ours(file) for shard in _of_json(file)]
    listed = listed or [Listed(str(file)) for file in sorted(path.glob("*.tar"))]
    if not listed:
        raise FileNotFoundError(f"no dataset in {path}: neither a json of fastdata's nor *.tar")
    return listed


def _of_json(file: Path) -> list[Listed]:
    found = manifest.load(file)
    listed = {entry.url: entry for entry in found.shards}
    named = re.compile(rf"{re.escape(found.name)}-\d{{6}}\.tar")
    there = {path.name for path in file.parent.iterdir() if named.fullmatch(path.name)}
    index, fault = _index_of(file, found)
    shards, first = list[Listed](), 0
    for name in [*listed, *sorted(there - listed.keys())]:
        entry = listed.get(name)
        part = IndexPart(index, first, entry.nsamples, entry.filesize) if index and entry else None
        shards.append(Listed(str(file.parent / name), file, entry, part, None if shards else fault))
        first += entry.nsamples if entry else 0
    return shards


def _index_of(file: Path, found: manifest.Manifest) -> tuple[DatasetIndex | None, Fault | None]:
    """The index that a json means, or what is wrong with it."""
    if found.index is None:
        return None, None
    path, todo = str(file.with_name(manifest.index_name(file.stem))), "copy it again, or pack the dataset again"
    try:
        index = DatasetIndex(path, found.index)
    except (OSError, ManifestError) as error:
        return None, Fault(path, "", -1, f"{error}: {todo}")
    if len(index) != found.nsamples:
        return None, Fault(
            path, "", -1, f"it has {len(index)} samples, not {found.nsamples} as {file.name} says: {todo}"
        )
    if damaged := index.damaged():
        return None, Fault(path, "", damaged[0], f"its bytes from there on are not those that were written: {todo}")
    return index, None


def verify(shards: Sequence[Listed], *, decode: bool = False, jobs: int = 1) -> Iterator[list[Fault]]:
    """Verifies shards in so many threads, and gives each one's faults, in their order: [] for one that is good.

    A shard has the size, hash and number of samples that its json says, is a whole tar file in WebDataset's layout,
    and its stored index, where that is the one of this file, says what lies in it. With `decode` each sample's image is
    decoded, too. ValueError for `jobs` below 1.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    with ThreadPoolExecutor(jobs) as pool:  # hashing and decoding let other threads run
        futures = [pool.submit(faults_of, shard, decode=decode) for shard in shards]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def faults_of(shard: Listed, *, decode: bool = False) -> list[Fault]:
    """All that is wrong with a shard, as `verify` says."""
    of_index = [shard.of_index] if shard.of_index else []
    try:
        fd = os.open(shard.path, os.O_RDONLY)
    except OSError as error:
        return [*of_index, Fault(shard.path, "", -1, f"can't be opened: {error.strerror}")]
    try:
        return [*of_index, *_differences(fd, shard), *_contents(fd, shard, decode)]
    except OSError as error:
        return [*of_index, Fault(shard.path, "", -1, f"can't be read: {error.strerror}: is the disk failing?")]
    finally:
        os.close(fd)


def _differences(fd: int, shard: Listed) -> Iterator[Fault]:
    """Where the file is not the one that the json says."""
    if shard.json is None:
        return
    if shard.entry is None:
        problem = f"{shard.json.name} does not list it: move it away, or get the json that belongs to it"
        yield Fault(shard.path, "", -1, problem)
        return
    size = os.fstat(fd).st_size
    if size != shard.entry.filesize:
        problem = f"it has {size} bytes, not {shard.entry.filesize} as {shard.json.name} says: copy or pack it again"
        yield Fault(shard.path, "", -1, problem)
        return
    if hash_of(fd, like=shard.entry.hash) != shard.entry.hash:
        problem = f"its bytes are not those of which {shard.json.name} has the hash: copy or pack it again"
        yield Fault(shard.path, "", -1, problem)


def _contents(fd: int, shard: Listed, decode: bool) -> Iterator[Fault]:
    """What is wrong with the samples in the file, and with its index."""
    builder, samples = RowsBuilder(shard.path), 0
    stored = load(fd, shard.path) if shard.part is None else shard.part.unchecked()
    try:
        for key, start, parts in groups(fd, shard.path):
            cls = parts.get("cls")
            builder.add(key, start, NO_CLASS if cls is None else class_in(_bytes_of(fd, cls)), parts)
            if problem := _broken_seal(fd, stored, samples, start, parts):
                yield Fault(shard.path, key, start, problem)
            samples += 1
            image = next((parts[extension] for extension in IMAGE_EXTENSIONS if extension in parts), None)
            if decode and image is not None and (problem := image_problem(_bytes_of(fd, image))):
                yield Fault(shard.path, key, image.offset, problem)
    except TarError as error:
        yield Fault(shard.path, "", error.offset, error.problem)
        return
    if shard.entry is not None and samples != shard.entry.nsamples:
        yield Fault(shard.path, "", -1, f"it has {samples} samples, not {shard.entry.nsamples}: pack it again")
    if stored is not None and not np.array_equal(plain(stored), widened(builder.rows(), extensions(stored))):
        todo = f"remove {index_path(shard.path).name}, and it is made again" if shard.part is None else "pack it again"
        yield Fault(shard.path, "", -1, f"its index is not what lies in it: {todo}")


def _broken_seal(fd: int, stored: Rows | None, row: int, start: int, parts: Mapping[str, Member]) -> str:
    """What is wrong with a sample by the end and the hash that its index has for it, if it has; '' for nothing."""
    if stored is None or not is_sealed(stored):
        return ""
    end = max(padded(member.offset + member.size) for member in parts.values())
    if row >= len(stored) or stored["end"][row] != end:
        return "it does not end where its index says: copy or pack the shard again"
    if stored["hash"][row] != xxh3_64_intdigest(pread(fd, end - start, start)):
        return "its bytes are not those of which its index has the hash: copy or pack the shard again"
    return ""


def _bytes_of(fd: int, member: Member) -> bytes:
    return pread(fd, member.size, member.offset)
