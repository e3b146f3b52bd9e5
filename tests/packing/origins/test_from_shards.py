"""Shards are packed anew, in other numbers or some of them: every byte of each component stays."""

import os
import shutil
import tarfile
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import pytest

from fastdata.errors import PackError
from fastdata.packing.engines import Processes
from fastdata.packing.origins.collect import collect
from fastdata.packing.origins.from_shards import collect_shards
from fastdata.packing.origins.select import with_keys
from fastdata.packing.origins.source import Source
from fastdata.packing.pack import pack, pack_by
from fastdata.packing.parts import Part, commit, pack_part
from fastdata.packing.plan import SamplesPerShard, ShardCount, ShardSize
from fastdata.packing.recipe import Recipe
from fastdata.sources import manifest
from fastdata.sources.folder import scan_classes
from fastdata.sources.shard import Shard
from support.packed import files_of, keys_of

HERE = Processes(1)


@pytest.fixture(scope="module")
def old(odd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The odd folder in five shards."""
    directory = tmp_path_factory.mktemp("old")
    pack(scan_classes(odd_folder), directory, division=ShardCount(5), jobs=1)
    return directory


def tar(path: Path, members: dict[str, bytes]) -> Path:
    """A shard that another program wrote."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_700_000_000
            file.addfile(info, BytesIO(data))
    return path


@pytest.mark.parametrize("which", ["*.tar", "train-{000000..000004}.tar", "train.json"])
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(division=ShardCount(2)),
        Recipe({"a": Fraction(2, 3), "b": Fraction(1, 3)}, SamplesPerShard(4), shuffle=True, seed=3),
        Recipe(division=ShardSize(30_000)),
    ],
)
def test_shards_of_shards_are_those_of_the_folder(
    odd_folder: Path, old: Path, tmp_path: Path, which: str, recipe: Recipe
) -> None:
    pack_by(Source(scan_classes(odd_folder)), tmp_path / "expected", recipe, HERE)
    pack_by(collect_shards(f"{old}/{which}"), tmp_path / "out", recipe, HERE)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "expected")


def test_processes_and_parts_repack_the_same(old: Path, tmp_path: Path) -> None:
    recipe = Recipe(division=ShardCount(3), shuffle=True)
    source = collect_shards(f"{old}/*.tar")
    pack_by(source, tmp_path / "one", recipe, HERE)
    pack_by(source, tmp_path / "two", recipe, Processes(2))
    for index in range(2):
        pack_part(source, tmp_path / "three", recipe, Part(index, 2), HERE)
    commit(source, tmp_path / "three", recipe)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two") == files_of(tmp_path / "three")


def test_all_components_of_others_shards_stay_as_they_are(tmp_path: Path) -> None:
    members = {
        "./x/1.cls": b"007",
        "./x/1.JPG": b"image",
        "./x/1.seg.png": b"mask",
        "__skip__/1.jpg": b"of nobody",
        "x/2.png": b"other",
        "x/2.json": b'{"n":  1}',
        "x/2.txt": b"",
    }
    source = collect_shards(str(tar(tmp_path / "a.tar", members)))
    pack_by(source, tmp_path / "out", Recipe(check=False), HERE)
    shard = Shard(tmp_path / "out/train-000000.tar")
    assert keys_of(tmp_path / "out") == ["x/1", "x/2"]
    read = {(row, name): shard.read(row, name) for row in (0, 1) for name in shard.extensions if shard.has(row, name)}
    assert read == {
        (0, "jpg"): b"image",
        (0, "cls"): b"007",
        (0, "seg.png"): b"mask",
        (1, "png"): b"other",
        (1, "json"): b'{"n":  1}',
        (1, "txt"): b"",
    }


