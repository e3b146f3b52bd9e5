"""Pieces of remote files are fetched once, checked, kept within a bound, and never anything but what they are."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from fastdata.sources.node import eviction, range_cache
from fastdata.sources.node.piece_calls import REGION
from fastdata.sources.node.range_cache import RangeCache
from fastdata.sources.node.sparse import Piece, RemoteFile
from support.caches import lease_all, lease_in_threads, leased, on_disk
from support.processes import PATIENCE
from support.ranges import HttpRanges, RangeServer, content, cut, pieces_of, serving_ranges

PLENTY = 1 << 40


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with serving_ranges() as each:
        yield each


def opened(folder: Path, limit: int | None = PLENTY) -> RangeCache:
    return RangeCache(folder, limit, lambda url: HttpRanges())


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[RangeCache]:
    with closing(opened(tmp_path / "ranges")) as each:
        yield each


def files_of(server: RangeServer, number: int, size: int) -> tuple[list[Piece], dict[RemoteFile, bytes]]:
    """Files on the server, and all of their pieces."""
    contents = {}
    pieces = []
    for each in range(number):
        data = content(each, size)
        file = server.add(f"train-{each}.tar", data)
        contents[file] = data
        pieces += cut(file, data, each)
    return pieces, contents


def expected(pieces: list[Piece], contents: dict[RemoteFile, bytes]) -> list[bytes]:
    return [contents[piece.file][piece.offset : piece.end] for piece in pieces]


def test_pieces_are_at_their_offsets_and_fetched_once(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = files_of(server, 3, 300_000)
    some = [pieces[number] for number in np.random.default_rng(0).permutation(len(pieces))[:20]]
    assert leased(cache, some) == expected(some, contents)
    assert leased(cache, pieces) == expected(pieces, contents)
    assert server.times_served() == 1
    assert {cache.path(file).stat().st_size for file in contents} == {300_000}


def test_neighbours_come_as_one_range(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = files_of(server, 1, 500_000)
    assert leased(cache, pieces[3:9] + pieces[1:2]) == expected(pieces[3:9] + pieces[1:2], contents)
    ranges = [(first, end) for _, first, end in server.ranges]
    assert ranges == [(pieces[1].offset, pieces[1].end), (pieces[3].offset, pieces[8].end)]


def test_what_is_there_is_there_for_the_next_process(server: RangeServer, tmp_path: Path) -> None:
    pieces, contents = files_of(server, 2, 200_000)
    for _ in range(2):
        with closing(opened(tmp_path / "ranges")) as cache:
            assert leased(cache, pieces) == expected(pieces, contents)
    assert server.times_served() == 1


def test_other_content_at_a_url_is_another_file(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = files_of(server, 1, 100_000)
    assert leased(cache, pieces) == expected(pieces, contents)
    data = content(7, 100_000)
    other = server.add("train-0.tar", data)._replace(content="another")
    assert leased(cache, cut(other, data)) == [data[piece.offset : piece.end] for piece in cut(other, data)]


@pytest.mark.slow
def test_two_processes_with_two_threads_each_fetch_each_byte_once(server: RangeServer, tmp_path: Path) -> None:
    pieces, contents = files_of(server, 8, 400_000)
    with get_context("spawn").Pool(2) as pool:
        jobs = [pool.apply_async(lease_in_threads, (tmp_path / "ranges", PLENTY, pieces, seed)) for seed in range(2)]
        results = [job.get(PATIENCE) for job in jobs]
        pool.close()
        pool.join()
    for of_process in results:
        for order, received in of_process:
            assert received == expected(order, contents)
    assert server.times_served() == 1


def test_threads_that_want_the_same_at_once_get_it_from_one_fetch(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = files_of(server, 2, 200_000)
    server.held.clear()
    with ThreadPoolExecutor(4) as pool:
        under_way = [pool.submit(leased, cache, pieces[number:]) for number in range(4)]
        server.held.set()
        for number, each in enumerate(under_way):
            assert each.result(PATIENCE) == expected(pieces[number:], contents)
    assert server.times_served() == 1


def test_two_that_want_the_same_small_pieces_at_once_do_not_wait_for_each_other(
    server: RangeServer, tmp_path: Path
) -> None:
    """Of pieces without a whole block of the disk both look for each one, and neither has it."""
    data = content(0, 200_000)
    pieces = pieces_of(server.add("train.tar", data), data, list(range(1000, 200_001, 1000)))
    together = threading.Barrier(2)
    rounds = 8

    def work() -> int:
        """As in a process of its own: with other open files, whose locks exclude the other one's."""
        same = 0
        for number in range(rounds):
            with closing(opened(tmp_path / f"ranges-{number}")) as cache:
                together.wait(PATIENCE)
                for first in range(0, len(pieces), 64):
                    some = pieces[first : first + 64]
                    same += leased(cache, some) == expected(some, {pieces[0].file: data})
                together.wait(PATIENCE)
        return same

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(work) for _ in range(2)]
        assert [each.result(PATIENCE) for each in both] == [4 * rounds] * 2


