"""Ctrl-C at any moment, and a full disk: a message, nothing left behind, and the same command finishes it."""

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.interrupted import contents
from support.processes import PYTHONPATH

pytestmark = pytest.mark.slow

PATIENCE = 200  # seconds


def run(*command: object) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    words = list(map(str, command))
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)


@pytest.mark.parametrize(("jobs", "moments"), [(1, 44), (2, 6)])
def test_a_run_that_is_interrupted_at_any_moment_is_finished_by_the_same_command(
    jobs: int, moments: int, odd_folder: Path, tmp_path: Path
) -> None:
    done = run(sys.executable, "-m", "support.interrupted", odd_folder, tmp_path / "work", jobs, moments)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty files of 20 kB, in two classes."""
    for number in range(40):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(20_000))
    return tmp_path / "photos"


def shard(folder: Path, out: Path, jobs: int) -> list[object]:
    """The command that packs the folder into eight shards of 110 kB."""
    return [sys.executable, "-m", "fastdata", "shard", folder, out, "--shards", 8, "--jobs", jobs, "--check", "none"]


FULL = """
mount -t tmpfs -o size=420k tmpfs "$0" || exit 77
"$@" 2> "$0.said"; echo $? > "$0.status"
ls -A "$0/out/.fastdata-staging" > "$0.left"
mount -o remount,size=64m "$0" && "$@" && cp -r "$0/out" "$0.out"
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_is_named_and_when_there_is_room_the_same_command_goes_on(
    jobs: int, folder: Path, tmp_path: Path
) -> None:
    if shutil.which("unshare") is None or run("unshare", "-m", "true").returncode:
        pytest.skip("a disk of one's own needs root and unshare")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = run("unshare", "-m", "sh", "-c", FULL, disk, *shard(folder, disk / "out", jobs))
    assert done.returncode == 0, done.stderr
    said, left = (tmp_path / "disk.said").read_text(), (tmp_path / "disk.left").read_text().split()
    assert (tmp_path / "disk.status").read_text() == "1\n"
    assert "Traceback" not in said
    assert re.search(r"train-00000\d\.(tar|index\.npy|done) can't be written: No space left on device", said), said
    assert re.search(r"[1-7] of 8 shards are finished and stay in", said), said
    assert not [name for name in left if name.endswith(".tmp")]
    assert "going on where a run has ended" in done.stderr
    assert run(*shard(folder, tmp_path / "expected", jobs)).returncode == 0
    assert contents(tmp_path / "disk.out") == contents(tmp_path / "expected")


def test_a_file_that_may_not_become_so_large_is_named_likewise(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("sh", "-c", 'ulimit -f 100 && exec "$@"', "sh", *shard(folder, out, 1))
    assert done.returncode == 1
    assert "train-000000.tar can't be written: File too large" in done.stderr
    assert list(out.iterdir()) == []
    assert run(*shard(folder, out, 1)).returncode == 0
    assert run(*shard(folder, tmp_path / "expected", 1)).returncode == 0
    assert contents(out) == contents(tmp_path / "expected")
