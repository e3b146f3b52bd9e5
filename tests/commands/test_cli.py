import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from fastdata.commands import cli
from fastdata.commands.demo import PHOTO_SIZE, make_photos
from fastdata.commands.info import describe
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources import manifest
from fastdata.sources.folder import scan_classes
from fastdata.sources.shard import Shard
from support.pictures import encoded, jpeg, photo
from support.processes import PATIENCE
from support.tars import packed
from support.tars import samples as members_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 5 and 7 images, JPEG and PNG, of three sizes."""
    root = tmp_path_factory.mktemp("folder")
    for name, count in (("cat", 5), ("dog", 7)):
        (root / name).mkdir()
        for i in range(count):
            width, height = ((300, 200), (320, 240), (64, 48))[i % 3]
            if i == 2:
                (root / name / f"{i}.PNG").write_bytes(encoded(photo(width, height, i), "PNG"))
            else:
                (root / name / f"{i}.jpg").write_bytes(jpeg(width, height, i))
    return root


@pytest.fixture(scope="module")
def dataset(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That folder in three shards."""
    directory = tmp_path_factory.mktemp("packed")
    pack(scan_classes(folder), directory, division=ShardCount(3), jobs=1)
    return directory


class Result:
    """How a command line ended, and what it said."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def fastdata(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs a command line in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as exit:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Result(int(exit.value.code or 0), out, err)

    return run


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastdata.commands.cli", *map(str, arguments)], capture_output=True, text=True
    )


def test_a_folder_is_packed_and_shown_by_the_program_itself(folder: Path, tmp_path: Path) -> None:
    done = in_a_process("shard", folder, tmp_path / "out", "--shards", 3, "--jobs", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'out' / 'train.json'}: 12 samples, 2 classes; shards: 3, ")
    again = in_a_process("shard", folder, tmp_path / "out", "--shards", 3)
    assert again.returncode == 1
    assert again.stderr == f"fastdata: {tmp_path / 'out' / 'train.json'} is there already: " + (
        "--overwrite (overwrite=True) replaces the dataset\n"
    )


def test_help_and_version_import_nothing_heavy() -> None:
    heavy = "('torch', 'cv2', 'numpy', 'PIL', 'nvidia', 'webdataset', 'simplejpeg', 'matplotlib')"
    for asked in ("--help", "--version", "shard --help"):
        code = (
            "import sys\nfrom fastdata import cli\n"
            f"try: cli.main({asked.split()!r})\n"
            f"except SystemExit: print([m for m in {heavy} if m in sys.modules])"
        )
        out = subprocess.check_output([sys.executable, "-c", code], text=True)
        assert out.splitlines()[-1] == "[]"


def test_the_version_is_the_packages(fastdata) -> None:
    from fastdata import __version__

    assert fastdata("--version").out == f"fastdata {__version__}\n"


def test_options_reach_the_dataset(fastdata, folder: Path, tmp_path: Path) -> None:
    options = ["--name", "pets", "--samples-per-shard", 5, "--shuffle", "--seed", 9]
    assert fastdata("shard", folder, tmp_path, *options).status == 0
    made = manifest.load(tmp_path / "pets.json")
    assert [entry.nsamples for entry in made.shards] == [4, 4, 4]
    assert (made.made.shuffle, made.made.seed) == (True, 9)


def test_a_shards_size_is_in_bytes_with_a_unit(fastdata, folder: Path, tmp_path: Path) -> None:
    assert fastdata("shard", folder, tmp_path, "--shard-size", "60KB").status == 0
    assert max(entry.filesize for entry in manifest.load(tmp_path / "train.json").shards) <= 60_000


def test_a_pattern_packs_files_without_labels(fastdata, folder: Path, tmp_path: Path) -> None:
    result = fastdata("shard", folder, tmp_path, "--pattern", "**/*.jpg", "--labels", "none")
    assert ": 10 samples, 0 classes; " in result.out
    assert Shard(tmp_path / "train-000000.tar").extensions == ("jpg",)


def test_a_pattern_keeps_the_class_folders_otherwise(fastdata, folder: Path, tmp_path: Path) -> None:
    assert fastdata("shard", folder, tmp_path, "--pattern", "**/*.jpg").status == 0
    assert manifest.load(tmp_path / "train.json").classes == tuple(scan_classes(folder, "**/*.jpg").classes)
    assert Shard(tmp_path / "train-000000.tar").extensions == ("jpg", "cls")


def test_a_split_makes_a_dataset_of_each_part(fastdata, folder: Path, tmp_path: Path) -> None:
    result = fastdata("shard", folder, tmp_path, "--split", "train=3/4,val=1/4")
    assert result.status == 0
    assert [manifest.load(tmp_path / f"{name}.json").nsamples for name in ("train", "val")] == [9, 3]
    assert [info.name for info in describe(tmp_path)] == ["train", "val"]


def test_crop_ready_images_are_counted_and_those_that_cannot_be_too(fastdata, folder: Path, tmp_path: Path) -> None:
    result = fastdata("shard", folder, tmp_path, "--jpeg", "crop-ready")
    assert "crop-ready: 10 of 12 images changed" in result.out
    assert "; 2 that can't be are kept as they were" in result.out
    assert describe(tmp_path)[0].images.crop_ready == 10


def test_encoding_takes_its_options(fastdata, folder: Path, tmp_path: Path) -> None:
    result = fastdata("shard", folder, tmp_path, "--jpeg", "encode", "--max-side", 100, "--quality", 70)
    assert "encode(max_side=100, quality=70): 12 of 12 images changed" in result.out
    described = describe(tmp_path)[0]
    assert described.images.widths[2] == 100
    assert described.extensions == {"jpg": 12, "cls": 12}


def test_what_is_left_out_is_told(fastdata, folder: Path, tmp_path: Path) -> None:
    assert "left out" not in fastdata("shard", folder, tmp_path / "out").out
    source = tmp_path / "source"
    shutil.copytree(folder, source)
    for name in ("cat/a.gif", "dog/b.gif", "LICENSE"):
        (source / name).write_bytes(b"")
    result = fastdata("shard", source, tmp_path / "out", "--name", "other")
    assert result.out.endswith("left out: 2 .gif, 1 outside class folders\n")


def test_a_flat_folder_is_packed_by_the_option_that_the_error_names(fastdata, folder: Path, tmp_path: Path) -> None:
    assert "--labels none" in fastdata("shard", folder / "cat", tmp_path).err
    assert fastdata("shard", folder / "cat", tmp_path, "--labels", "none").status == 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--shards", "2", "--shard-size", "1GB"], "give one of --shards, --samples-per-shard and --shard-size"),
        (["--shards", "0"], "for '--shards'"),
        (["--shard-size", "big"], "'big' is no size"),
        (["--split", "train"], "should be names and fractions"),
        (["--split", "a=1", "--name", "b"], "leave --name out"),
        (["--quality", "90"], "belong to --jpeg encode"),
        (["--jpeg", "smaller"], "'smaller'"),
        (["--jobs", "0"], "for '--jobs'"),
    ],
)
def test_a_wrong_usage_is_told_from_what_goes_wrong(
    fastdata, folder: Path, tmp_path: Path, options: list[str], problem: str
) -> None:
    result = fastdata("shard", folder, tmp_path / "out", *options)
    assert result.status == 2
    assert problem in " ".join(result.err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["shard", "nowhere", "out"], "no folder nowhere"),
        (["info", "nowhere"], "no shard nowhere"),
        (["info", "nowhere.json"], "nowhere.json"),
        (["info", "/dev"], "no dataset in /dev"),
        (["index", "nowhere.tar"], "no shard nowhere.tar"),
    ],
)
def test_what_goes_wrong_is_one_line_on_standard_error(fastdata, arguments: list[str], problem: str) -> None:
    result = fastdata(*arguments)
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("fastdata: ")
    assert problem in result.err
    assert result.err.count("\n") == 1


class TestEnding:
    """Of a run whose processes call a jpegtran that tells who they are, and then waits to be let go."""

    @pytest.fixture
    def go(self, tmp_path: Path):
        """A named pipe: each line in it lets one jpegtran go, its end all of them."""
        os.mkfifo(tmp_path / "go")
        with open(tmp_path / "go", "r+b", buffering=0) as pipe:
            yield pipe

    @pytest.fixture
    def running(self, folder: Path, tmp_path: Path, go: object):
        (tmp_path / "bin").mkdir()
        jpegtran = tmp_path / "bin/jpegtran"
        jpegtran.write_text(f"#!/bin/sh\necho $PPID >> {tmp_path}/started\nread line < {tmp_path}/go\nexit 1\n")
        jpegtran.chmod(0o755)
        command = [sys.executable, "-m", "fastdata.commands.cli", "shard", folder, tmp_path / "out", "--shards", "4"]
        command += ["--jobs", "2", "--jpeg", "crop-ready"]
        environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
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
        wait_until(lambda: len(children(running.pid)) >= 3)  # one of them is multiprocessing's own
        os.killpg(running.pid, signal.SIGINT)
        go.write(b"\n" * 12)
        _, said = running.communicate(timeout=PATIENCE)
        assert running.returncode == 130
        assert "Traceback" not in said


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "nothing happened"
        os.sched_yield()


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


class TestInfo:
    def test_it_says_what_is_in_the_folder_that_was_packed(self, dataset: Path, folder: Path) -> None:
        (info,) = describe(dataset)
        assert (info.name, info.shards, info.samples) == ("train", 3, 12)
        assert info.bytes == sum(path.stat().st_size for path in dataset.glob("*.tar"))
        assert info.classes == {path.name: len(list(path.iterdir())) for path in sorted(folder.iterdir())}
        assert info.extensions == {"jpg": 10, "cls": 12, "png": 2}
        assert info.images.looked_at == 12
        assert info.images.widths == (64, 300, 320)
        assert info.images.heights == (48, 200, 240)
        assert (info.images.crop_ready, info.images.unreadable) == (0, [])

    @pytest.mark.parametrize("what", ["train.json", "*.tar", "train-{000000..000002}.tar", "."])
    def test_a_json_a_folder_a_glob_and_braces_are_the_same_dataset(self, dataset: Path, what: str) -> None:
        (info,) = describe(f"{dataset}/{what}")
        assert (info.shards, info.samples, sum(info.classes.values())) == (3, 12, 12)

    def test_shards_without_a_json_have_classes_by_number(self, dataset: Path) -> None:
        assert describe(f"{dataset}/train-000000.tar")[0].classes == {"0": 4}

    def test_no_more_images_are_looked_at_than_asked(self, dataset: Path) -> None:
        assert [describe(dataset, count)[0].images.looked_at for count in (0, 1, 5)] == [0, 1, 5]

    def test_images_that_are_none_are_named(self, tmp_path: Path) -> None:
        packed(tmp_path / "a.tar", [*members_of(2), ("good.jpg", jpeg(40, 30))])
        images = describe(tmp_path)[0].images
        assert (images.unreadable, images.widths) == (["a/0", "a/1"], (40, 40, 40))

    def test_samples_without_a_class_are_counted(self, fastdata, tmp_path: Path) -> None:
        packed(tmp_path / "a.tar", [("1.jpg", jpeg(40, 30)), ("2.jpg", jpeg(40, 30)), ("2.cls", b"7")])
        assert (describe(tmp_path)[0].unlabelled, describe(tmp_path)[0].classes) == (1, {"7": 1})
        assert "without class" in fastdata("info", tmp_path).out

    def test_a_shard_that_is_not_the_jsons_is_an_error(self, fastdata, dataset: Path, tmp_path: Path) -> None:
        (tmp_path / "train.json").write_bytes((dataset / "train.json").read_bytes())
        (tmp_path / "train-000000.tar").write_bytes((dataset / "train-000001.tar").read_bytes() + bytes(512))
        assert "copy or pack it again" in fastdata("info", tmp_path).err

    def test_the_table_shows_it(self, fastdata, dataset: Path) -> None:
        result = fastdata("info", dataset)
        assert result.status == 0
        for shown in ("cat 5, dog 7", "jpg 10, cls 12, png 2", "least 64, median 300, most 320"):
            assert shown in result.out

    def test_names_with_brackets_are_shown_as_they_are(self, fastdata, folder: Path, tmp_path: Path) -> None:
        source, out = tmp_path / "source", tmp_path / "set[1]"
        shutil.copytree(folder / "cat", source / "[red] cat")
        assert fastdata("shard", source, out).status == 0
        assert "[red] cat 5" in fastdata("info", out).out
        (out / "train.json").unlink()
        assert describe(out)[0].samples == 5


class TestIndex:
    @pytest.fixture
    def shards(self, tmp_path: Path) -> list[Path]:
        return [packed(tmp_path / f"a{i}.tar", members_of(3 + i)) for i in range(2)]

    def test_the_native_index_lies_beside_the_shard(self, fastdata, shards: list[Path]) -> None:
        result = fastdata("index", *shards)
        assert result.out == f"{shards[0]}: 3 samples\n{shards[1]}: 4 samples\n"
        assert [shard.with_suffix(".index.npy").exists() for shard in shards] == [True, True]

    def test_dalis_index_lies_beside_the_shard(self, fastdata, shards: list[Path]) -> None:
        result = fastdata("index", shards[0].parent / "*.tar", "--format", "dali")
        assert result.out == "".join(f"{shard.with_suffix('.idx')}\n" for shard in shards)
        assert [shard.with_suffix(".idx").read_text().split("\n")[0] for shard in shards] == ["v1.2 3", "v1.2 4"]

    def test_the_wids_index_lists_all_shards(self, fastdata, shards: list[Path]) -> None:
        document = json.loads(fastdata("index", "--format", "wids", *shards).out)
        assert document["wids_version"] == 1
        assert document["shardlist"] == [
            {"url": str(shard), "nsamples": 3 + i, "filesize": shard.stat().st_size} for i, shard in enumerate(shards)
        ]


def test_the_demos_photos_are_a_function_of_the_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("again", 0), ("b", 1)):
        make_photos(tmp_path / name, 5, seed)
    contents = {
        name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.jpg"))] for name in ("a", "again", "b")
    }
    assert contents["a"] == contents["again"]
    assert not set(contents["a"]) & set(contents["b"])
    for data in contents["a"]:
        assert 60_000 < len(data) < 150_000
    with Image.open(next((tmp_path / "a").rglob("*.jpg"))) as image:
        assert image.size == PHOTO_SIZE


def test_the_demo_shows_speeds_and_a_picture_and_runs_again(fastdata, tmp_path: Path) -> None:
    directory = tmp_path / "demo [1]"  # a glob would look for "demo 1"
    for _ in range(2):
        result = fastdata("demo", directory, "--images", 12)
        assert (result.status, result.err) == (0, "")
        assert result.out.count("DataLoader") == 2
        assert f"{directory / 'batch.png'}" in result.out
    with Image.open(directory / "batch.png") as image:
        assert image.size == (8 * 224, 2 * 224)
        tile = np.asarray(image)[:224, :224]
    assert tile.std() > 5
    shards = (directory / "shards-12").glob("*.tar")
    counts = Counter(target for path in shards for target in Shard(path).rows["cls"].tolist())
    assert counts == {0: 3, 1: 3, 2: 3, 3: 3}
