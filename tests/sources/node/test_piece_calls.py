"""What a cache asks the system about its pieces is the same, whether the extension asks or Python."""

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.sources.node.byte_locks import try_lock
from fastdata.sources.node.piece_calls import (
    COMPILED,
    IN_PYTHON,
    REGION,
    At,
    Calls,
    Looked,
    entry_at,
    number_at,
    set_number,
)

BLOCK = 4096


@pytest.fixture(params=["compiled", "python"])
def calls(request: pytest.FixtureRequest) -> Calls:
    return IN_PYTHON if request.param == "python" else compiled()


def compiled() -> Calls:
    if COMPILED is not None:
        return COMPILED
    if os.environ.get("FASTDATA_REQUIRE_KERNEL") == "1":
        pytest.fail("FASTDATA_REQUIRE_KERNEL=1, but the calls of a cache are not compiled")
    pytest.skip("the calls of a cache are not compiled")


class Files:
    """A sparse file, and a lock file that two owners have open."""

    def __init__(self, folder: Path) -> None:
        self.data = os.open(folder / "data", os.O_RDWR | os.O_CREAT)
        self.mine, self.others = (os.open(folder / "locks", os.O_RDWR | os.O_CREAT) for _ in range(2))
        os.ftruncate(self.data, 1 << 20)

    def at(self, offset: int, size: int) -> At:
        return At(self.data, offset, size, self.mine, 7 * REGION + offset, BLOCK)

    def span(self, piece: At, shift: int = 0) -> tuple[int, int, int]:
        return self.mine, piece.lock_start + shift, piece.lock_start + piece.size + shift

    def others_may(self, piece: At, exclusive: bool) -> bool:
        """Whether another owner may lock all of it just now, whose lock ends at once."""
        start, end = piece.lock_start, piece.lock_start + piece.size
        may = try_lock(self.others, start, end, exclusive)
        IN_PYTHON.let_go([(self.others, start, end)] if may else [])
        return may

    def close(self) -> None:
        for fd in (self.data, self.mine, self.others):
            os.close(fd)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    opened = Files(tmp_path)
    yield opened
    opened.close()


def test_a_hole_is_locked_exclusively_and_all_else_shared(calls: Calls, files: Files) -> None:
    os.pwrite(files.data, b"x" * 40_000, 20 * BLOCK)
    there, hole, small = files.at(20 * BLOCK, 30_000), files.at(5 * BLOCK + 512, 30_000), files.at(512, 1000)
    assert list(calls.look([there, hole, small])) == [Looked.SHARED, Looked.MISSING, Looked.SHARED]
    assert [files.others_may(piece, exclusive=False) for piece in (there, hole, small)] == [True, False, True]
    assert not any(files.others_may(piece, exclusive=True) for piece in (there, hole, small))


def test_where_nothing_but_a_hole_is_left_it_is_one_too(calls: Calls, files: Files) -> None:
    assert list(calls.look([files.at((1 << 20) - 10_000, 10_000)])) == [Looked.MISSING]


def test_what_somebody_else_has_locked_is_contested_and_not_waited_for(calls: Calls, files: Files) -> None:
    first, second, third = files.at(0, 9000), files.at(9000, 9000), files.at(18_000, 9000)
    assert try_lock(files.others, second.lock_start, second.lock_start + 1, exclusive=False)
    assert list(calls.look([first, second, third])) == [Looked.MISSING, Looked.CONTESTED, Looked.MISSING]
    assert files.others_may(second, exclusive=True)


def test_what_is_written_is_there_and_others_may_read_it(calls: Calls, files: Files) -> None:
    pieces = [files.at(0, 9000), files.at(9000, 5000), files.at(100_000, 1)]
    calls.look(pieces)
    data = [bytes([number + 1]) * piece.size for number, piece in enumerate(pieces)]
    assert calls.write(pieces, [memoryview(each) for each in data]) == (3, 0)
    assert [os.pread(files.data, piece.size, piece.offset) for piece in pieces] == data
    assert all(files.others_may(piece, exclusive=False) for piece in pieces)
    assert not any(files.others_may(piece, exclusive=True) for piece in pieces)


def test_a_write_that_fails_says_how_many_came_before_and_why(calls: Calls, files: Files) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    pieces = [files.at(0, 9000), files.at(9000, 9000)._replace(fd=full), files.at(18_000, 9)]
    calls.look([pieces[0], files.at(9000, 9000), pieces[2]])
    written = calls.write(pieces, [b"x" * piece.size for piece in pieces])
    os.close(full)
    assert written == (1, errno.ENOSPC)
    assert files.others_may(pieces[0], exclusive=False)
    assert not files.others_may(pieces[1], exclusive=False)
    assert os.pread(files.data, 1, 18_000) == b"\0"