def test_a_cache_smaller_than_the_data_gives_the_right_bytes_and_keeps_its_bound(
    server: RangeServer, tmp_path: Path
) -> None:
    pieces, contents = files_of(server, 3, 6 * REGION)
    limit = 5 * REGION
    order = np.random.default_rng(1).integers(0, len(pieces), 400)
    with closing(opened(tmp_path / "ranges", limit)) as cache:
        for first in range(0, 400, 8):
            some = [pieces[number] for number in order[first : first + 8]]
            assert leased(cache, some) == expected(some, contents)
            assert on_disk(tmp_path / "ranges") <= limit
    assert on_disk(tmp_path / "ranges") > limit // 2


def test_a_file_that_claims_more_than_a_tebibyte_is_refused(cache: RangeCache, tmp_path: Path) -> None:
    piece = Piece(RemoteFile("http://h/train.tar", (1 << 40) + 1, "xxh3_128:0"), 0, 512, 0)
    with pytest.raises(OSError, match=r"http://h/train\.tar has more than 1099511627776 bytes"):
        cache.lease([piece])
    assert on_disk(tmp_path / "ranges") < 100_000


def test_what_was_used_least_recently_goes_first(server: RangeServer, tmp_path: Path) -> None:
    data = content(0, 8 * REGION)
    pieces = pieces_of(server.add("train.tar", data), data, list(range(REGION // 4, 8 * REGION + 1, REGION // 4)))
    of_region = [pieces[first : first + 4] for first in range(0, 32, 4)]
    with closing(opened(tmp_path / "ranges", 4 * REGION)) as cache:
        for region in (0, 1, 2, 0, 3, 7):
            leased(cache, of_region[region])
        server.ranges.clear()
        leased(cache, of_region[0] + of_region[3] + of_region[7])
        assert server.ranges == []
        leased(cache, of_region[1])
        assert server.bytes_served() == REGION


def test_a_limit_of_0_keeps_what_is_in_use_and_no_more(server: RangeServer, tmp_path: Path) -> None:
    pieces, contents = files_of(server, 2, 3 * REGION)
    with closing(opened(tmp_path / "ranges", 0)) as cache:
        first = cache.lease(pieces[:5])
        assert leased(cache, pieces[90:95]) == expected(pieces[90:95], contents)
        assert leased(cache, pieces[:5]) == expected(pieces[:5], contents)
        assert server.times_served() == 1
        first.close()
        assert on_disk(tmp_path / "ranges") == 0


def test_what_is_leased_is_not_removed(server: RangeServer, tmp_path: Path) -> None:
    pieces, contents = files_of(server, 3, 4 * REGION)
    with closing(opened(tmp_path / "ranges", REGION)) as cache, closing(opened(tmp_path / "ranges", REGION)) as other:
        kept = pieces[10:14]
        with cache.lease(kept):
            for first in range(0, len(pieces), 20):
                leased(other, pieces[first : first + 20])
            received = [os.pread(os.open(cache.path(p.file), os.O_RDONLY), p.size, p.offset) for p in kept]
        assert received == expected(kept, contents)


def test_where_a_file_system_has_no_holes_whole_files_go(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction, "punch", lambda *_: False)
    pieces, contents = files_of(server, 4, 2 * REGION)
    with closing(opened(tmp_path / "ranges", 3 * REGION)) as cache:
        for first in range(0, len(pieces), 16):
            some = pieces[first : first + 16]
            assert leased(cache, some) == expected(some, contents)
            assert on_disk(tmp_path / "ranges") <= 3 * REGION


def test_a_flipped_byte_is_asked_for_again(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = files_of(server, 1, 300_000)
    server.flips["train-0.tar", pieces[4].offset + 5] = 1
    assert leased(cache, pieces) == expected(pieces, contents)
    assert server.ranges[1:] == [("train-0.tar", pieces[4].offset, pieces[4].end)]


def test_bytes_that_stay_others_are_an_error_of_that_piece_alone(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = files_of(server, 1, 300_000)
    server.flips["train-0.tar", pieces[4].offset + 5] = 100
    with cache.lease(pieces) as lease:
        (error,) = lease.errors.items()
    assert error[0] == pieces[4]
    assert f"{pieces[4].file.url}, offset {pieces[4].offset}" in str(error[1])
    rest = pieces[:4] + pieces[5:]
    assert leased(cache, rest) == expected(rest, contents)
    server.flips.clear()
    assert leased(cache, pieces) == expected(pieces, contents)


def test_a_file_that_cannot_be_had_is_an_error_of_its_pieces_alone(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = files_of(server, 2, 100_000)
    server.broken.add("train-1.tar")
    with cache.lease(pieces) as lease:
        assert {piece.file.url[-11:] for piece in lease.errors} == {"train-1.tar"}
    rest = [piece for piece in pieces if piece not in lease.errors]
    assert leased(cache, rest) == expected(rest, contents)


def test_a_damaged_or_punched_piece_on_disk_is_fetched_again(server: RangeServer, cache: RangeCache) -> None:
    pieces, contents = files_of(server, 1, 300_000)
    leased(cache, pieces)
    with cache.path(pieces[0].file).open("r+b") as file:
        file.seek(pieces[2].offset)
        file.write(b"\0")
        file.seek(pieces[7].end - 1)
        file.write(b"\0")
    server.ranges.clear()
    assert leased(cache, pieces) == expected(pieces, contents)
    assert [first for _, first, _ in server.ranges] == [pieces[2].offset, pieces[7].offset]


@pytest.mark.slow
def test_killed_at_any_moment_a_piece_is_whole_or_absent(server: RangeServer, tmp_path: Path) -> None:
    pieces, contents = files_of(server, 4, 3 * REGION)
    context = get_context("fork")
    rng = np.random.default_rng(2)
    limit = 8 * REGION
    for number in range(20):
        victim = context.Process(target=lease_all, args=(tmp_path / "ranges", limit, pieces, number))
        before = len(server.ranges)
        victim.start()
        until = int(rng.integers(0, 12))
        while len(server.ranges) < before + until and victim.exitcode is None:
            os.sched_yield()
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        with closing(opened(tmp_path / "ranges", limit)) as cache:
            for first in range(0, len(pieces), 32):
                some = pieces[first : first + 32]
                assert leased(cache, some) == expected(some, contents)
            assert on_disk(tmp_path / "ranges") <= limit


def test_whoever_waits_for_a_process_that_dies_fetches_by_itself(server: RangeServer, tmp_path: Path) -> None:
    pieces, contents = files_of(server, 1, 100_000)
    server.held.clear()
    victim = get_context("fork").Process(target=lease_all, args=(tmp_path / "ranges", PLENTY, pieces, 0))
    victim.start()
    with closing(opened(tmp_path / "ranges")) as cache, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(leased, cache, pieces)
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        server.held.set()
        assert waiting.result(PATIENCE) == expected(pieces, contents)


def test_threads_that_are_the_first_to_open_a_file_have_the_same_one(server: RangeServer, tmp_path: Path) -> None:
    """One that found it registered must not have opened what another then removed."""
    files = [server.add(f"train-{number}.tar", b"x" * 512) for number in range(300)]
    start = threading.Barrier(4)
    with closing(opened(tmp_path / "ranges")) as cache, ThreadPoolExecutor(4) as pool:

        def numbers(_: int) -> list[int]:
            start.wait()
            sparse = [cache._opened(file) for file in files]
            return [os.fstat(each.fd).st_ino for each in sparse]

        assert len({tuple(each) for each in pool.map(numbers, range(4))}) == 1


def test_interrupted_it_leaves_nothing_locked(
    server: RangeServer, cache: RangeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces, contents = files_of(server, 3, 100_000)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fastdata.sources.node.filling.fetch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.lease(pieces)
    assert leased(cache, pieces) == expected(pieces, contents)


def test_threads_under_pressure_never_get_anything_else(server: RangeServer, tmp_path: Path) -> None:
    pieces, contents = files_of(server, 2, 3 * REGION)
    wrong: list[Piece] = []

    def work(cache: RangeCache, seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(25):
            some = [pieces[number] for number in rng.integers(0, len(pieces), 6)]
            if leased(cache, some) != expected(some, contents):
                wrong.extend(some)

    with closing(opened(tmp_path / "ranges", REGION)) as pressed:
        threads = [threading.Thread(target=work, args=(pressed, seed)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a disk that is small")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_what_can_go_goes_and_then_it_is_an_error(server: RangeServer, small_disk: Path) -> None:
    pieces, contents = files_of(server, 3, 4 * REGION)
    with closing(opened(small_disk / "ranges")) as cache:
        for first in range(0, len(pieces), 16):
            some = pieces[first : first + 16]
            assert leased(cache, some) == expected(some, contents)
        with cache.lease(pieces) as lease:
            assert lease.errors
            for error in lease.errors.values():
                assert error.errno == errno.ENOSPC
                assert "no space left on the cache's disk: make room there, or say another folder" in str(error)
                assert str(small_disk) in str(error)
        assert leased(cache, pieces[:16]) == expected(pieces[:16], contents)


def test_without_a_limit_it_takes_half_of_what_is_free(server: RangeServer, small_disk: Path) -> None:
    pieces, contents = files_of(server, 3, 4 * REGION)
    with closing(opened(small_disk / "ranges", None)) as cache:
        for first in range(0, len(pieces), 8):
            some = pieces[first : first + 8]
            assert leased(cache, some) == expected(some, contents)
    assert 2 * REGION < on_disk(small_disk / "ranges") <= 4 * REGION
    with closing(opened(small_disk / "ranges", None)) as cache:
        leased(cache, pieces[:8])
    assert 2 * REGION < on_disk(small_disk / "ranges") <= 4 * REGION


def test_a_forked_child_opens_its_own_and_its_parents_leases_end_with_its_parent(
    server: RangeServer, tmp_path: Path
) -> None:
    pieces, contents = files_of(server, 1, 100_000)

    def child(cache: RangeCache) -> None:
        lease.close()  # its parent's still
        cache.close()
        with closing(opened(tmp_path / "ranges", 0)) as own:
            assert leased(own, pieces) == expected(pieces, contents)

    with closing(opened(tmp_path / "ranges", 0)) as cache:
        with cache.lease(pieces) as lease:
            forked = get_context("fork").Process(target=child, args=(cache,))
            forked.start()
            forked.join(PATIENCE)
            assert forked.exitcode == 0
            assert on_disk(tmp_path / "ranges") > 0
        assert on_disk(tmp_path / "ranges") == 0
    assert server.times_served() == 1


def test_a_ledger_that_claims_more_regions_than_any_disk_has_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "ranges")):
        pass
    name = "0" * 32 + "-x"
    (tmp_path / "ranges/files").write_text(f"0 {10**18 - 1} {name}\n{10**18 - 1} {10**18 - 1} {name}y\n")
    (tmp_path / "ranges/ledger").write_bytes((5).to_bytes(8, "little"))
    with closing(opened(tmp_path / "ranges", limit=0)) as each:
        assert each._ledger.total() == 0


@pytest.mark.parametrize("regions", [10**18 - 1, 9 * 10**12, (1 << 20) + 1])
def test_a_damaged_line_costs_what_is_cached_and_not_the_cache(
    server: RangeServer, tmp_path: Path, regions: int
) -> None:
    pieces, contents = files_of(server, 2, 100_000)
    (tmp_path / "ranges").mkdir(mode=0o700)
    (tmp_path / "ranges/files").write_text(f"0 {regions} {'0' * 32}-x\n")
    for _ in range(2):
        with closing(opened(tmp_path / "ranges")) as cache:
            assert leased(cache, pieces) == expected(pieces, contents)
            assert cache._ledger.total() == sum(path.stat().st_blocks for path in _data(tmp_path / "ranges")) * 512
    assert (tmp_path / "ranges/ledger").stat().st_size < 1 << 13


def _data(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(".tar")]


def test_a_cache_that_cannot_be_opened_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / "folder/files").mkdir(parents=True)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="Is a directory"):
        opened(tmp_path / "folder")
    monkeypatch.setattr("fastdata.sources.node.ledger.wait_for_lock", no_locks)
    with pytest.raises(OSError, match="No locks available"):
        opened(tmp_path / "locks", None)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("call", ["look", "let_go"])
def test_an_error_of_a_call_names_the_caches_folder(
    server: RangeServer, cache: RangeCache, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    pieces, _ = files_of(server, 1, 10_000)
    with closing(cache.lease(pieces)) as lease, monkeypatch.context() as patch:
        patch.setattr(range_cache, "CALLS", _Failing(call))
        with pytest.raises(OSError, match=r"No locks available: '.*/ranges'"):
            cache._looked_for({piece: cache._pins[piece] for piece in pieces}) if call == "look" else lease.close()


class _Failing:
    """Calls of which one fails."""

    def __init__(self, call: str) -> None:
        setattr(self, call, self._fail)

    def _fail(self, *_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")


class _Here:
    """A storage whose files are in memory."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self._contents = contents

    def get_ranges(self, url: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        return [self._contents[url][offset : offset + size] for offset, size in ranges]


def _interrupted(work: Callable[[], object], moment: int, before: Callable[[], object]) -> bool:
    """Does the work, with a Ctrl-C where the interpreter looks for one in the module, for the moment-th time: where a
    function of Python's begins, or one of C's has returned. Whether there were as many moments."""
    left = moment

    def at(frame: FrameType, event: str, argument: object) -> None:
        nonlocal left
        if event in ("call", "c_return") and frame.f_code.co_filename == range_cache.__file__:
            left -= 1
            if left == 0:
                before()
                raise KeyboardInterrupt

    sys.setprofile(at)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def test_ctrl_c_at_any_moment_keeps_nobody_waiting(tmp_path: Path) -> None:
    data = content(0, 3000)
    file = RemoteFile("https://host/train.tar", len(data), "a")
    pieces = cut(file, data, size=1000)
    under_way: list[Future[list[bytes]]] = []

    def work() -> None:
        with cache.lease(pieces[:2]), cache.lease(pieces[1:]):
            pass

    def another_begins() -> None:
        """Somebody else wants the same, and waits for those that this thread has begun with."""
        under_way.append(pool.submit(leased, cache, pieces))
        while not cache._turn.locked() and not under_way[-1].done():
            if any(pin.leases > 1 and not pin.is_settled for pin in cache._pins.copy().values()):
                return
            os.sched_yield()

    moment, more = 0, True
    while more:
        moment += 1
        with (
            closing(RangeCache(tmp_path / "ranges", 0, lambda url: _Here({file.url: data}))) as cache,
            ThreadPoolExecutor(1) as pool,
        ):
            more = _interrupted(work, moment, another_begins)
            for each in [*under_way, pool.submit(leased, cache, pieces)]:
                assert b"".join(each.result(PATIENCE)) == data
            under_way.clear()
    assert moment > 50
