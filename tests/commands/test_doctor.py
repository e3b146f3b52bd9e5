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
    assert {"fastdata", "packages", "kernel", "CPUs", "torch's threads", "open files", "GPU", "DALI"} <= {
        finding["what"] for finding in found
    }


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
