"""Options reach what they are for; what goes wrong is told in a line, or as a wrong usage."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastdata.commands.info import describe
from fastdata.sources import manifest
from fastdata.sources.folder import scan_classes
from fastdata.sources.shard import Shard
from support.commands import Command


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "fastdata", *map(str, arguments)], capture_output=True, text=True)


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
            "import sys\nfrom fastdata.commands import cli\n"
            f"try: cli.main({asked.split()!r})\n"
            f"except SystemExit: print([m for m in {heavy} if m in sys.modules])"
        )
        out = subprocess.check_output([sys.executable, "-c", code], text=True)
        assert out.splitlines()[-1] == "[]"


def test_the_version_is_the_packages(fastdata: Command) -> None:
    from fastdata import __version__

    assert fastdata("--version").out == f"fastdata {__version__}\n"


def test_options_reach_the_dataset(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    options = ["--name", "pets", "--samples-per-shard", 5, "--shuffle", "--seed", 9]
    assert fastdata("shard", folder, tmp_path, *options).status == 0
    made = manifest.load(tmp_path / "pets.json")
    assert [entry.nsamples for entry in made.shards] == [4, 4, 4]
    assert (made.made.shuffle, made.made.seed) == (True, 9)


def test_the_last_of_shuffle_and_no_shuffle_counts(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    for name, flags in (("yes", ["--no-shuffle", "--shuffle"]), ("no", ["--shuffle", "--no-shuffle"])):
        assert fastdata("shard", folder, tmp_path, "--name", name, "--jobs", 1, *flags).status == 0
    assert [manifest.load(tmp_path / f"{name}.json").made.shuffle for name in ("yes", "no")] == [True, False]


def test_a_shards_size_is_in_bytes_with_a_unit(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    assert fastdata("shard", folder, tmp_path, "--shard-size", "60KB").status == 0
    assert max(entry.filesize for entry in manifest.load(tmp_path / "train.json").shards) <= 60_000


def test_a_pattern_packs_files_without_labels(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    result = fastdata("shard", folder, tmp_path, "--pattern", "**/*.jpg", "--labels", "none")
    assert ": 10 samples, no classes; " in result.out
    assert Shard(tmp_path / "train-000000.tar").extensions == ("jpg",)


def test_a_pattern_keeps_the_class_folders_otherwise(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    assert fastdata("shard", folder, tmp_path, "--pattern", "**/*.jpg").status == 0
    assert manifest.load(tmp_path / "train.json").classes == tuple(scan_classes(folder, "**/*.jpg").classes)
    assert Shard(tmp_path / "train-000000.tar").extensions == ("jpg", "cls")


def test_a_split_makes_a_dataset_of_each_part(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    result = fastdata("shard", folder, tmp_path, "--split", "train=3/4,val=1/4")
    assert result.status == 0
    assert [manifest.load(tmp_path / f"{name}.json").nsamples for name in ("train", "val")] == [9, 3]
    assert [info.name for info in describe(tmp_path)] == ["train", "val"]


def test_crop_ready_images_are_counted_and_those_that_cannot_be_too(
    fastdata: Command, folder: Path, tmp_path: Path
) -> None:
    result = fastdata("shard", folder, tmp_path, "--jpeg", "crop-ready")
    assert "crop-ready: 10 of 12 images changed" in result.out
    assert "; 2 that can't be are kept as they were" in result.out
    assert describe(tmp_path)[0].images.crop_ready == 10


def test_encoding_takes_its_options(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    result = fastdata("shard", folder, tmp_path, "--jpeg", "encode", "--max-side", 100, "--quality", 70)
    assert "encode(max_side=100, quality=70): 12 of 12 images changed" in result.out
    described = describe(tmp_path)[0]
    assert described.images.widths[2] == 100
    assert described.extensions == {"jpg": 12, "cls": 12}


def test_what_is_left_out_is_told(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    assert "left out" not in fastdata("shard", folder, tmp_path / "out").out
    source = tmp_path / "source"
    shutil.copytree(folder, source)
    for name in ("cat/a.gif", "dog/b.gif", "LICENSE"):
        (source / name).write_bytes(b"")
    result = fastdata("shard", source, tmp_path / "out", "--name", "other")
    assert result.out.endswith("left out: 2 .gif, 1 outside class folders\n")


def test_a_flat_folder_is_packed_by_the_option_that_the_error_names(
    fastdata: Command, folder: Path, tmp_path: Path
) -> None:
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
        (["--shard-size", "10"], "less than an image has (was 10MB meant?); say --yes if that is meant"),
        (["--shard-size", "1TB"], "one file of more than 100 GB"),
        (["--shards", "200000"], "a file each, for 12 samples"),
        (["--jpeg", "encode", "--max-side", "5"], "leaves little of an image"),
        (["--jpeg", "encode", "--quality", "2"], "leaves little of an image"),
    ],
)
def test_a_wrong_usage_is_told_from_what_goes_wrong(
    fastdata: Command, folder: Path, tmp_path: Path, options: list[str], problem: str
) -> None:
    result = fastdata("shard", folder, tmp_path / "out", *options)
    assert result.status == 2
    assert problem in " ".join(result.err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["shard", "nowhere", "out"], "no folder nowhere"),
        (["info", "nowhere"], "no file or folder nowhere: check the path"),
        (["info", "nowhere.json"], "nowhere.json"),
        (["info", "/dev"], "no dataset in /dev"),
        (["index", "nowhere.tar"], "no shard nowhere.tar"),
    ],
)
def test_what_goes_wrong_is_one_line_on_standard_error(fastdata: Command, arguments: list[str], problem: str) -> None:
    result = fastdata(*arguments)
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("fastdata: ")
    assert problem in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("classes", [("train", "val"), ("test", "train"), ("Training", "test", "validation")])
def test_classes_that_look_like_the_parts_of_a_data_set_are_asked_about(
    fastdata: Command, folder: Path, tmp_path: Path, classes: tuple[str, ...]
) -> None:
    for name in classes:
        shutil.copytree(folder, tmp_path / "source" / name)
    result = fastdata("shard", tmp_path / "source", tmp_path / "out")
    assert result.status == 0
    assert f"warning: the folders {', '.join(classes)} become the classes; for a dataset of each write: " in result.err
    for name in classes:
        assert f"fastdata shard {tmp_path / 'source' / name} {tmp_path / 'out'} --name {name}" in result.err


def test_other_classes_are_not_asked_about(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "cat", tmp_path / "source" / "train")
    assert fastdata("shard", tmp_path / "source", tmp_path / "alone").err == ""
    shutil.copytree(folder / "cat", tmp_path / "source" / "bus")
    assert fastdata("shard", tmp_path / "source", tmp_path / "vehicles").err == ""


def test_shards_that_are_larger_than_asked_are_told(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    result = fastdata("shard", folder, tmp_path, "--shard-size", "10", "--yes")
    assert (result.status, result.err.count("\n")) == (0, 1)
    assert "warning: 11 of 11 shards have more than 10 bytes" in result.err


def test_a_folder_is_not_packed_into_itself(fastdata: Command, folder: Path) -> None:
    result = fastdata("shard", folder, folder)
    assert (result.status, result.out) == (1, "")
    assert "is the folder that is packed" in result.err


def test_links_out_of_the_folder_are_packed_where_that_is_asked(
    fastdata: Command, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "source" / "cat").mkdir(parents=True)
    (tmp_path / "source" / "cat" / "1.jpg").symlink_to(folder / "cat" / "1.jpg")
    for labels in ("folder", "none"):
        refused = fastdata("shard", tmp_path / "source", tmp_path / labels, "--labels", labels)
        assert (refused.status, refused.out) == (1, "")
        assert "cat/1.jpg from outside of" in refused.err
        assert (
            fastdata("shard", tmp_path / "source", tmp_path / labels, "--labels", labels, "--follow-links").status == 0
        )


def test_what_is_told_can_not_steer_the_terminal(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "a\x1b[31mb"
    shutil.copytree(folder / "cat", source / "cat")
    (source / "cat" / "x.\x1b[2J").write_bytes(b"")
    done = fastdata("shard", source, out)
    failed = fastdata("info", f"{out}\n/nowhere.json")
    assert done.out.startswith(f"{tmp_path}/a\\x1b[31mb/train.json: 5 samples")
    assert "left out: 1 .\\x1b[2j" in done.out
    assert "a\\x1b[31mb\\n/nowhere.json" in failed.err
    assert "\x1b" not in done.out + failed.err
    for wrong in (["info", "a", "b\x1b[31m"], ["shard", "a", "b", "--jpeg", "c\x1b[31m"], ["d\x1b[31m"]):
        refused = fastdata(*wrong)
        assert (refused.status, "\\x1b[31m" in refused.err, "\x1b" in refused.err) == (2, True, False)