def test_a_write_that_is_cut_short_goes_on_until_it_fails(calls: Calls, files: Files) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    piece = files.at(0, 9000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        assert calls.write([piece], [b"x" * 9000]) == (0, errno.EFBIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.pread(files.data, 9000, 0) == b"x" * 5000 + b"\0" * 4000


def test_a_write_of_no_bytes_is_an_error_and_not_tried_for_ever(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a file system in user space; of the reference, since the extension asks the system itself."""
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    assert IN_PYTHON.write([files.at(0, 9000)], [b"x" * 9000]) == (0, errno.ENOSPC)


def test_only_what_is_let_go_is(calls: Calls, files: Files) -> None:
    pieces = [files.at(number * 9000, 9000) for number in range(3)]
    calls.look(pieces)
    calls.let_go([files.span(pieces[0]), files.span(pieces[2])])
    assert [files.others_may(piece, exclusive=True) for piece in pieces] == [True, False, True]


def test_data_of_another_size_and_no_data_are_refused(calls: Calls, files: Files) -> None:
    with pytest.raises(ValueError, match="5 bytes for a piece of 9"):
        calls.write([files.at(0, 9)], [b"12345"])
    with pytest.raises(ValueError):
        calls.write([files.at(0, 9)], [])
    assert os.pread(files.data, 9, 0) == b"\0" * 9


def test_a_descriptor_that_is_none_is_an_error(calls: Calls, files: Files) -> None:
    closed = os.dup(files.data)
    os.close(closed)
    with pytest.raises(OSError, match="Bad file descriptor"):
        calls.look([files.at(0, 9000)._replace(fd=closed)])
    with pytest.raises(OSError, match="Bad file descriptor"):
        calls.let_go([(closed, 0, 1)])
    with pytest.raises(OSError, match="Bad file descriptor"):
        calls.add(closed, [(0, 1)], 5)
    assert calls.write([files.at(0, 1)._replace(fd=closed)], [b"x"]) == (0, errno.EBADF)


def test_numbers_out_of_bounds_are_refused(calls: Calls, files: Files) -> None:
    good = files.at(0, 9000)
    for bad in (
        good._replace(offset=-1),
        good._replace(size=-1),
        good._replace(block=0),
        good._replace(block=REGION + 1),
        good._replace(lock_start=-1),
        good._replace(offset=(1 << 63) - 10),
        good._replace(lock_start=(1 << 63) - 10),
    ):
        with pytest.raises(ValueError):
            calls.look([bad])
        with pytest.raises(ValueError):
            calls.write([bad], [bytes(max(bad.size, 0))])
    for span in ((files.mine, 5, 5), (files.mine, 5, 4), (files.mine, -1, 4)):
        with pytest.raises(ValueError):
            calls.let_go([span])
    for share in ((-1, 5), (1 << 62, 5), (0, -5), (0, 1 << 62)):
        with pytest.raises(ValueError):
            calls.add(files.data, [share], 0)
    assert os.pread(files.data, 9000, 0) == bytes(9000)


def test_what_are_no_tuples_of_numbers_is_refused_by_the_extension(files: Files) -> None:
    calls, good = compiled(), files.at(0, 9000)
    with pytest.raises(TypeError):
        calls.look([[1, 2, 3, 4, 5, 6]])  # type: ignore[list-item]
    with pytest.raises(OverflowError):
        calls.look([good._replace(offset=1 << 64)])


@given(
    st.lists(st.integers(0, REGION), min_size=1, max_size=8),
    st.dictionaries(st.integers(0, 9), st.integers(0, 2 * REGION), max_size=8),
    st.integers(0, 9 * REGION),
)
def test_both_keep_the_same_ledger(before: list[int], shares: dict[int, int], total: int) -> None:
    """Regions that the ledger's end cuts off have nothing; what is more than a region is one."""
    ledgers = []
    for calls in (IN_PYTHON, COMPILED or IN_PYTHON):
        fd = os.memfd_create("ledger")
        set_number(fd, 0, total)
        for number, size in enumerate(before):
            set_number(fd, entry_at(number) + 8, size)
        calls.add(fd, list(shares.items()), 77)
        ledgers.append(os.pread(fd, 1 << 16, 0))
        sizes = {number: number_at(fd, entry_at(number) + 8) for number in shares}
        added = sum(sizes[number] - (before[number] if number < len(before) else 0) for number in shares)
        assert number_at(fd, 0) == total + added
        assert all(number_at(fd, entry_at(number)) == 77 for number in shares)
        os.close(fd)
    assert ledgers[0] == ledgers[1]


def test_a_damaged_sum_and_entry_stay_within_bounds(calls: Calls, files: Files) -> None:
    set_number(files.data, 0, (1 << 64) - 5)
    set_number(files.data, entry_at(3) + 8, (1 << 64) - 1)
    calls.add(files.data, [(3, 100), (4, 100)], 7)
    assert number_at(files.data, 0) == (1 << 64) - 1
    assert [number_at(files.data, entry_at(number) + 8) for number in (3, 4)] == [REGION, 100]
