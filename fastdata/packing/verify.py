"""Shards are read again, to find what is wrong with them: on another machine after a copy, say."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from xxhash import xxh3_64

from fastdata.errors import TarError
from fastdata.packing.check import image_problem
from fastdata.packing.origins.near import near
from fastdata.packing.to_verify import Fault, Listed
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources.regular import MAX_BYTES, open_regular
from fastdata.sources.tars.content_hash import hash_of
from fastdata.sources.tars.index import index_path, load
from fastdata.sources.tars.index_writer import widened
from fastdata.sources.tars.rows import NO_CLASS, Rows, RowsBuilder, class_in, extensions, is_sealed, plain
from fastdata.sources.tars.tar import Member, padded, pread
from fastdata.sources.tars.webdataset import groups
from fastdata.sources.urls import is_remote

_CHUNK = 1 << 20  # bytes that are read and hashed at once


def verify(shards: Sequence[Listed], *, decode: bool = False, jobs: int = 1) -> Iterator[list[Fault]]:
    """Verifies shards in so many threads, and gives each one's faults, in their order: [] for one that is good.

    A shard has the size, hash and number of samples that its json says, is a whole tar file in WebDataset's layout,
    and its stored index, where that is the one of this file, says what lies in it. With `decode` each sample's image is
    decoded, too. Of a shard at a URL a copy is made, which is there while it is verified, where Python's tempfile keeps
    its files (TMPDIR). ValueError for `jobs` below 1.
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
        with near(shard.path) as path:
            return [*of_index, *_faults_in(path, shard, decode)]
    except OSError as error:
        return [*of_index, Fault(shard.path, "", -1, f"can't be opened: {error.strerror or error}")]


def _faults_in(path: str, shard: Listed, decode: bool) -> list[Fault]:
    """All that is wrong with a shard, of which there is a file at `path`. OSError where that can't be opened."""
    fd = open_regular(path)
    try:
        return [*_differences(fd, shard), *_contents(fd, shard, decode)]
    except OSError as error:
        return [Fault(shard.path, "", -1, f"can't be read: {error.strerror or error}: is the disk failing?")]
    finally:
        os.close(fd)


def _differences(fd: int, shard: Listed) -> Iterator[Fault]:
    """Where the file is not the one that the json says."""
    if not shard.json:
        return
    json = shard.json.rpartition("/")[2]
    if shard.entry is None:
        problem = f"{json} does not list it: move it away, or get the json that belongs to it"
        yield Fault(shard.path, "", -1, problem)
        return
    size = os.fstat(fd).st_size
    if size != shard.entry.filesize:
        problem = f"it has {size} bytes, not {shard.entry.filesize} as {json} says: copy or pack it again"
        yield Fault(shard.path, "", -1, problem)
        return
    if hash_of(fd, like=shard.entry.hash) != shard.entry.hash:
        problem = f"its bytes are not those of which {json} has the hash: copy or pack it again"
        yield Fault(shard.path, "", -1, problem)


def _contents(fd: int, shard: Listed, decode: bool) -> Iterator[Fault]:
    """What is wrong with the samples in the file, and with its index."""
    builder, samples = RowsBuilder(shard.path), 0
    own = None if is_remote(shard.path) else load(fd, shard.path)
    stored = own if shard.part is None else shard.part.unchecked()
    try:
        for key, start, parts in groups(fd, shard.path):
            for extension, member in parts.items():
                if member.size > MAX_BYTES:
                    problem = f"its component {extension!r} has {member.size} bytes, more than the limit of {MAX_BYTES}"
                    yield Fault(shard.path, key, member.offset, f"{problem}: repack the shard without it")
            cls = _small(parts.get("cls"))
            builder.add(key, start, NO_CLASS if cls is None else class_in(_bytes_of(fd, cls)), parts)
            if problem := _broken_seal(fd, stored, samples, start, parts):
                yield Fault(shard.path, key, start, problem)
            samples += 1
            image = _small(next((parts[extension] for extension in IMAGE_EXTENSIONS if extension in parts), None))
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
    if stored["hash"][row] != _hash_between(fd, start, end):
        return "its bytes are not those of which its index has the hash: copy or pack the shard again"
    return ""


def _hash_between(fd: int, start: int, end: int) -> int:
    made = xxh3_64()
    for at in range(start, end, _CHUNK):
        made.update(pread(fd, min(_CHUNK, end - at), at))
    return made.intdigest()


def _small(member: Member | None) -> Member | None:
    """A member that can be read whole, if there is one."""
    return member if member is not None and member.size <= MAX_BYTES else None


def _bytes_of(fd: int, member: Member) -> bytes:
    return pread(fd, member.size, member.offset)
