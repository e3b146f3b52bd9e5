"""What can't be packed is left out where that is asked, noted, and nothing else changes."""

import errno
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdata.errors import PackError
from fastdata.packing import write
from fastdata.packing.engines import Processes
from fastdata.packing.origins.collect import collect
from fastdata.packing.origins.from_shards import collect_shards
from fastdata.packing.origins.source import Source
from fastdata.packing.origins.usable import UnusableError
from fastdata.packing.pack import pack_by
from fastdata.packing.parts import Part, commit, pack_part
from fastdata.packing.plan import SamplesPerShard, ShardCount
from fastdata.packing.recipe import Recipe
from fastdata.sources.folder import scan_classes
from support.http_server import Server
from support.packed import copy_of, files_of, keys_of, losing_a_file_after
from support.pictures import encoded
from support.tars import archive

HERE = Processes(1)


def rejects_in(directory: Path, name: str = "train") -> list[dict[str, str]]:
    return [json.loads(line) for line in (directory / f"{name}.rejects.jsonl").read_text().splitlines()]


@pytest.fixture
def source(odd_folder: Path, tmp_path: Path) -> Source:
    """23 files, of which one is empty and another is not there any more."""
    folder = copy_of(odd_folder, tmp_path / "source")
    scan = scan_classes(folder)
    (folder / "bee/same.png").write_bytes(b"")
    (folder / "cow/03.jpg").unlink()
    return Source(scan)


def recipe(**options: Any) -> Recipe:
    return Recipe(**{"division": SamplesPerShard(6), "check": False, "on_error": "skip", **options})


def test_the_others_stay_where_they_were(source: Source, tmp_path: Path) -> None:
    (made,) = pack_by(source, tmp_path / "out", recipe(), HERE)
    assert [entry.nsamples for entry in made.shards] == [5, 4, 6, 6]
    assert made.made.rejected == 2
    assert keys_of(tmp_path / "out") == [key for key in source.scan.keys if key not in ("bee/same_png", "cow/03")]
    assert [reject["path"] for reject in rejects_in(tmp_path / "out")] == ["bee/same.png", "cow/03.jpg"]
    assert str(tmp_path) not in (tmp_path / "out/train.rejects.jsonl").read_text()


def test_processes_and_parts_reject_the_same(source: Source, tmp_path: Path) -> None:
    split = {"train": Fraction(1, 2), "val": Fraction(1, 2)}
    asked = recipe(split=split, shuffle=True, seed=2)
    pack_by(source, tmp_path / "one", asked, HERE)
    pack_by(source, tmp_path / "two", asked, Processes(2))
    for index in (1, 0):
        pack_part(source, tmp_path / "parts", asked, Part(index, 2), HERE)
    commit(source, tmp_path / "parts", asked)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two") == files_of(tmp_path / "parts")
    assert list(files_of(tmp_path / "one")).count("train.rejects.jsonl") == 1


def test_what_goes_away_under_way_is_rejected_too(odd_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(odd_folder, tmp_path / "source")
    scan = scan_classes(folder)
    progress = losing_a_file_after(8, folder / "cow/05.jpg")
    (made,) = pack_by(Source(scan), tmp_path / "out", recipe(), HERE, progress=progress)
    assert made.made.rejected == 1
    assert rejects_in(tmp_path / "out") == [
        {"path": "cow/05.jpg", "reason": "can't be read: No such file or directory"}
    ]


def test_a_field_that_can_not_be_read_takes_its_sample_with_it(tmp_path: Path) -> None:
    for name in ("1.jpg", "1.txt", "2.jpg"):
        (tmp_path / name).write_bytes(b"bytes")
    (tmp_path / "2.txt").symlink_to("/dev/zero")
    pack_by(collect(tmp_path, None, None, ["txt"]), tmp_path / "out", recipe(), HERE)
    assert keys_of(tmp_path / "out") == ["1"]
    assert rejects_in(tmp_path / "out") == [{"path": "2.txt", "reason": "is no regular file: remove it"}]


def test_a_shard_of_nothing_is_an_error(source: Source, tmp_path: Path) -> None:
    with pytest.raises(
        PackError, match=r"would be empty, since none of its 1 files can be packed; the first: bee/same"
    ):
        pack_by(source, tmp_path / "out", recipe(division=SamplesPerShard(1)), HERE)


def test_the_list_goes_with_the_dataset_that_is_replaced(source: Source, odd_folder: Path, tmp_path: Path) -> None:
    pack_by(source, tmp_path / "out", recipe(), HERE)
    pack_by(Source(scan_classes(odd_folder)), tmp_path / "out", recipe(), HERE, overwrite=True)
    assert not (tmp_path / "out/train.rejects.jsonl").exists()


def test_a_run_goes_on_with_what_was_rejected_before(source: Source, tmp_path: Path) -> None:
    pack_by(source, tmp_path / "expected", recipe(), HERE)
    pack_part(source, tmp_path / "out", recipe(), Part(0, 2), HERE)
    pack_by(source, tmp_path / "out", recipe(), HERE)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "expected")


@pytest.mark.parametrize("call", ["stat", "open"])
def test_a_fault_of_the_machine_is_no_files_fault(
    odd_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)

    def on_a_failing_disk(path: Any, *how: Any, **more: Any) -> Any:
        if str(path).endswith(".jpg"):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *how, **more)

    monkeypatch.setattr(os, call, on_a_failing_disk)
    with pytest.raises(PackError, match=r"^/[^;]*ant/1\.jpg can't be read: Input/output error"):
        pack_by(Source(scan_classes(odd_folder)), tmp_path / "out", recipe(division=ShardCount(1)), HERE)


@pytest.mark.parametrize(
    ("root", "path", "part", "listed"),
    [
        ("https://", "https://one/a/1.jpg?X-Signature=s%2F3", "", "one/a/1.jpg"),
        ("https://", "https://one/a/1.jpg?sig=s, row of:3", "", "one/a/1.jpg"),
        ("https://one/a", "https://one/a/1.parquet?sig=s,t u", ", row 3", "1.parquet, row 3"),
        ("https://one/a", "https://one/a/1.tar?sig=s:7", ":512", "1.tar:512"),
        ("s3://bucket/a", "s3://bucket/a/what?.jpg", "", "what?.jpg"),
        ("/data", "/data/a/what?.jpg", "", "a/what?.jpg"),
    ],
)
def test_what_is_listed_are_paths_below_the_root_and_no_signatures(
    root: str, path: str, part: str, listed: str
) -> None:
    reason = "can't be read: {}: 403 Forbidden"
    found = write._listed(root, UnusableError(path, reason.format(path), part))
    assert found == (listed, reason.format(path if path.startswith(("s3:", "/")) else path.partition("?")[0]))


def test_of_a_signed_shard_members_are_listed_by_their_offsets(http_server: Server, tmp_path: Path) -> None:
    image = encoded(np.zeros((9, 9, 3), np.uint8), "PNG")
    signature = "?signature=a,b%20c/d:512"
    url = http_server.put("a/old.tar", archive([("1.jpg", b""), ("2.png", image), ("3.jpg", b"no image")])) + signature
    pack_by(collect_shards(url), tmp_path, recipe(check=True), HERE)
    assert [reject["path"] for reject in rejects_in(tmp_path)] == ["old.tar:512", "3.jpg"]
    assert "signature" not in (tmp_path / "train.rejects.jsonl").read_text()
