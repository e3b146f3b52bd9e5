"""What packing refuses, what it leaves alone, and what a run that fails leaves."""

import os
import resource
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from fastdata.errors import PackError
from fastdata.packing import write as packing
from fastdata.packing.convert import CropReady, Encode
from fastdata.packing.engines import Processes, write_shards
from fastdata.packing.origins.collect import collect
from fastdata.packing.origins.source import Source
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.packing.planning import make_table
from fastdata.packing.recipe import Recipe
from fastdata.packing.workers import processes
from fastdata.sources import manifest
from fastdata.sources.folder import FolderScan, scan_classes, scan_pattern
from support.packed import copy_of, die, files_of, losing_a_file_after
from support.pictures import jpeg


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_there_is_not_overwritten_unless_asked(odd_folder: Path, tmp_path: Path, jobs: int) -> None:
    pack(scan_classes(odd_folder), tmp_path, division=ShardCount(5), jobs=jobs)
    (tmp_path / "train-000000.idx").write_text("of another reader")
    before = files_of(tmp_path)
    with pytest.raises(FileExistsError, match=r"train\.json is there already: --overwrite"):
        pack(scan_classes(odd_folder), tmp_path, division=ShardCount(3), jobs=jobs)
    assert files_of(tmp_path) == before
    pack(scan_classes(odd_folder), tmp_path, division=ShardCount(3), jobs=jobs, overwrite=True)
    shards = [f"train-{number:06}.tar" for number in range(3)]
    assert sorted(files_of(tmp_path)) == [*shards, "train.index.npy", "train.json"]


def test_datasets_of_other_names_are_left_alone(odd_folder: Path, tmp_path: Path) -> None:
    pack(scan_classes(odd_folder), tmp_path, {"train-small": Fraction(1)})
    pack(scan_classes(odd_folder), tmp_path, {"train": Fraction(1)})
    pack(scan_classes(odd_folder), tmp_path, {"train": Fraction(1)}, overwrite=True)
    assert manifest.find(tmp_path / "train-small-000000.tar") is not None


def test_a_json_of_someone_else_is_never_overwritten(odd_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('{"annotations": []}')
    with pytest.raises(FileExistsError, match="not written by fastdata: choose another name"):
        pack(scan_classes(odd_folder), tmp_path, overwrite=True)
    assert (tmp_path / "train.json").read_text() == '{"annotations": []}'


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "a b", "a{0..1}", "a*"])
def test_a_name_that_readers_would_not_take_for_one_is_refused(odd_folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="can't name a dataset"):
        pack(scan_classes(odd_folder), tmp_path, {name: Fraction(1)})


def test_an_image_removed_under_way_is_named_and_what_is_not_finished_is_removed(
    odd_folder: Path, tmp_path: Path
) -> None:
    source = copy_of(odd_folder, tmp_path / "source")
    lost = source / "bee/same.png"
    with pytest.raises(PackError, match=r"bee/same\.png can't be read: No such file"):
        pack(
            scan_classes(source),
            tmp_path / "out",
            division=ShardCount(3),
            jobs=1,
            progress=losing_a_file_after(3, lost),
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_an_image_that_changes_under_way_is_named_by_whichever_process(odd_folder: Path, tmp_path: Path) -> None:
    table = make_table(Source(scan_classes(odd_folder)), tmp_path, Recipe(division=ShardCount(3)))
    table.sizes[12] -= 1
    with pytest.raises(PackError, match=r"cow/05\.jpg changed while it was packed"):
        write_shards(table, [1, 0, 2], Processes(2))
    assert {path.name for path in tmp_path.iterdir()} & {"train-000001.tar", "train-000001.done"} == set()


@pytest.mark.parametrize(
    "options", [Recipe(), Recipe(check=False), Recipe(jpeg=Encode())], ids=["check", "as is", "anew"]
)
def test_a_file_that_is_rewritten_under_way_is_noticed_though_its_size_is_the_same(
    tmp_path: Path, options: Recipe
) -> None:
    for name in ("1", "2"):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg(32, 32, 0))
        (tmp_path / f"{name}.txt").write_bytes(b"one")
    for file in tmp_path.iterdir():
        os.utime(file, ns=(0, 0))  # long ago: a file system's clock ticks every few milliseconds only
    table = make_table(collect(tmp_path, None, None, ["txt"]), tmp_path, options)
    for file in (tmp_path / "2.txt", tmp_path / "1.jpg"):
        file.write_bytes(file.read_bytes()[::-1])
        with pytest.raises(PackError, match=rf"/{file.name} changed while it was packed: pack again$"):
            write_shards(table, [0], Processes(1))


