"""Packing to a URL makes there what packing into a folder makes, in any number of attempts."""

import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from fastdata.errors import PackError
from fastdata.packing import remote
from fastdata.packing.engines import Processes
from fastdata.packing.origins.source import Source
from fastdata.packing.pack import pack_by
from fastdata.packing.plan import PlannedShard, ShardCount
from fastdata.packing.recipe import Recipe
from fastdata.packing.upload import pack_to_url
from fastdata.packing.write import Progress, Written, write_shard
from fastdata.sources.folder import scan_classes
from fastdata.sources.stores.storage import storage_of
from support.memory_store import empty_memory
from support.packed import copy_of, files_of, losing_a_file_after
from support.processes import PYTHONPATH
from support.servers import S3

HERE = Processes(1)
RECIPE = Recipe({"train": Fraction(2, 3), "val": Fraction(1, 3)}, ShardCount(3))


@pytest.fixture(scope="module")
def expected(source: Source, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("expected")
    pack_by(source, directory, RECIPE, HERE)
    return files_of(directory)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder in a store of this process's."""
    empty_memory(monkeypatch)
    return "memory://bucket/out"


@pytest.fixture
def s3(seaweed_s3: S3, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A folder in an object store."""
    for name, value in seaweed_s3.environment.items():
        monkeypatch.setenv(name, value)
    return f"{seaweed_s3.make_bucket('packing')}/{request.node.originalname}"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the shards that are written in this process from now on."""
    names: list[str] = []

    def noted(planned: PlannedShard, report: Progress) -> Written:
        names.append(planned.path.name)
        return write_shard(planned, report)

    monkeypatch.setattr(remote, "write_shard", noted)
    return names


def files_at(url: str) -> dict[str, bytes]:
    """What lies at a URL besides the run's own notes."""
    storage = storage_of(url)
    found = {file.removeprefix(f"{url}/"): (file, size) for file, size in storage.list(url)}
    return {
        name: bytes(storage.get_ranges(file, [(0, size)])[0])
        for name, (file, size) in found.items()
        if not name.startswith(".fastdata/")
    }


def test_a_url_gets_what_a_folder_gets(source: Source, expected: dict[str, bytes], url: str) -> None:
    told: list[tuple[int, int]] = []
    made = pack_to_url(source, f"{url}/", RECIPE, HERE, progress=lambda *by: told.append(by))
    assert [manifest.name for manifest in made] == ["train", "val"]
    assert files_at(url) == expected
    assert sum(files for files, _ in told) == 23


def test_a_run_that_fails_is_finished_by_the_same_call(
    odd_folder: Path, url: str, tmp_path: Path, written: list[str]
) -> None:
    folder = copy_of(odd_folder, tmp_path / "source")
    source, lost = Source(scan_classes(folder)), folder / "cow/06.jpg"
    kept = lost.read_bytes(), lost.stat().st_mtime_ns
    with pytest.raises(PackError, match=r"cow/06\.jpg can't be read"):
        pack_to_url(source, url, RECIPE, HERE, progress=losing_a_file_after(7, lost))
    assert not [name for name in files_at(url) if name.endswith(".json")]
    done = written[:-1]
    assert done
    lost.write_bytes(kept[0])
    os.utime(lost, ns=(kept[1], kept[1]))
    written.clear()
    pack_to_url(source, url, RECIPE, HERE)
    pack_by(source, tmp_path / "expected", RECIPE, HERE)
    assert not set(written) & set(done)
    assert files_at(url) == files_of(tmp_path / "expected")


def test_of_two_different_runs_one_refuses(source: Source, url: str) -> None:
    pack_to_url(source, url, Recipe(check=False), HERE)
    with pytest.raises(FileExistsError, match=r"train\.json is there already: choose another name"):
        pack_to_url(source, url, Recipe(check=False), HERE)
    remote.claim(url, "other", "0123456789abcdef")
    with pytest.raises(FileExistsError, match="says that another run packs 'other' there"):
        pack_to_url(source, url, Recipe({"other": Fraction(1)}, check=False), HERE)


def test_a_run_that_was_killed_between_its_datasets_is_finished_by_the_same_call(
    source: Source, expected: dict[str, bytes], url: str
) -> None:
    pack_to_url(source, url, RECIPE, HERE)
    pytest.importorskip("fsspec").filesystem("memory").rm("/bucket/out/val.json")
    with pytest.raises(FileExistsError, match="says that another run packs 'train' there"):
        pack_to_url(source, url, Recipe({"new": Fraction(1, 2), "train": Fraction(1, 2)}), HERE)
    assert not [file for file, _ in storage_of(url).list(url) if "new" in file]
    assert [manifest.name for manifest in pack_to_url(source, url, RECIPE, HERE)] == ["train", "val"]
    assert files_at(url) == expected
    with pytest.raises(FileExistsError, match=r"train\.json is there already"):
        pack_to_url(source, url, RECIPE, HERE)


def test_the_same_run_twice_at_once_makes_it_once(
    source: Source, expected: dict[str, bytes], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = {"begun": False}

    def meanwhile(planned: PlannedShard, report: Progress) -> Written:
        if not second["begun"]:
            second["begun"] = True
            pack_to_url(source, url, RECIPE, HERE)
        return write_shard(planned, report)

    monkeypatch.setattr(remote, "write_shard", meanwhile)
    pack_to_url(source, url, RECIPE, HERE)
    assert files_at(url) == expected


def test_shards_and_jsons_of_somebody_else_stay(source: Source, url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"of somebody else")
    storage_of(url).put_file(tmp_path / "file", f"{url}/train-000007.tar")
    with pytest.raises(FileExistsError, match=r"train-000007\.tar is there already, and no run .* has marked it"):
        pack_to_url(source, url, Recipe(check=False), HERE)
    assert files_at(url) == {"train-000007.tar": b"of somebody else"}


def test_a_json_that_comes_to_be_meanwhile_is_not_replaced(
    source: Source, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(planned: PlannedShard, report: Progress) -> Written:
        storage_of(url).put_if_absent(f"{url}/train.json", b"{}")
        return write_shard(planned, report)

    monkeypatch.setattr(remote, "write_shard", meanwhile)
    with pytest.raises(PackError, match=r"train\.json came to be while this run packed"):
        pack_to_url(source, url, Recipe(check=False), HERE)
    assert files_at(url)["train.json"] == b"{}"


def test_a_shard_that_is_not_whole_or_without_a_note_is_written_again(
    source: Source, expected: dict[str, bytes], url: str, tmp_path: Path, written: list[str]
) -> None:
    pack_to_url(source, url, RECIPE, HERE)
    storage = storage_of(url)
    filesystem = pytest.importorskip("fsspec").filesystem("memory")
    for name in ("train.json", "val.json"):
        filesystem.rm(f"/bucket/out/{name}")
    (note,) = [file for file, _ in storage.list(url) if file.endswith("val-000001.done")]
    filesystem.rm(note.removeprefix("memory:/"))
    (tmp_path / "file").write_bytes(b"cut short")
    storage.put_file(tmp_path / "file", f"{url}/train-000001.tar")
    written.clear()
    pack_to_url(source, url, RECIPE, HERE)
    assert written == ["train-000001.tar", "val-000001.tar"]
    assert files_at(url) == expected


def test_what_is_rejected_is_named_there(odd_folder: Path, url: str, tmp_path: Path) -> None:
    folder = copy_of(odd_folder, tmp_path / "source")
    (folder / "ant/1.jpg").write_bytes(b"")
    recipe = Recipe(check=False, on_error="skip")
    source = Source(scan_classes(folder))
    pack_to_url(source, url, recipe, HERE)
    pack_by(source, tmp_path / "out", recipe, HERE)
    assert files_at(url) == files_of(tmp_path / "out")
    assert "train.rejects.jsonl" in files_at(url)


KILLED = """
import sys
from fractions import Fraction
from fastdata.packing.engines import Processes
from fastdata.packing.plan import ShardCount
from fastdata.packing.recipe import Recipe
from fastdata.packing.origins.source import Source
from fastdata.packing.upload import pack_to_url
from fastdata.sources.folder import scan_classes
from support.packed import kill_after

recipe = Recipe({"train": Fraction(2, 3), "val": Fraction(1, 3)}, ShardCount(3))
pack_to_url(Source(scan_classes(sys.argv[1])), sys.argv[2], recipe, Processes(1), progress=kill_after(12))
"""


@pytest.mark.slow
def test_an_object_store_gets_the_same_from_processes_after_a_run_was_killed(
    odd_folder: Path, source: Source, expected: dict[str, bytes], s3: str
) -> None:
    command = [sys.executable, "-P", "-c", KILLED, str(odd_folder), s3]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": PYTHONPATH}, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = files_at(s3)
    assert left
    assert not {"train.json", "val.json"} & left.keys()
    pack_to_url(source, s3, RECIPE, Processes(2))
    assert files_at(s3) == expected
