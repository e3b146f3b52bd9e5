"""What a run has finished is kept, and the next run of the same command makes of it what an undisturbed one makes."""

import logging
import os
import random
import resource
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdata.errors import PackError
from fastdata.packing import journal
from fastdata.packing.convert import CropReady, Keep
from fastdata.packing.journal import fingerprint
from fastdata.packing.pack import pack
from fastdata.packing.plan import PlannedField, PlannedShard, ShardCount
from fastdata.packing.publish import STAGING
from fastdata.packing.workers import processes
from fastdata.packing.write import write_shard
from fastdata.sources.folder import scan_classes
from fastdata.sources.paths import Keys, Paths
from support.packed import copy_of, die_at_the_fourth, files_of, losing_a_file_after
from support.processes import PYTHONPATH

SHARDS = ShardCount(6)

KILLED = """
import os, signal, sys
from fractions import Fraction
from fastdata import files
from fastdata.packing import publish
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes

moment, steps = int(sys.argv[3]), 0

def step(frame, event, argument):
    global steps
    if event == "call" and "fastdata/" in frame.f_code.co_filename.replace(os.sep, "/"):
        steps += 1
        if steps == moment:
            os.kill(os.getpid(), signal.SIGKILL)

sys.setprofile(step)
pack(scan_classes(sys.argv[1]), sys.argv[2], {"a": Fraction(2, 3), "b": Fraction(1, 3)}, ShardCount(3), jobs=1)
sys.setprofile(None)
print(steps)
"""
SPLIT = {"a": Fraction(2, 3), "b": Fraction(1, 3)}


def run_until(moment: int, source: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    """Packs in another process, which is killed when it has called so many functions of fastdata's."""
    command = [sys.executable, "-P", "-c", KILLED, *map(str, (source, out, moment))]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": PYTHONPATH}
    )