def test_a_failure_in_one_process_stops_the_others(tmp_path: Path) -> None:
    """The first file of the first shard, while there are thousands in the second."""
    folder, out = tmp_path / "source/a", tmp_path / "out"
    folder.mkdir(parents=True)
    out.mkdir()
    (folder / "0.jpg").write_bytes(b"an image")
    for number in range(1, 8000):
        os.link(folder / "0.jpg", folder / f"{number}.jpg")
    table = make_table(Source(scan_classes(folder.parent)), out, Recipe(division=ShardCount(2)))
    table.sizes[0] -= 1
    with pytest.raises(PackError, match="changed while it was packed"):
        write_shards(table, [0, 1], Processes(2))
    assert not list(out.glob("*.done"))


def test_an_overwrite_that_fails_leaves_the_old_dataset_whole(odd_folder: Path, tmp_path: Path) -> None:
    source, out = copy_of(odd_folder, tmp_path / "source"), tmp_path / "out"
    pack(scan_classes(source), out, division=ShardCount(4), jobs=1)
    before = files_of(out)
    lost = source / "cow/03.jpg"
    with pytest.raises(PackError, match="cow/03"):
        pack(scan_classes(source), out, jobs=1, overwrite=True, progress=losing_a_file_after(3, lost))
    assert files_of(out) == before
    assert manifest.find(out / "train-000000.tar") is not None


def test_what_a_killed_run_leaves_is_hidden_and_cleared_by_the_next(odd_folder: Path, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from fastdata.sources.folder import scan_classes\n"
        "from fastdata.packing.plan import ShardCount\n"
        "from fastdata.packing.pack import pack\n"
        "read = []\n"
        "def progress(files, size):\n"
        "    read.append(files)\n"
        "    if len(read) == 15: os.kill(os.getpid(), signal.SIGKILL)\n"
        "pack(scan_classes(sys.argv[1]), sys.argv[2], division=ShardCount(3), jobs=1, progress=progress)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, odd_folder, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert "train-000000.tar" in [path.name for path in tmp_path.rglob("*")]
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())
    pack(scan_classes(odd_folder), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "train-000000.tar",
        "train.index.npy",
        "train.json",
    ]


def test_while_one_packs_another_can_not_pack_into_the_same_folder(odd_folder: Path, tmp_path: Path) -> None:
    def progress(files: int, size: int) -> None:
        with pytest.raises(PackError, match=f"another process is packing into {tmp_path}: wait"):
            pack(scan_classes(odd_folder), tmp_path, {"val": Fraction(1)})
        told.append(files)

    told: list[int] = []
    pack(scan_classes(odd_folder), tmp_path, jobs=1, progress=progress)
    assert len(told) == 23
    pack(scan_classes(odd_folder), tmp_path, {"val": Fraction(1)})
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("overwrite", [False, True])
def test_shards_of_someone_else_are_never_overwritten(odd_folder: Path, tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "train-000007.tar").write_bytes(b"theirs")
    with pytest.raises(FileExistsError, match=r"train-000007\.tar are there already without train\.json.*: move them"):
        pack(scan_classes(odd_folder), tmp_path, overwrite=overwrite)
    assert files_of(tmp_path) == {"train-000007.tar": b"theirs"}


