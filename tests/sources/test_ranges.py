"""Pieces of files, as they are and as a stream."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.sources.ranges import LocalFile, Piece, Stream, open_ranges

DATA = bytes(range(200))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ranges") / "file"
    path.write_bytes(DATA)
    return str(path)


def test_a_piece_ends_where_the_file_does_and_has_no_negative_place(path: str) -> None:
    with open_ranges(f"file://{path}") as file:
        assert isinstance(file, LocalFile)
        assert file.read_at(10, 5) == DATA[10:15]
        assert file.read_at(190, 1 << 40) == DATA[190:]
        assert file.read_at(500, 3) == b""
        for offset, size in ((-1, 5), (5, -1)):
            with pytest.raises(OSError, match="no part of a file") as caught:
                file.read_at(offset, size)
            assert caught.value.errno is None


def test_a_file_that_was_replaced_has_another_identity(tmp_path: Path) -> None:
    identities = set()
    for number in range(3):
        (tmp_path / f"{number}").write_bytes(DATA)
        (tmp_path / f"{number}").replace(tmp_path / "file")
        with open_ranges(str(tmp_path / "file")) as file:
            identities.add(file.identity)
            held = os.open(tmp_path / "file", os.O_RDONLY)  # so that no inode comes again
    assert len(identities) == 3
    os.close(held)


def test_a_pipe_is_refused_and_nothing_stays_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="no regular file"):
        open_ranges(str(tmp_path / "pipe"))
    assert os.listdir("/proc/self/fd") == before


Moves = st.lists(
    st.tuples(st.just("seek"), st.integers(0, 250), st.just(0))
    | st.tuples(st.just("seek"), st.integers(-20, 0), st.just(2))
    | st.tuples(st.just("read"), st.integers(-1, 80), st.just(0))
)


@given(Moves, st.integers(0, 200), st.integers(0, 200))
def test_a_stream_reads_as_a_file_does_whatever_of_it_is_held(
    path: str, moves: list[tuple[str, int, int]], start: int, length: int
) -> None:
    with open_ranges(path) as file:
        ours, theirs = Stream(file, Piece(start, DATA[start : start + length])), io.BytesIO(DATA)
        for what, number, whence in moves:
            if what == "seek":
                assert ours.seek(number, whence) == theirs.seek(number, whence)
            else:
                at, read = ours.tell(), bytes(ours.read(number))
                assert read == theirs.read(number)
                assert (ours.last.start, bytes(ours.last.data)) == (at, read)
            assert ours.tell() == theirs.tell()
