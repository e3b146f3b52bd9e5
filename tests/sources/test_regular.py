"""Files that are read whole are regular ones of a bounded size."""

import os
from pathlib import Path

import pytest

from fastdata.sources.regular import read_regular


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_a_file_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * size)
    assert read_regular(str(path), 100) == b"x" * size


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    os.truncate(path, 60 * 10**9)  # sparse: no disk has to hold it, and no memory
    with pytest.raises(OSError, match=r"/a has more than 1073741824 bytes"):
        read_regular(str(path))
    path.write_bytes(b"x" * 101)
    with pytest.raises(OSError, match=r"/a has more than 100 bytes"):
        read_regular(str(path), 100)


def test_a_file_that_claims_to_be_empty_is_read_up_to_the_limit() -> None:
    assert read_regular("/proc/self/status").startswith(b"Name:")
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_regular("/proc/self/status", 10)


@pytest.mark.parametrize("kind", ["pipe", "folder", "/dev/zero"])
def test_what_is_no_regular_file_is_refused_and_nothing_waits(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="/a is no regular file") as caught:
        read_regular(str(path))
    assert caught.value.errno is None
    assert len(os.listdir("/proc/self/fd")) == before
