"""What is expected is on disk before it is asked for, and whoever asks never waits in line."""

import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from fastdata.sources.range_cache import RangeCache
from fastdata.sources.read_ahead import ReadAhead
from fastdata.sources.sparse import Piece, RemoteFile
from support.caches import on_disk, read_leased
from support.processes import PATIENCE, assert_no_more_threads_than, run_python, threads
from support.ranges import HttpRanges, RangeServer, content, cut, serving_ranges


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with serving_ranges() as each:
        yield each


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[RangeCache]:
    with closing(RangeCache(tmp_path / "ranges", 1 << 30, lambda url: HttpRanges())) as each:
        yield each


def shuffled(server: RangeServer, number: int = 4, size: int = 1 << 20) -> tuple[list[Piece], dict[RemoteFile, bytes]]:
    """All pieces of some files, in another order, and the files' bytes."""
    contents = {}
    for each in range(number):
        data = content(each, size)
        contents[server.add(f"train-{each}.tar", data)] = data
    pieces = [piece for each, (file, data) in enumerate(contents.items()) for piece in cut(file, data, each)]
    return [pieces[number] for number in np.random.default_rng(0).permutation(len(pieces))], contents


def received(ahead: ReadAhead, cache: RangeCache, pieces: list[Piece]) -> list[bytes]:
    with ahead.lease(pieces) as lease:
        return read_leased(cache, lease, pieces)


def expected(pieces: list[Piece], contents: dict[RemoteFile, bytes]) -> list[bytes]:
    return [contents[piece.file][piece.offset : piece.end] for piece in pieces]


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        os.sched_yield()


def wait_until_asked(server: RangeServer, number: int) -> None:
    wait_until(lambda: len(server.ranges) >= number)


def test_what_is_expected_comes_before_it_is_asked_for(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = shuffled(server)
    with closing(ReadAhead(lambda: cache)) as ahead:
        ahead.expect(pieces)
        wait_until_asked(server, len(pieces) // 2)
        for first in range(0, len(pieces), 16):
            some = pieces[first : first + 16]
            assert received(ahead, cache, some) == expected(some, contents)
    assert server.times_served() == 1


def test_no_more_than_max_bytes_are_ahead(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = shuffled(server, 2, 4 << 20)
    with closing(ReadAhead(lambda: cache, max_bytes=2 << 20, num_threads=3)) as ahead:
        ahead.expect(pieces)
        for first in range(0, len(pieces), 8):
            some = pieces[first : first + 8]
            assert received(ahead, cache, some) == expected(some, contents)
            taken = sum(piece.size for piece in pieces[: first + 8])
            assert server.bytes_served() <= taken + (4 << 20)
    assert server.times_served() == 1


def test_whoever_asks_first_is_served_first(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = shuffled(server)
    with closing(ReadAhead(lambda: cache, max_bytes=1 << 20, num_threads=1)) as ahead:
        ahead.expect(pieces[:-1])
        assert received(ahead, cache, pieces[-20:]) == expected(pieces[-20:], contents)
    assert server.times_served() == 1


def test_what_is_expected_and_never_asked_for_does_not_stop_the_rest(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = shuffled(server, 4, 2 << 20)
    asked = pieces[len(pieces) // 2 :]
    with closing(ReadAhead(lambda: cache, max_bytes=2 << 20, num_threads=2)) as ahead:
        ahead.expect(pieces)
        for first in range(0, len(asked) - 32, 4):
            some = asked[first : first + 4]
            assert received(ahead, cache, some) == expected(some, contents)
        rest = {(piece.file.url.rpartition("/")[2], piece.offset) for piece in asked[-32:]}
        wait_until(lambda: any((path, first) in rest for path, first, _ in server.ranges))
    assert server.times_served() == 1


def test_an_error_is_raised_where_the_piece_is_used(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = shuffled(server)
    server.broken.add("train-2.tar")
    good = [piece for piece in pieces if not piece.file.url.endswith("train-2.tar")]
    bad = [piece for piece in pieces if piece not in good]
    with closing(ReadAhead(lambda: cache)) as ahead:
        ahead.expect(pieces)
        assert received(ahead, cache, good) == expected(good, contents)
        with ahead.lease(bad) as lease:
            assert list(lease.errors) == bad
        server.broken.clear()
        assert received(ahead, cache, bad) == expected(bad, contents)


def test_a_defect_of_the_program_is_raised(server: RangeServer, cache: RangeCache) -> None:
    pieces, _ = shuffled(server)

    def broken() -> RangeCache:
        raise TypeError("a defect")

    with closing(ReadAhead(broken)) as ahead:
        ahead.expect(pieces)
        with pytest.raises(TypeError, match="a defect"):
            ahead.lease(pieces)


def test_closing_ends_threads_and_leases_whatever_is_left(server: RangeServer, tmp_path: Path) -> None:
    pieces, _ = shuffled(server)
    with closing(RangeCache(tmp_path / "ranges", 0, lambda url: HttpRanges())) as cache:
        before = threads()
        ahead = ReadAhead(lambda: cache, max_bytes=2 << 20)
        ahead.expect(pieces)
        wait_until_asked(server, 30)
        ahead.close()
        ahead.close()
        ahead.expect(pieces)
        assert on_disk(tmp_path / "ranges") == 0
    assert_no_more_threads_than(before + 1)  # the server's


def test_a_forked_child_reads_on_by_itself(server: RangeServer, tmp_path: Path) -> None:
    pieces, contents = shuffled(server)
    caches = [RangeCache(tmp_path / "ranges", 1 << 30, lambda url: HttpRanges())]

    def child() -> None:
        caches[0].close()
        caches[0] = RangeCache(tmp_path / "ranges", 1 << 30, lambda url: HttpRanges())
        ahead.expect(pieces)
        assert received(ahead, caches[0], pieces) == expected(pieces, contents)
        ahead.close()

    with closing(ReadAhead(lambda: caches[0], max_bytes=2 << 20)) as ahead:
        ahead.expect(pieces)
        wait_until_asked(server, 10)
        forked = get_context("fork").Process(target=child)
        forked.start()
        forked.join(PATIENCE)
        assert forked.exitcode == 0
        assert received(ahead, caches[0], pieces) == expected(pieces, contents)
    caches[0].close()
    assert server.times_served() == 1


def test_the_interpreter_ends_with_much_still_expected(server: RangeServer, tmp_path: Path) -> None:
    pieces, _ = shuffled(server)
    program = """
import pickle, sys
from pathlib import Path
from fastdata.sources.range_cache import RangeCache
from fastdata.sources.read_ahead import ReadAhead
from support.ranges import HttpRanges
cache = RangeCache(Path(sys.argv[1]), 1 << 30, lambda url: HttpRanges())
ahead = ReadAhead(lambda: cache, max_bytes=1 << 20)
ahead.expect(pickle.loads(Path(sys.argv[2]).read_bytes()))
"""
    (tmp_path / "pieces").write_bytes(pickle.dumps(pieces))
    run_python(program, tmp_path / "ranges", tmp_path / "pieces")