@pytest.mark.slow
def test_a_run_killed_at_any_moment_is_finished_by_the_same_command(odd_folder: Path, tmp_path: Path) -> None:
    whole = run_until(0, odd_folder, tmp_path / "expected")
    expected, steps = files_of(tmp_path / "expected"), int(whole.stdout)
    assert len(expected) == 10
    moments = random.Random(13).sample(range(1, steps + 1), 20)
    for moment in [*moments, steps - 40]:  # the last one is while files are moved
        out = tmp_path / str(moment)
        assert run_until(moment, odd_folder, out).returncode == -signal.SIGKILL
        pack(scan_classes(odd_folder), out, SPLIT, ShardCount(3), jobs=1)
        assert files_of(out) == expected, f"killed at step {moment} of {steps}"
        assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the shards that are written in this process from now on."""
    names: list[str] = []
    write = write_shard

    def noted(planned: PlannedShard, report: Any) -> Any:
        names.append(planned.path.name)
        return write(planned, report)

    monkeypatch.setattr(journal, "write_shard", noted)
    return names


def broken_off(source: Path, out: Path) -> None:
    """Packs into six shards, of which the fourth fails for want of an image, which is there again afterwards."""
    lost = source / "cow/05.jpg"
    kept = lost.read_bytes(), lost.stat().st_mtime_ns
    with pytest.raises(PackError, match=r"cow/05\.jpg can't be read"):
        pack(scan_classes(source), out, division=SHARDS, jobs=1, progress=losing_a_file_after(8, lost))
    lost.write_bytes(kept[0])
    os.utime(lost, ns=(kept[1], kept[1]))


def test_the_same_command_writes_only_what_is_missing(
    odd_folder: Path, tmp_path: Path, written: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    source, out = copy_of(odd_folder, tmp_path / "source"), tmp_path / "out"
    pack(scan_classes(source), tmp_path / "expected", division=SHARDS, jobs=1)
    broken_off(source, out)
    assert [path.name for path in out.iterdir()] == [STAGING]
    assert "3 of 6 shards are finished and stay in" in caplog.text
    written.clear()
    told: list[tuple[int, int]] = []
    with caplog.at_level(logging.INFO):
        pack(scan_classes(source), out, division=SHARDS, jobs=1, progress=lambda *by: told.append(by))
    assert written == [f"train-00000{number}.tar" for number in (3, 4, 5)]
    assert "going on where a run has ended: 3 of 6 shards are finished" in caplog.text
    assert files_of(out) == files_of(tmp_path / "expected")
    sizes = [path.stat().st_size for path in source.rglob("*") if path.is_file()]
    assert np.sum(told, axis=0).tolist() == [len(sizes), sum(sizes)]


def test_shards_of_files_that_changed_are_written_again(odd_folder: Path, tmp_path: Path, written: list[str]) -> None:
    source, out = copy_of(odd_folder, tmp_path / "source"), tmp_path / "out"
    broken_off(source, out)
    changed = source / "ant/2.JPEG"
    changed.write_bytes(bytes(len(changed.read_bytes())))
    os.utime(changed, ns=(1, 1))
    written.clear()
    pack(scan_classes(source), out, division=SHARDS, jobs=1)
    assert written == [f"train-00000{number}.tar" for number in (0, 3, 4, 5)]
    pack(scan_classes(source), tmp_path / "expected", division=SHARDS, jobs=1)
    assert files_of(out) == files_of(tmp_path / "expected")


@pytest.mark.parametrize("other", [{"shuffle": True}, {"jpeg": CropReady()}, {"division": ShardCount(5)}])
def test_another_command_starts_anew_and_says_so(
    odd_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, other: dict[str, Any]
) -> None:
    source, out = copy_of(odd_folder, tmp_path / "source"), tmp_path / "out"
    broken_off(source, out)
    options = {"division": SHARDS, "jobs": 1, **other}
    pack(scan_classes(source), out, **options)
    assert "3 shards that a run has left are of another command or of files that changed: removed" in caplog.text
    pack(scan_classes(source), tmp_path / "expected", **options)
    assert files_of(out) == files_of(tmp_path / "expected")


@pytest.mark.parametrize("damage", ["cut", "rewritten", "lost", "index", "note"])
def test_a_finished_shard_that_is_not_what_it_was_is_written_again(
    odd_folder: Path, tmp_path: Path, written: list[str], damage: str
) -> None:
    source, out = copy_of(odd_folder, tmp_path / "source"), tmp_path / "out"
    broken_off(source, out)
    shard = out / STAGING / "train-000001.tar"
    match damage:
        case "cut":
            os.truncate(shard, 512)
        case "rewritten":
            shard.write_bytes(bytes(shard.stat().st_size))
            os.utime(shard, ns=(1, 1))
        case "lost":
            shard.unlink()
        case "index":
            shard.with_name("train-000001.index.npy").unlink()
        case "note":
            shard.with_suffix(".done").write_bytes(b'{"fingerprint":')
    written.clear()
    pack(scan_classes(source), out, division=SHARDS, jobs=1)
    assert written == [f"train-00000{number}.tar" for number in (1, 3, 4, 5)]
    pack(scan_classes(source), tmp_path / "expected", division=SHARDS, jobs=1)
    assert files_of(out) == files_of(tmp_path / "expected")


def test_a_full_disk_is_named_and_with_more_room_the_rest_is_written(
    odd_folder: Path, tmp_path: Path, written: list[str]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_480, limits[1]))
    try:
        with pytest.raises(PackError, match=r"train-00000\d\.tar can't be written: File too large"):
            pack(scan_classes(odd_folder), tmp_path / "out", division=SHARDS, jobs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    failed = written[-1]
    assert failed != "train-000000.tar"
    assert not list((tmp_path / "out" / STAGING).glob(".*"))
    written.clear()
    pack(scan_classes(odd_folder), tmp_path / "out", division=SHARDS, jobs=1)
    assert written[0] == failed
    pack(scan_classes(odd_folder), tmp_path / "expected", division=SHARDS, jobs=1)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "expected")


def test_what_other_processes_have_finished_stays_when_one_is_killed(
    odd_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_write_counted", die_at_the_fourth)
        with pytest.raises(PackError, match="a packing process died"):
            pack(scan_classes(odd_folder), out, division=SHARDS, jobs=2)
    finished = sorted(path.name for path in (out / STAGING).glob("*.done"))
    assert "train-000000.done" in finished
    assert "train-000003.done" not in finished
    pack(scan_classes(odd_folder), out, division=SHARDS, jobs=2)
    pack(scan_classes(odd_folder), tmp_path / "expected", division=SHARDS, jobs=1)
    assert files_of(out) == files_of(tmp_path / "expected")


def test_a_fingerprint_tells_everything_apart_that_changes_a_shard(tmp_path: Path) -> None:
    one, files = np.ones(1, np.int64), Paths.of(["1.jpg"])
    keys = Keys(files, np.zeros(1, np.bool_))
    text = PlannedField("txt", Paths.of(["1.txt"]), one)
    planned = PlannedShard(tmp_path / "a.tar", str(tmp_path), files, keys, one, one, Keep(), [b"{}"], [text], one)
    others: list[dict[str, Any]] = [
        {"path": tmp_path / "b.tar"},
        {"root": "elsewhere"},
        {"files": Paths.of(["2.jpg"])},
        {"keys": Keys(files, np.ones(1, np.bool_))},
        {"targets": 2 * one},
        {"sizes": 2 * one},
        {"conversion": CropReady()},
        {"columns": [b"[]"]},
        {"fields": []},
        {"fields": [text._replace(name="json")]},
        {"fields": [text._replace(sizes=2 * one)]},
        {"times": 2 * one},
    ]
    prints = {fingerprint(planned), *(fingerprint(planned._replace(**other)) for other in others)}
    assert len(prints) == 1 + len(others)
    assert fingerprint(planned._replace(path=tmp_path / "elsewhere/a.tar")) == fingerprint(planned)
