"""A dataset appears whole, and nothing that lies in its directory chooses what is written, moved or removed."""

import os
import re
import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from fastdata.errors import ManifestError, PackError
from fastdata.packing.pack import pack
from fastdata.packing.plan import SamplesPerShard, ShardCount
from fastdata.sources import manifest
from fastdata.sources.folder import scan_classes

SPLIT = {"a": Fraction(2, 3), "b": Fraction(1, 3)}
DIVISION = SamplesPerShard(8)  # of 23 samples two shards in `a` and one in `b`: five files with indexes, and two json


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two class folders with 23 files whose bytes nobody looks at."""
    root = tmp_path_factory.mktemp("source")
    for number in range(23):
        path = root / ("ant" if number < 9 else "bee") / f"{number:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes([number]) * (number + 1))
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The datasets' directory, with a file of the user's beside which nothing may happen."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/notes.txt").write_text("precious")
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def everything_in(directory: Path) -> dict[str, bytes]:
    """All files by their paths, but the indexes of shards, which hold a time."""
    found = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    files = [path for path in found if not re.fullmatch(r".*-\d{6}\.index\.npy", path.name)]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_a_directory_is_on_disk_before_what_relies_on_it_is_done(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut a json without its shards would be a dataset that can't be read."""
    synced: list[tuple[str, set[str]]] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if path.is_dir():
            synced.append((path.name, {file.name for file in path.iterdir() if not file.name.startswith(".")}))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    pack(scan_classes(source), out, division=DIVISION, jobs=1)
    complete = {"train.json", "train.index.npy", *(f"train-{number:06}.tar" for number in range(3))}
    assert synced[0][0] == ".fastdata-staging"
    assert synced[0][1] >= complete
    assert synced[-2:] == [("out", complete - {"train.json"}), ("out", complete)]


def interrupted_after(moves: int, source: Path, out: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool) -> None:
    """Packs `SPLIT` and stops when so many files have been moved to their places."""
    moved: list[Path] = []
    replace = Path.replace

    def stopping(self: Path, target: Path) -> Path:
        if Path(target).parent == out:
            if len(moved) == moves:
                raise KeyboardInterrupt
            moved.append(target)
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stopping)
        with pytest.raises(KeyboardInterrupt):
            pack(scan_classes(source), out, SPLIT, DIVISION, overwrite=overwrite, jobs=1)


