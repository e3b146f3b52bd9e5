"""`fastdata verify`, `fastdata shard --verify`, and what `fastdata shard` tells about a run that was broken off."""

import os
import shutil
from pathlib import Path

import pytest

from fastdata.errors import PackError
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from fastdata.sources.stores.storage import storage_of
from support.commands import Command
from support.http_server import Server
from support.packed import losing_a_file_after


def test_good_shards_end_in_status_0(fastdata: Command, dataset: Path) -> None:
    assert fastdata("verify", dataset, "--decode", "--jobs", 2) == (0, f"{dataset}: 3 shards, nothing wrong\n", "")


def test_each_fault_has_a_line_and_the_status_is_1(fastdata: Command, dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "copy")
    (tmp_path / "copy/train-000001.tar").unlink()
    done = fastdata("verify", tmp_path / "copy")
    assert done.status == 1
    lost = tmp_path / "copy/train-000001.tar"
    assert done.out.splitlines() == [
        f"{lost}: can't be opened: No such file or directory",
        f"{tmp_path / 'copy'}: 1 fault in 1 of 3 shards",
    ]


def test_packing_verifies_where_that_is_asked(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    done = fastdata("shard", folder, tmp_path, "--shards", 2, "--jobs", 1, "--verify")
    assert done.status == 0
    assert f"{tmp_path}/train.json: 2 shards, nothing wrong" in done.out


@pytest.mark.parametrize(
    ("url", "status", "problem"),
    [
        ("https://host/x", 1, "https://host/x: HTTP has no listings"),
        ("nowhere://b/x", 1, "Protocol not known: nowhere"),
        ("s3:/b", 2, "is a URL where a local folder is needed"),
        ("pipe:cat", 2, "is a URL where a local folder is needed"),
    ],
)
def test_what_can_not_be_packed_is_refused_and_nothing_is_made(
    fastdata: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, status: int, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = fastdata("shard", url, tmp_path / "out")
    assert done.status == status
    assert problem in " ".join(done.err.replace("│", " ").split())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "status", "problem"),
    [
        ("nowhere://bucket/out", 1, "nowhere"),
        ("https://host/x", 2, "nothing is written over HTTP"),
        ("s3:/b", 2, "is a URL where a local folder is needed"),
        ("pipe:cat", 2, "is a URL where a local folder is needed"),
    ],
)
def test_a_url_that_nothing_can_be_written_to_is_refused_and_nothing_is_made(
    fastdata: Command,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    status: int,
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = fastdata("shard", folder, url)
    assert done.status == status
    assert problem in " ".join(done.err.replace("│", " ").split())
    with pytest.raises((ValueError, OSError)):
        pack(scan_classes(folder), url)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("option", ["--overwrite", "--commit", "--verify", "--part=0/2"])
def test_what_is_for_folders_is_a_wrong_usage_with_a_url(fastdata: Command, folder: Path, option: str) -> None:
    done = fastdata("shard", folder, "memory://bucket/out", option)
    assert done.status == 2
    assert "are for folders, and DST is a URL" in " ".join(done.err.replace("│", " ").split())


def test_a_url_gets_the_shards(fastdata: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "store", {})
    done = fastdata("shard", folder, "memory://bucket/out/", "--jobs", 1)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("memory://bucket/out/train.json: 12 samples, 2 classes; shards: 1")
    assert "/bucket/out/train.json" in MemoryFileSystem.store


def test_a_file_url_is_the_folder_that_it_names(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    assert fastdata("shard", f"file://{folder}", f"file://{tmp_path}/o%20ut", "--jobs", 1).status == 0
    assert (tmp_path / "o ut/train.json").exists()


def test_a_run_that_goes_on_where_another_ended_says_so(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    source, out = shutil.copytree(folder, tmp_path / "source"), tmp_path / "out"
    lost = source / "dog/6.jpg"
    kept, time = lost.read_bytes(), lost.stat().st_mtime_ns
    with pytest.raises(PackError, match=r"dog/6\.jpg"):
        pack(scan_classes(source), out, division=ShardCount(3), jobs=1, progress=losing_a_file_after(5, lost))
    lost.write_bytes(kept)
    os.utime(lost, ns=(time, time))
    done = fastdata("shard", source, out, "--shards", 3, "--jobs", 1)
    assert (done.status, done.err) == (0, "going on where a run has ended: 2 of 3 shards are finished\n")


def test_a_dataset_at_a_url_is_verified(
    fastdata: Command, dataset: Path, tmp_path: Path, http_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for path in dataset.iterdir():
        http_server.put(f"out/{path.name}", path.read_bytes())
    url = http_server.url("out/train.json")
    done = fastdata("verify", url, "--decode")
    assert (done.status, done.out) == (0, f"{url}: 3 shards, nothing wrong\n")
    shard = (dataset / "train-000001.tar").read_bytes()
    offset = shard.index(b"\xff\xd8\xff") + 700
    http_server.put("out/train-000001.tar", shard[:offset] + b"\xff\xff\xff" + shard[offset + 3 :])
    del http_server.answer.contents["out/train-000002.tar"]  # type: ignore[attr-defined]
    done = fastdata("verify", url)
    hashed, sealed, lost, summary = done.out.splitlines()
    bad = http_server.url("out/train-000001.tar")
    assert hashed == f"{bad}: its bytes are not those of which train.json has the hash: copy or pack it again"
    assert sealed.startswith(f"{bad}, offset 0, sample 'cat/4': its bytes are not those of which its index")
    assert lost.startswith(f"{http_server.url('out/train-000002.tar')}: can't be opened: no file ")
    assert (done.status, summary) == (1, f"{url}: 3 faults in 2 of 3 shards")
    index = (dataset / "train.index.npy").read_bytes()
    http_server.put("out/train.index.npy", index[:-1] + b"?")
    assert "train.index.npy" in fastdata("verify", url).out.splitlines()[0]
    assert os.listdir(tmp_path) == []


def test_a_folder_at_a_url_is_verified(
    fastdata: Command, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "store", {})
    for path in dataset.iterdir():
        storage_of("memory://").put_file(path, f"memory://out/{path.name}")
    storage_of("memory://").put_file(dataset / "train-000001.tar", "memory://out/train-000007.tar")
    done = fastdata("verify", "memory://out/")
    assert done.status == 1
    assert "train-000007.tar: train.json does not list it: move it away" in done.out
    assert fastdata("verify", "memory://out/train-*.tar").out == "memory://out/train-*.tar: 4 shards, nothing wrong\n"
    for command in ("view", "report"):
        assert fastdata(command, "memory://out/train-*.tar", "--out", tmp_path / f"{command}.png").status == 0
    assert "no dataset in memory://none" in fastdata("verify", "memory://none").err


def test_one_shard_is_no_shards(fastdata: Command, dataset: Path) -> None:
    shard = dataset / "train-000000.tar"
    assert fastdata("verify", shard).out == f"{shard}: 1 shard, nothing wrong\n"


@pytest.mark.parametrize("command", ["verify", "info"])
def test_of_a_folder_of_photos_it_is_said_what_to_do(fastdata: Command, folder: Path, command: str) -> None:
    done = fastdata(command, folder)
    assert (done.status, done.out) == (1, "")
    assert "of photos fastdata report tells, and fastdata shard packs them" in done.err