def test_a_shard_that_can_not_be_written_is_named(odd_folder: Path, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(PackError, match=r"train-000000\.tar can't be written: File too large"):
            pack(scan_classes(odd_folder), tmp_path, jobs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_conversion_that_goes_wrong_names_the_image(
    odd_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data: bytes, extension: str, how: object) -> None:
        raise AttributeError("a mistake")

    monkeypatch.setattr(packing, "convert", broken)
    with pytest.raises(PackError, match=r"ant/1\.jpg can't be packed: a mistake"):
        pack(scan_classes(odd_folder), tmp_path, jpeg=CropReady(), jobs=1)


def test_an_empty_file_is_named_before_anything_is_written(odd_folder: Path, tmp_path: Path) -> None:
    source = copy_of(odd_folder, tmp_path / "source")
    (source / "cow/05.jpg").write_bytes(b"")
    with pytest.raises(PackError, match=r"cow/05\.jpg is empty"):
        pack(scan_classes(source), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_link_is_named_before_anything_is_removed(odd_folder: Path, tmp_path: Path) -> None:
    source, out = copy_of(odd_folder, tmp_path / "source"), tmp_path / "out"
    pack(scan_classes(source), out)
    (source / "cow/99.jpg").symlink_to("nowhere")
    before = files_of(out)
    with pytest.raises(PackError, match=r"cow/99\.jpg can't be read"):
        pack(scan_classes(source), out, overwrite=True)
    assert files_of(out) == before


def test_an_image_by_the_name_of_the_class_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.CLS").write_bytes(jpeg(8, 8))
    with pytest.raises(PackError, match=r"cat/1\.CLS has the extension that the class index has"):
        pack(scan_classes(tmp_path, "**/*.CLS"), tmp_path / "out")
    (made,) = pack(scan_pattern(tmp_path, "**/*.CLS"), tmp_path / "out")
    assert made.nsamples == 1


def test_a_file_without_extension_is_refused(odd_folder: Path, tmp_path: Path) -> None:
    source = copy_of(odd_folder, tmp_path / "source")
    (source / "cow/README").write_bytes(b"text")
    with pytest.raises(PackError, match="cow/README has no extension"):
        pack(scan_pattern(source, "**"), tmp_path / "out")


def test_a_packing_process_that_dies_is_an_error_and_not_a_wait_for_ever(
    odd_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_write_counted", die)
    with pytest.raises(PackError, match="a packing process died"):
        pack(scan_classes(odd_folder), tmp_path, division=ShardCount(2), jobs=2)


def test_no_jobs_is_an_error(odd_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jobs must be at least 1, not 0"):
        pack(scan_classes(odd_folder), tmp_path, jobs=0)


def test_an_empty_scan_is_an_error(tmp_path: Path) -> None:
    nothing: FolderScan = scan_pattern_of_nothing(tmp_path)
    with pytest.raises(ValueError, match="gets none of 0 samples"):
        pack(nothing, tmp_path / "out")


def scan_pattern_of_nothing(directory: Path) -> FolderScan:
    (directory / "a.jpg").write_bytes(jpeg(8, 8))
    scan = scan_pattern(directory, "*.jpg")
    return FolderScan(scan.root, scan.paths[:0], scan.targets[:0], [], {}, scan.keys[:0])


def test_a_file_that_has_become_a_pipe_since_it_was_planned_keeps_nobody_waiting(
    odd_folder: Path, tmp_path: Path
) -> None:
    folder = copy_of(odd_folder, tmp_path / "source")
    source = Source(scan_classes(folder))
    table = make_table(source, tmp_path / "out", Recipe(division=ShardCount(1)))
    (tmp_path / "out").mkdir()
    (folder / "cow/05.jpg").unlink()
    os.mkfifo(folder / "cow/05.jpg")
    with pytest.raises(PackError, match=r"cow/05\.jpg changed while it was packed: it had"):
        write_shards(table, [0], Processes(1))
