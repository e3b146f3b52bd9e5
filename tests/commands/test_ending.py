"""A run that is stopped takes its processes with it, and clears away."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from support.processes import PATIENCE, wait_until


class TestEnding:
    """Of a run whose processes call a jpegtran that tells who they are, and then waits to be let go."""

    @pytest.fixture
    def go(self, tmp_path: Path) -> Iterator[BinaryIO]:
        """A named pipe: each line in it lets one jpegtran go, its end all of them."""
        os.mkfifo(tmp_path / "go")
        with cast(BinaryIO, open(tmp_path / "go", "r+b", buffering=0)) as pipe:
            yield pipe

    @pytest.fixture
    def running(self, folder: Path, tmp_path: Path, go: object) -> Iterator[subprocess.Popen[str]]:
        (tmp_path / "bin").mkdir()
        jpegtran = tmp_path / "bin/jpegtran"
        jpegtran.write_text(f"#!/bin/sh\necho $PPID >> {tmp_path}/started\nread line < {tmp_path}/go\nexit 1\n")
        jpegtran.chmod(0o755)
        command: list[str | Path] = [sys.executable, "-m", "fastdata", "shard", folder, tmp_path / "out"]
        command += ["--shards", "4", "--jobs", "2", "--jpeg", "crop-ready"]
        environment = os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "FASTDATA_KERNEL": "no"}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, process_group=0) as process:
            yield process
            process.kill()

    @pytest.fixture
    def workers(self, running: subprocess.Popen[str], tmp_path: Path) -> list[int]:
        """The processes that pack, each in the middle of an image."""
        wait_until(lambda: len(lines_of(tmp_path / "started")) == 2)
        return [int(line) for line in lines_of(tmp_path / "started")]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_all_processes_and_clears_away(
        self, running: subprocess.Popen[str], workers: list[int], go: BinaryIO, tmp_path: Path, number: signal.Signals
    ) -> None:
        running.send_signal(number)
        go.write(b"\n" * 12)
        _, said = running.communicate(timeout=PATIENCE)
        assert running.returncode == 128 + number
        assert "Traceback" not in said
        wait_until(lambda: not any(map(is_alive, workers)))
        assert list((tmp_path / "out").iterdir()) == []

    def test_processes_end_with_a_parent_that_is_killed(
        self, running: subprocess.Popen[str], workers: list[int]
    ) -> None:
        assert all(map(is_alive, workers))
        running.kill()
        wait_until(lambda: not any(map(is_alive, workers)))

    def test_ctrl_c_while_processes_start_shows_nobodys_traceback(
        self, running: subprocess.Popen[str], go: BinaryIO
    ) -> None:
        wait_until(lambda: any(map(children, children(running.pid))))  # which are copied from one of multiprocessing's
        os.killpg(running.pid, signal.SIGINT)
        go.write(b"\n" * 12)
        _, said = running.communicate(timeout=PATIENCE)
        assert running.returncode == 130
        assert "Traceback" not in said


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def state_and_parent(pid: int) -> tuple[str, int]:
    """As the kernel has them; ('Z', 0), as one that has ended, for one that is gone."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return "Z", 0
    return state, int(parent)


def is_alive(pid: int) -> bool:
    return state_and_parent(pid)[0] != "Z"


def children(pid: int) -> list[int]:
    return [other for other in map(int, filter(str.isdigit, os.listdir("/proc"))) if state_and_parent(other)[1] == pid]
