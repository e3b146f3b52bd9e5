"""What is expected is on disk before it is asked for, and whoever asks never waits in line."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from fastdata.sources.node.range_cache import RangeCache
from fastdata.sources.node.read_ahead import ReadAhead
from fastdata.sources.node.sparse import Piece, RemoteFile
from support.caches import on_disk, read_leased
from support.processes import PATIENCE, assert_no_more_threads_than, run_python, threads, wait_until
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


def pieces_of(pieces: list[Piece]) -> Callable[[Sequence[int]], dict[int, Piece]]:
    """Of numbers that are places in the list."""
    return lambda numbers: {number: pieces[number] for number in numbers}


def received(ahead: ReadAhead, cache: RangeCache, pieces: list[Piece], numbers: Sequence[int]) -> list[bytes]:
    wanted = pieces_of(pieces)(numbers)
    with ahead.lease(wanted) as lease:
        return read_leased(cache, lease, list(wanted.values()))


def expected(pieces: list[Piece], contents: dict[RemoteFile, bytes], numbers: Sequence[int]) -> list[bytes]:
    return [contents[pieces[number].file][pieces[number].offset : pieces[number].end] for number in numbers]


def wait_until_asked(server: RangeServer, number: int) -> None:
    wait_until(lambda: len(server.ranges) >= number)


def test_what_is_expected_comes_before_it_is_asked_for(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = shuffled(server)
    with closing(ReadAhead(lambda: cache, pieces_of(pieces))) as ahead:
        ahead.expect(range(len(pieces)))
        wait_until_asked(server, len(pieces) // 2)
        for first in range(0, len(pieces), 16):
            some = range(first, min(first + 16, len(pieces)))
            assert received(ahead, cache, pieces, some) == expected(pieces, contents, some)
    assert server.times_served() == 1


def test_a_block_comes_in_one_range_with_the_first_of_it_that_is_expected(
    server: RangeServer, cache: RangeCache
) -> None:
    pieces, contents = shuffled(server)
    file = pieces[0].file
    block = [number for number, piece in enumerate(pieces) if piece.file == file]
    with closing(ReadAhead(lambda: cache, pieces_of(pieces))) as ahead:
        ahead.expect([0], [block])
        wait_until_asked(server, 1)
        assert received(ahead, cache, pieces, block) == expected(pieces, contents, block)
    assert len(server.ranges) == 1


def test_no_more_than_max_bytes_are_ahead(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = shuffled(server, 2, 4 << 20)
    with closing(ReadAhead(lambda: cache, pieces_of(pieces), max_bytes=2 << 20, num_threads=3)) as ahead:
        ahead.expect(range(len(pieces)))
        for first in range(0, len(pieces), 8):
            some = range(first, min(first + 8, len(pieces)))
            assert received(ahead, cache, pieces, some) == expected(pieces, contents, some)
            taken = sum(piece.size for piece in pieces[: first + 8])
            assert server.bytes_served() <= taken + (4 << 20)
    assert server.times_served() == 1


def test_whoever_asks_first_is_served_first(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = shuffled(server)
    with closing(ReadAhead(lambda: cache, pieces_of(pieces), max_bytes=1 << 20, num_threads=1)) as ahead:
        ahead.expect(range(len(pieces) - 1))
        last = range(len(pieces) - 20, len(pieces))
        assert received(ahead, cache, pieces, last) == expected(pieces, contents, last)
    assert server.times_served() == 1


def test_what_is_expected_and_never_asked_for_does_not_stop_the_rest(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = shuffled(server, 4, 2 << 20)
    with closing(ReadAhead(lambda: cache, pieces_of(pieces), max_bytes=2 << 20, num_threads=2)) as ahead:
        ahead.expect(range(len(pieces)))
        for first in range(len(pieces) // 2, len(pieces) - 36, 4):
            some = range(first, first + 4)
            assert received(ahead, cache, pieces, some) == expected(pieces, contents, some)
        rest = {(piece.file.url.rpartition("/")[2], piece.offset) for piece in pieces[-32:]}
        wait_until(lambda: any((path, first) in rest for path, first, _ in server.ranges))
    assert server.times_served() == 1


def test_an_error_is_raised_where_the_piece_is_used(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = shuffled(server)
    server.broken.add("train-2.tar")
    bad = [number for number, piece in enumerate(pieces) if piece.file.url.endswith("train-2.tar")]
    good = [number for number in range(len(pieces)) if number not in bad]
    with closing(ReadAhead(lambda: cache, pieces_of(pieces))) as ahead:
        ahead.expect(range(len(pieces)))
        assert received(ahead, cache, pieces, good) == expected(pieces, contents, good)
        with ahead.lease(pieces_of(pieces)(bad)) as lease:
            assert list(lease.errors) == [pieces[number] for number in bad]
        server.broken.clear()
        assert received(ahead, cache, pieces, bad) == expected(pieces, contents, bad)


def test_a_defect_of_the_program_is_raised(server: RangeServer, cache: RangeCache) -> None:
    pieces, _ = shuffled(server)

    def broken() -> RangeCache:
        raise TypeError("a defect")

    with closing(ReadAhead(broken, pieces_of(pieces))) as ahead:
        ahead.expect(range(len(pieces)))
        wait_until(lambda: ahead._defect is not None)
        assert ahead._defect is not None
        assert ahead._defect.__traceback__ is None  # else its frames would keep a batch
        with pytest.raises(TypeError, match="a defect"):
            ahead.lease(pieces_of(pieces)(range(16)))


def test_a_fault_that_passes_is_raised_once(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = shuffled(server)
    fails = True

    def sometimes() -> RangeCache:
        if fails:
            raise MemoryError("just now")
        return cache

    with closing(ReadAhead(sometimes, pieces_of(pieces))) as ahead:
        ahead.expect(range(16))
        wait_until(lambda: ahead._defect is not None)
        fails = False
        with pytest.raises(MemoryError, match="just now"):
            ahead.lease(pieces_of(pieces)(range(16)))
        for some in (range(16), range(16, 32)):
            assert received(ahead, cache, pieces, some) == expected(pieces, contents, some)


def test_closing_ends_threads_and_leases_whatever_is_left(server: RangeServer, tmp_path: Path) -> None:
    pieces, _ = shuffled(server)
    with closing(RangeCache(tmp_path / "ranges", 0, lambda url: HttpRanges())) as cache:
        before = threads()
        ahead = ReadAhead(lambda: cache, pieces_of(pieces), max_bytes=2 << 20)
        ahead.expect(range(len(pieces)))
        wait_until_asked(server, 30)
        ahead.close()
        ahead.close()
        ahead.expect(range(len(pieces)))
        assert on_disk(tmp_path / "ranges") == 0
    assert_no_more_threads_than(before + 1)  # the server's


def test_a_forked_child_reads_on_by_itself(server: RangeServer, tmp_path: Path) -> None:
    pieces, contents = shuffled(server)
    every = range(len(pieces))
    caches = [RangeCache(tmp_path / "ranges", 1 << 30, lambda url: HttpRanges())]

    def child() -> None:
        caches[0].close()
        caches[0] = RangeCache(tmp_path / "ranges", 1 << 30, lambda url: HttpRanges())
        ahead.expect(range(len(pieces)))
        assert threads() > 8, "nobody reads ahead here"
        assert received(ahead, caches[0], pieces, every) == expected(pieces, contents, every)
        ahead.close()

    with closing(ReadAhead(lambda: caches[0], pieces_of(pieces), max_bytes=2 << 20)) as ahead:
        ahead.expect(range(len(pieces)))
        wait_until_asked(server, 10)
        forked = get_context("fork").Process(target=child)
        forked.start()
        forked.join(PATIENCE)
        assert forked.exitcode == 0
        assert received(ahead, caches[0], pieces, every) == expected(pieces, contents, every)
    caches[0].close()
    assert server.times_served() == 1


def test_the_interpreter_ends_with_much_still_expected(server: RangeServer, tmp_path: Path) -> None:
    pieces, _ = shuffled(server)
    program = """
import pickle, sys
from pathlib import Path
from fastdata.sources.node.range_cache import RangeCache
from fastdata.sources.node.read_ahead import ReadAhead
from support.ranges import HttpRanges
cache = RangeCache(Path(sys.argv[1]), 1 << 30, lambda url: HttpRanges())
pieces = pickle.loads(Path(sys.argv[2]).read_bytes())
ahead = ReadAhead(lambda: cache, lambda numbers: {n: pieces[n] for n in numbers}, max_bytes=1 << 20)
ahead.expect(range(len(pieces)))
"""
    (tmp_path / "pieces").write_bytes(pickle.dumps(pieces))
    run_python(program, tmp_path / "ranges", tmp_path / "pieces")
