"""What the doctor says of machines that lack something, each made so by real means."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from fastdata.commands.doctor import _shared_memory
from fastdata.commands.doctor_storage import cache
from support.commands import Command

PROGRAM = """
import os, resource, sys
limit, cpus = int(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
if cpus:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])
from fastdata.commands.cli import main
main(["doctor", "--json"])
"""


def doctor(descriptors: int = 0, cpus: int = 0, **environment: str) -> dict[str, dict[str, Any]]:
    """What it finds in a process of its own, by what it looked at."""
    command = [sys.executable, "-P", "-c", PROGRAM, str(descriptors), str(cpus)]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, **environment})
    return {finding["what"]: finding for finding in json.loads(done.stdout)}


def test_a_machine_in_order_is_described(fastdata: Command) -> None:
    done = fastdata("doctor")
    assert done.status == 0
    for name in ("torch", "numpy", "pillow"):
        assert f"{name} {version(name)}" in " ".join(done.out.split())
    found = json.loads(fastdata("doctor", "--json").out)
    looked_at = {"fastdata", "packages", "kernel", "CPUs", "torch's threads", "open files", "GPU", "DALI"}
    assert {*looked_at, "object stores", "cache"} <= {finding["what"] for finding in found}


def test_what_it_lacks_is_named_with_its_remedy() -> None:
    found = doctor(512, 1, FASTDATA_KERNEL="no", OMP_NUM_THREADS="2")
    assert found["kernel"] == {
        "what": "kernel",
        "state": "note",
        "said": "turned off by FASTDATA_KERNEL",
        "remedy": "unset FASTDATA_KERNEL, for twice the speed",
    }
    assert found["open files"]["said"].startswith("512 for a process")
    assert found["open files"]["remedy"].startswith("ulimit -n ")
    assert found["CPUs"]["said"].startswith("1 of ")
    assert found["torch's threads"]["said"].startswith("2 of torch's own on 1 CPUs")
    assert found["torch's threads"]["remedy"] == "OMP_NUM_THREADS=1"
    assert "FASTDATA_KERNEL=no" in found["environment"]["said"]
    assert {finding["state"] for finding in found.values()} == {"good", "note"}


def test_a_package_that_is_missing_is_bad(fastdata: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdata.commands.doctor._PACKAGES", ("torch", "there-is-no-such-package"))
    done = fastdata("doctor")
    assert done.status == 1
    assert "there-is-no-such-package" in done.out


def test_little_shared_memory_is_said_with_the_way_out() -> None:
    (finding,) = _shared_memory(Path("/proc"))  # which has no room at all
    assert (finding.state, finding.remedy[:26]) == ("note", "docker run --shm-size=8g, ")
    assert list(_shared_memory(Path("/there/is/no/such/folder"))) == []


def test_the_caches_disk_is_looked_at_without_making_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTDATA_CACHE", str(tmp_path / "not" / "there"))
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/home {tmp_path} nfs4 rw 0 0\n")
    (finding,) = cache(mounts)
    assert (finding.state, finding.remedy) == ("note", "FASTDATA_CACHE=/a/folder/on/this/node's/disk")
    assert "on nfs4" in finding.said
    (near,) = cache(tmp_path / "no mounts")
    assert near.said.startswith(f"{tmp_path}/not/there, ")
    assert list(tmp_path.iterdir()) == [mounts]
    monkeypatch.setenv("FASTDATA_CACHE", "/proc/cache")  # where there is no room at all, and no one writes
    assert next(iter(cache())).state in ("bad", "note")
