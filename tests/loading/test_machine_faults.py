"""Where the machine is at fault no sample is: it is read again, and then the fault is raised, never skipped."""

import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_pattern
from support.forks import prepared
from support.numbered import COUNT, number_of, write_folder, write_shards
from support.parquets import Row, write_parquet
from support.processes import LIB
from support.tars import tool

PROGRAM = """
import json, os, resource, sys
kind, root, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.environ.update(json.loads(sys.argv[4]))
from fastdata.loading.loader import Loader
from support.numbered import TRAIN, iterable, map_style
if limit:
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
from pathlib import Path
shards = sorted(map(str, Path(root).glob("*.tar")))
if kind == "parquet":
    from fastdata.datasets.parquet import ParquetImageDataset
    dataset = ParquetImageDataset(root + "/a.parquet", TRAIN)
elif kind == "index":
    dataset = iterable(root + "/train.json", shuffle=True)
elif kind == "cache":
    import fsspec
    from fastdata.sources.node.node_cache import Cache
    fsspec.filesystem("memory").put(root + "/", "/bucket/", recursive=True)
    dataset = iterable("memory://bucket/train.json", shuffle=True, cache=Cache(root + "/cache"))
else:
    dataset = iterable(shards, shuffle=True) if kind == "shards" else map_style(root)
try:
    loader = Loader(dataset, 4, num_threads=2, on_error="skip")
    targets = [target for _, targets in loader for target in targets.tolist()]
except OSError as error:
    print(error.errno, error)
else:
    print(sorted(targets) == list(range(len(targets))), len(targets), loader.skipped)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`support/faulty.c`, to be loaded before the C library."""
    path = tmp_path_factory.mktemp("shim") / "faulty.so"
    subprocess.run([tool("gcc"), "-shared", "-fPIC", "-O1", "-o", path, LIB / "support/faulty.c", "-ldl"], check=True)
    return path


@pytest.fixture(scope="module", params=["yes", "no"], ids=["kernel", "reference"])
def kernel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def run(kernel: str, shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """What the program prints, with and without the kernel; its last arguments are the faults."""
    place, imported = tmp_path_factory.mktemp("faults"), ("support.numbered", "fsspec.implementations.memory")
    with prepared(place, *imported, LD_PRELOAD=str(shim), FASTDATA_KERNEL=kernel) as run:

        def with_faults(kind: str, root: Path, limit: int = 0, **faults: object) -> str:
            return run(PROGRAM, kind, root, limit, json.dumps({name: str(value) for name, value in faults.items()}))

        yield with_faults


@pytest.fixture(params=["folder", "shards"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(kind: str, tmp_path: Path) -> Path:
    (write_folder if kind == "folder" else write_shards)(tmp_path / "samples")
    return tmp_path / "samples"


def test_a_disk_that_fails_now_and_then_loses_no_sample(run: Callable[..., str], kind: str, tmp_path: Path) -> None:
    root, log = tmp_path / "samples", tmp_path / "log"
    if kind == "folder":
        write_folder(root, 150)
    else:
        write_shards(root, [50] * 3)
    faults: dict[str, Any] = {"FAULTY_PATH": "samples", "FAULTY_ERRNO": errno.EIO, "FAULTY_LOG": log}
    faults["FAULTY_EVERY"] = 131 if kind == "folder" else 211  # more than indexing a shard takes
    assert run(kind, root, **faults) == "True 150 []\n"
    assert log.stat().st_size >= 1


@pytest.mark.parametrize("fault", [errno.EIO, errno.ESTALE])
def test_a_disk_that_goes_on_failing_is_raised_as_what_it_is(
    run: Callable[..., str], kind: str, root: Path, fault: int, tmp_path: Path
) -> None:
    name = "samples/020" if kind == "folder" else "samples/part-000003.tar"
    faults = {"FAULTY_PATH": name, "FAULTY_ERRNO": fault, "FAULTY_EVERY": 1, "FAULTY_LOG": tmp_path / "log"}
    said = run(kind, root, **faults)
    assert said.startswith(f"{fault} [Errno {fault}] {os.strerror(fault)}, ")
    assert name in said


def test_reading_that_gives_less_than_asked_for_is_gone_on_with(run: Callable[..., str], kind: str, root: Path) -> None:
    assert run(kind, root, FAULTY_PATH="samples", FAULTY_SHORT=100) == f"True {COUNT} []\n"


@pytest.mark.parametrize("kernel", ["yes"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "file"), [("parquet", "a.parquet"), ("index", "train.index.npy"), ("cache", "-train-000000.tar")]
)
def test_columns_indexes_and_caches_lose_no_sample_either(
    run: Callable[..., str], kind: str, file: str, tmp_path: Path
) -> None:
    root, log = tmp_path / "samples", tmp_path / "log"
    folder = write_folder(tmp_path / "files")
    if kind == "parquet":
        root.mkdir()
        rows = [Row(path.read_bytes(), number) for number, path in enumerate(sorted(folder.iterdir()))]
        write_parquet(root / file, rows, compression="none")
    else:
        pack(scan_pattern(folder, "*", number_of), root, division=ShardCount(1), jobs=1)
    faults: dict[str, Any] = {"FAULTY_PATH": file, "FAULTY_ERRNO": errno.EIO, "FAULTY_LOG": log}
    faults["FAULTY_EVERY"] = 17  # more than making a dataset takes
    assert run(kind, root, **faults) == f"True {COUNT} []\n"
    assert log.stat().st_size >= 1
    assert run(kind, root, FAULTY_PATH=file, FAULTY_SHORT=100) == f"True {COUNT} []\n"


def test_many_shards_and_few_descriptors_lose_no_sample(run: Callable[..., str], tmp_path: Path) -> None:
    write_shards(tmp_path / "many", [1] * 200)
    assert run("shards", tmp_path / "many", 64) == "True 200 []\n"