@pytest.mark.parametrize("moves", [0, 1, 4, 5, 6])
def test_a_run_that_ends_while_it_moves_files_is_finished_by_the_next(
    source: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    pack(scan_classes(source), tmp_path / "expected", SPLIT, DIVISION, jobs=1)
    interrupted_after(moves, source, out, monkeypatch, overwrite=False)
    assert not (out / "b.json").exists()
    made = pack(scan_classes(source), out, SPLIT, DIVISION, jobs=1)
    assert [manifest.load(out / f"{name}.json") for name in SPLIT] == made
    assert everything_in(out) == everything_in(tmp_path / "expected")
    with pytest.raises(FileExistsError, match=r"a\.json is there already: --overwrite"):
        pack(scan_classes(source), out, SPLIT, DIVISION, jobs=1)


@pytest.mark.parametrize("moves", [0, 1, 4, 5, 6])
def test_another_command_finishes_such_a_run_and_then_is_what_it_is(
    source: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    pack(scan_classes(source), tmp_path / "expected", SPLIT, DIVISION, jobs=1)
    interrupted_after(moves, source, out, monkeypatch, overwrite=False)
    with pytest.raises(FileExistsError, match=r"a\.json is there already: --overwrite"):
        pack(scan_classes(source), out, SPLIT, SamplesPerShard(3), jobs=1)
    assert everything_in(out) == everything_in(tmp_path / "expected")


@pytest.mark.parametrize("moves", [0, 1, 4])
def test_what_an_interrupted_run_would_still_replace_is_replaced_only_where_that_is_asked(
    source: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    pack(scan_classes(source), out, SPLIT, SamplesPerShard(3), jobs=1)
    interrupted_after(moves, source, out, monkeypatch, overwrite=True)
    before = everything_in(out)
    for options in ({"split": SPLIT}, {"split": {"c": Fraction(1)}, "overwrite": True}):
        with pytest.raises(PackError, match=r"an earlier run ended while it put a, b in place.*--overwrite"):
            pack(scan_classes(source), out, division=DIVISION, jobs=1, **options)
        assert everything_in(out) == before
    pack(scan_classes(source), out, SPLIT, DIVISION, overwrite=True, jobs=1)
    pack(scan_classes(source), tmp_path / "expected", SPLIT, DIVISION, jobs=1)
    assert everything_in(out) == everything_in(tmp_path / "expected")


@pytest.mark.parametrize("name", [".fastdata-lock", ".fastdata-staging", ".fastdata-ready"])
@pytest.mark.parametrize("target", ["../victim", "../victim/notes.txt", "../nowhere"])
def test_a_planted_link_is_refused_and_what_it_points_to_is_left_alone(
    source: Path, out: Path, tmp_path: Path, name: str, target: str
) -> None:
    (out / name).symlink_to(target)
    with pytest.raises(PackError, match=rf"{name} is a link or no .*: remove it"):
        pack(scan_classes(source), out, jobs=1)
    assert everything_in(tmp_path / "victim") == {"notes.txt": b"precious"}
    assert not (tmp_path / "nowhere").exists()
    assert os.listdir(out) == [name]


@pytest.mark.parametrize("name", [".fastdata-lock", ".fastdata-staging", ".fastdata-ready"])
def test_a_pipe_by_a_hidden_name_is_refused_and_not_waited_for(source: Path, out: Path, name: str) -> None:
    os.mkfifo(out / name)
    with pytest.raises(PackError, match=f"{name} is a link or no"):
        pack(scan_classes(source), out, jobs=1)


def test_a_lock_that_is_another_name_of_a_file_does_not_empty_it(source: Path, out: Path, tmp_path: Path) -> None:
    (out / ".fastdata-lock").hardlink_to(tmp_path / "victim/notes.txt")
    pack(scan_classes(source), out, jobs=1)
    assert everything_in(tmp_path / "victim") == {"notes.txt": b"precious"}


@pytest.mark.parametrize("folder", [".fastdata-staging", ".fastdata-ready"])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_no_run_of_ours_leaves_behind_is_refused(source: Path, out: Path, folder: str, kind: str) -> None:
    (out / "train.csv").write_text("theirs")
    (out / folder).mkdir()
    planted = out / folder / ("train.csv" if kind == "file" else "train-000000.tar")
    if kind == "file":
        planted.write_text("planted")
    elif kind == "folder":
        planted.mkdir()
    else:
        planted.symlink_to("../../victim/notes.txt")
    with pytest.raises(PackError, match=rf"{folder}/train.* is not what an interrupted run .* move it away"):
        pack(scan_classes(source), out, jobs=1, overwrite=True)
    assert (out / "train.csv").read_text() == "theirs"
    assert os.path.lexists(planted)


def test_a_planted_dataset_replaces_no_other(source: Path, out: Path, tmp_path: Path) -> None:
    pack(scan_classes(source), out, division=ShardCount(2), jobs=1)
    pack(scan_classes(source), tmp_path / "planted", jobs=1)
    before = everything_in(out)
    shutil.copytree(tmp_path / "planted", out / ".fastdata-ready")
    for overwrite in (False, True):
        with pytest.raises(PackError, match=r"would replace .*/out/train.*: pack that dataset again with --overwrite"):
            pack(scan_classes(source), out, {"val": Fraction(1)}, jobs=1, overwrite=overwrite)
    shutil.rmtree(out / ".fastdata-ready")
    assert everything_in(out) == before


def test_a_planted_json_can_not_lay_claim_to_another_datasets_shards(source: Path, out: Path, tmp_path: Path) -> None:
    pack(scan_classes(source), out, jobs=1)
    pack(scan_classes(source), tmp_path / "planted", jobs=1)
    shutil.copytree(tmp_path / "planted", out / ".fastdata-ready")
    (out / ".fastdata-ready/train.json").rename(out / ".fastdata-ready/other.json")
    before = everything_in(out)
    with pytest.raises(PackError, match=r"other\.json is not what an interrupted run"):
        pack(scan_classes(source), out, {"other": Fraction(1)}, jobs=1, overwrite=True)
    assert everything_in(out) == before


def test_a_damaged_json_among_what_is_ready_is_named(source: Path, out: Path) -> None:
    (out / ".fastdata-ready").mkdir()
    (out / ".fastdata-ready/train.json").write_text("{}")
    with pytest.raises(ManifestError, match=r"fastdata-ready/train\.json"):
        pack(scan_classes(source), out, jobs=1)


def test_a_json_that_is_a_link_to_nothing_is_there_all_the_same(source: Path, out: Path) -> None:
    (out / "train.json").symlink_to("nowhere")
    with pytest.raises(FileExistsError, match=r"train\.json is there already, and not written by fastdata"):
        pack(scan_classes(source), out, jobs=1, overwrite=True)
    assert (out / "train.json").is_symlink()


def test_a_dataset_by_a_link_is_replaced_where_the_link_lies(source: Path, out: Path, tmp_path: Path) -> None:
    pack(scan_classes(source), tmp_path / "elsewhere", jobs=1)
    before = everything_in(tmp_path / "elsewhere")
    for name in before:
        (out / name).symlink_to(tmp_path / "elsewhere" / name)
    pack(scan_classes(source), out, division=ShardCount(3), jobs=1, overwrite=True)
    assert everything_in(tmp_path / "elsewhere") == before
    assert manifest.load(out / "train.json").nsamples == 23
    assert not (out / "train.json").is_symlink()


def test_the_folder_that_is_packed_is_no_place_for_its_shards(source: Path, tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(source)
    for directory in (source, tmp_path / "again", source / "ant/.."):
        with pytest.raises(ValueError, match="is the folder that is packed: give another one"):
            pack(scan_classes(source), directory, jobs=1)
    assert sorted(os.listdir(source)) == ["ant", "bee"]