def test_classes_and_fields_of_our_own_shards_come_along(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "dog/2.jpg", "cat/1.txt"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(name.encode())
    pack(collect(tmp_path / "photos", fields=["txt"], missing="allow"), tmp_path / "old", check=False, jobs=1)
    (made,) = pack_by(collect_shards(f"{tmp_path}/old/train.json"), tmp_path / "new", Recipe(check=False), HERE)
    assert made.classes == ("cat", "dog")
    assert files_of(tmp_path / "new") == files_of(tmp_path / "old")


def test_a_file_of_keys_says_which_samples_are_packed(odd_folder: Path, old: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_bytes("cow/03\r\nant/1\nbee/deep/er/ü\n\ncow/03".encode())
    chosen = with_keys(collect_shards(f"{old}/*.tar"), tmp_path / "keys.txt")
    pack_by(chosen, tmp_path / "shards", Recipe(), HERE)
    assert chosen.left_out == {"samples not in keys.txt": 20}
    of_folder = with_keys(Source(scan_classes(odd_folder)), tmp_path / "keys.txt")
    pack_by(of_folder, tmp_path / "folder", Recipe(), HERE)
    assert files_of(tmp_path / "folder") == files_of(tmp_path / "shards")
    assert keys_of(tmp_path / "shards") == ["ant/1", "bee/deep/er/ü", "cow/03"]


def test_keys_of_no_sample_are_an_error_unless_that_is_allowed(old: Path, tmp_path: Path) -> None:
    source = collect_shards(f"{old}/*.tar")
    (tmp_path / "keys.txt").write_text("ant/1\nant/9\n")
    with pytest.raises(PackError, match=r"1 of 2 keys are of no sample in .*, as \['ant/9'\], and keys are as 'ant/1'"):
        with_keys(source, tmp_path / "keys.txt")
    assert list(with_keys(source, tmp_path / "keys.txt", "allow").scan.keys) == ["ant/1"]
    for text, problem in (("ant/9\n", "1 of 1 keys"), ("\n", "has no keys")):
        (tmp_path / "keys.txt").write_text(text)
        with pytest.raises(PackError, match=problem):
            with_keys(source, tmp_path / "keys.txt", "allow")


def test_samples_that_can_not_be_told_apart_or_have_no_image_are_refused(tmp_path: Path) -> None:
    one = tar(tmp_path / "1.tar", {"a.jpg": b"image", "b.jpg": b"image"})
    two = tar(tmp_path / "2.tar", {"b.png": b"image"})
    with pytest.raises(ValueError, match="1 keys are there twice in these shards, as 'b'"):
        collect_shards([one, two])
    three = tar(tmp_path / "3.tar", {"c.jpg": b"image", "d.txt": b"text"})
    with pytest.raises(PackError, match=r"3\.tar, offset 1024: sample 'd' has no image but txt: images end in"):
        collect_shards(three)
    empty = tar(tmp_path / "4.tar", {"e.jpg": b""})
    with pytest.raises(PackError, match=r"4\.tar:512 is empty"):
        pack_by(collect_shards(empty), tmp_path / "out", Recipe(), HERE)


def test_a_shard_that_has_not_the_samples_that_its_json_says_is_refused(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "packed")
    tar(tmp_path / "packed/train-000004.tar", {"a.jpg": b"image"})
    for urls in (tmp_path / "packed/train-000004.tar", tmp_path / "packed/train.json"):
        with pytest.raises(PackError, match=r"train-000004\.tar has 1 samples, and its json says 5: copy both again"):
            collect_shards(urls)


def test_shards_without_any_sample_are_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "1.tar", {})
    with pytest.raises(PackError, match=r"there are no samples in .*1\.tar"):
        collect_shards(path)


def test_a_shard_that_changes_under_way_is_named(tmp_path: Path) -> None:
    shard = tar(tmp_path / "1.tar", {"a.jpg": b"image"})
    source = collect_shards(shard)
    os.utime(shard, ns=(1, 1))
    with pytest.raises(PackError, match=r"1\.tar:512 changed while it was packed"):
        pack_by(source, tmp_path / "out", Recipe(), HERE)
    shard.unlink()
    with pytest.raises(PackError, match=r"1\.tar can't be read: No such file"):
        pack_by(source, tmp_path / "out", Recipe(), HERE)


def test_checked_shards_are_checked_again(old: Path, tmp_path: Path) -> None:
    pack_by(collect_shards(f"{old}/*.tar"), tmp_path, Recipe(check=False), HERE)
    assert not any(shard.checked for shard in manifest.load(tmp_path / "train.json").shards)
