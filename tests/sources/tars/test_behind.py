"""What is written behind one's back is there when the block ends, past the cache and through it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastdata.sources.tars.behind import ALIGNED, Behind

SIZES = [3 * ALIGNED, ALIGNED, 0, 2 * ALIGNED, 5 * ALIGNED, 700]


@pytest.fixture(params=["disk", "tmpfs"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """On a file system that writes past the cache, and on one that has nothing but it."""
    path = tmp_path / "file" if request.param == "disk" else Path(f"/dev/shm/fastdata-{os.getpid()}")
    yield path
    path.unlink()


def test_memories_of_all_sizes_arrive_in_their_places(path: Path) -> None:
    expected, at = b"", 0
    with path.open("xb") as file, Behind(file.fileno(), 4 * ALIGNED) as behind:
        for number, size in enumerate(SIZES):
            memory = behind.memory(size)
            memory[:size] = bytes([number + 1]) * size
            expected += memory[:size]
            behind.write(memory, size, at)
            at += size
    assert path.read_bytes() == expected


def test_a_write_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        (tmp_path / "file").open("rb") as file,
        pytest.raises(OSError, match="Bad file descriptor"),
        Behind(file.fileno(), ALIGNED) as behind,
    ):
        behind.write(behind.memory(10), 10, 0)
