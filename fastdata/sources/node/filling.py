"""Missing pieces of a cache: room is made for them, they are fetched, checked and written."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

from fastdata.cpus import interrupt_nobody
from fastdata.errors import forget_frames
from fastdata.sources.node.eviction import evict, evict_regions
from fastdata.sources.node.fetching import Came, Ranges, fetch
from fastdata.sources.node.ledger import Ledger, Region
from fastdata.sources.node.piece_calls import CALLS, REGION
from fastdata.sources.node.sparse import Piece, RemoteFile, Run, SparseFile, runs

_AT_ONCE = 64  # files that a process asks for ranges at the same time: each takes a round trip
_SLACK = 32  # this share of the limit is removed at once, so that the ledger is not gone through for each piece


class Files(Protocol):
    """Sparse files as they are asked for. Who keeps one keeps it open: so nobody does while he waits for a server."""

    def __getitem__(self, file: RemoteFile, /) -> SparseFile: ...


class Filler:
    """Fills the sparse files in a cache's folder, and keeps them within `limit` bytes, as the ledger counts them.

    `storage` gives what reads a URL's ranges. Whoever calls it has exclusive locks on the pieces.
    """

    def __init__(self, folder: Path, limit: int, storage: Callable[[str], Ranges], ledger: Ledger) -> None:
        self._folder, self._limit, self._storage, self._ledger = folder, limit, storage, ledger
        self._block = os.statvfs(folder).f_frsize
        self._pool = ThreadPoolExecutor(_AT_ONCE, "fastdata-fetch", interrupt_nobody)

    def close(self) -> None:
        """Ends its threads."""
        self._pool.shutdown()

    def fill(self, pieces: Iterable[Piece], files: Files, settled: Callable[[Piece, OSError | None], None]) -> None:
        """Fetches pieces and writes them; `settled` is told of each, as soon as it is there, under a shared lock, or
        can't be had.

        Files are asked at the same time, from threads, which also call `settled`.
        """
        by_file: dict[RemoteFile, list[Run]] = {}
        for run in runs(pieces):
            by_file.setdefault(run[0].file, []).append(run)
        self._count(by_file, files)
        (file, of_file), *others = by_file.items()
        under_way = [self._pool.submit(self._fill_file, files, other, each, settled) for other, each in others]
        try:
            self._fill_file(files, file, of_file, settled)
        finally:
            _wait(under_way)

    def trim(self, ended: Iterable[Piece], files: Files) -> None:
        """Removes what is over the limit, after leases on these pieces have ended."""
        if self._limit:
            if self._ledger.total() > self._limit:
                self._make_room({})
            return
        regions = set()
        for piece in ended:
            file = files[piece.file]
            regions |= {Region(number, file.path.name, file.first_region) for number in file.regions(piece)}
        with self._ledger.locked():
            evict_regions(self._ledger, self._folder, sorted(regions))

    def trim_all(self) -> None:
        """Removes what is over the limit, whoever left it."""
        self._make_room({})

    def _fill_file(
        self, files: Files, file: RemoteFile, of_file: Sequence[Run], settled: Callable[[Piece, OSError | None], None]
    ) -> None:
        left = dict.fromkeys(piece for run in of_file for piece in run)
        try:
            came = fetch(self._storage(file.url), of_file)
            for run in self._written(files[file], came.intact):
                for piece in run:
                    del left[piece]
                    settled(piece, None)
            errors = came.errors
        except OSError as error:
            forget_frames(error)  # they have the data, and the error may be kept
            errors = dict.fromkeys(left, error)
        for piece, what in errors.items():
            settled(piece, what)

    def _written(self, file: SparseFile, left: Sequence[Came]) -> Iterator[Run]:
        """Writes what came, and gives the runs; where the disk is full, after removing more and more of the cache."""
        more = 0
        while left:
            at = [file.at(run[0].offset, len(data)) for run, data in left]
            done, code = CALLS.write(at, [data for _, data in left])
            yield from (run for run, _ in left[:done])
            left = left[done:]
            if code not in (0, errno.ENOSPC):
                raise OSError(code, os.strerror(code), str(file.path))
            if code:
                more = 2 * more if more and not done else len(left[0][1]) + REGION
                self._make_space(more)

    def _make_space(self, more: int) -> None:
        """Removes so many bytes of what is in the cache, if there are. OSError where nothing went."""
        with self._ledger.locked():
            before = self._ledger.total()
            evict(self._ledger, self._folder, max(before - more, 0))
            nothing_went = self._ledger.total() == before
        if nothing_went:
            todo = "make room there, or say another folder or a smaller limit, by fd.Cache(dir, limit)"
            raise OSError(errno.ENOSPC, f"no space left on the cache's disk: {todo}", str(self._folder))

    def _count(self, by_file: Mapping[RemoteFile, Sequence[Run]], files: Files) -> None:
        """Adds what is about to be written to the ledger, in whole blocks of the disk, after making room for it."""
        sizes: dict[int, int] = {}
        for file, of_file in by_file.items():
            first_region = files[file].first_region
            for run in of_file:
                begin, end = run[0].offset // self._block * self._block, -(-run[-1].end // self._block) * self._block
                while begin < end:
                    region = first_region + begin // REGION
                    until = min(end, (begin // REGION + 1) * REGION)
                    sizes[region] = sizes.get(region, 0) + until - begin
                    begin = until
        self._make_room(sizes)

    def _make_room(self, sizes: Mapping[int, int]) -> None:
        """Adds bytes of regions to the ledger, and removes what goes over the limit with them.

        With a limit of 0 nothing: there, all goes when its lease ends.
        """
        more = sum(sizes.values())
        with self._ledger.locked():
            if self._ledger.total() + more > self._limit and (self._limit or not more):
                evict(self._ledger, self._folder, max(self._limit - more - self._limit // _SLACK, 0))
            self._ledger.add(sizes)


def _wait(under_way: Sequence[Future[None]]) -> None:
    """Until all are done, even where this thread is interrupted: they write under its locks."""
    try:
        for each in under_way:
            each.result()
    except BaseException:
        for each in under_way:
            each.cancel()
        wait(under_way)
        raise
