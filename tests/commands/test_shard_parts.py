"""`fastdata shard` in parts, and with files that can't be packed."""

import json
from pathlib import Path

import pytest

from fastdata.images import kernel
from fastdata.sources import manifest
from support.commands import Command
from support.packed import copy_of, files_of


def test_parts_and_a_commit_make_what_one_run_makes(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    options = ["--samples-per-shard", 3, "--shuffle", "--seed", 4]
    assert fastdata("shard", folder, tmp_path / "expected", *options).status == 0
    command = ["shard", folder, tmp_path / "out", *options]
    first = fastdata(*command, "--part", "1/2")
    assert first.out == (
        f"{tmp_path / 'out'}: part 1/2 is there: 2 of 4 shards, 2 of them new; when all parts are, give the same "
        f"command with --commit in place of --part\n"
    )
    early = fastdata(*command, "--commit")
    assert (early.status, early.out) == (1, "")
    assert "2 of 4 shards are not there: pack --part 0/2, with the same options, and commit again" in early.err
    assert fastdata(*command, "--part", "0/2", "--jobs", 2).status == 0
    made = fastdata(*command, "--commit", "--verify")
    assert made.out.startswith(f"{tmp_path / 'out/train.json'}: 12 samples, 2 classes; shards: 4")
    assert made.out.endswith("4 shards, nothing wrong\n")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "expected")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--part", "2/2"], "there is no part 2/2: parts are from 0/2 to 1/2"),
        (["--part", "x"], "'x' is no part: write its number, from 0, and how many there are, as 3/64"),
        (["--part", "0/2", "--commit"], "come when all parts are written, without --part"),
        (["--part", "0/2", "--verify"], "come when all parts are written, without --part"),
        (["--address", "auto"], "--address belongs to --engine dask or ray"),
        (["--engine", "dask", "--jobs", "2"], "--jobs belongs to --engine processes"),
        (["--engine", "slurm"], "'slurm'"),
        (["--on-error", "warn"], "'warn'"),
    ],
)
def test_a_wrong_usage_is_told(
    fastdata: Command, folder: Path, tmp_path: Path, options: list[str], problem: str
) -> None:
    result = fastdata("shard", folder, tmp_path / "out", *options)
    assert result.status == 2
    assert problem in " ".join(result.err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_what_can_not_be_packed_is_left_out_and_named_where_that_is_asked(
    fastdata: Command, folder: Path, tmp_path: Path
) -> None:
    source, out = copy_of(folder, tmp_path / "source"), tmp_path / "out"
    (source / "cat/1.jpg").write_bytes(b"")
    (source / "dog/0.jpg").unlink()
    (source / "dog/0.jpg").symlink_to("nowhere")
    assert fastdata("shard", source, out).status == 1
    result = fastdata("shard", source, out, "--on-error", "skip", "--check", "none")
    assert (result.status, result.err) == (0, "")
    assert f"left out since they can't be packed: 2 files, named in {out / 'train.rejects.jsonl'}" in result.out
    lines = [json.loads(line) for line in (out / "train.rejects.jsonl").read_text().splitlines()]
    assert lines == [
        {"path": "cat/1.jpg", "reason": "is empty: remove it, or get it again"},
        {"path": "dog/0.jpg", "reason": "can't be read: No such file or directory"},
    ]
    made = manifest.load(out / "train.json")
    assert (made.nsamples, made.made.rejected, made.classes) == (10, 2, ("cat", "dog"))


@pytest.mark.skipif(kernel.KERNEL is None, reason="the kernel is not built")
def test_what_is_no_image_is_left_out_where_images_are_checked(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    source = copy_of(folder, tmp_path / "source")
    (source / "cat/1.jpg").write_bytes(b"<html>not found</html>")
    result = fastdata("shard", source, tmp_path / "out", "--on-error", "skip")
    assert "left out since they can't be packed: 1 file" in result.out
    (line,) = (tmp_path / "out/train.rejects.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"].startswith("is no image: ")
    assert all(shard.checked for shard in manifest.load(tmp_path / "out/train.json").shards)
    told = fastdata("shard", source, tmp_path / "raised")
    assert told.status == 0
    assert manifest.load(tmp_path / "raised/train.json").nsamples == 12
