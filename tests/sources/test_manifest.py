import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from fastdata.errors import ManifestError
from fastdata.sources import manifest
from fastdata.sources.manifest import Made, Manifest, ShardEntry

ENTRIES = tuple(ShardEntry(f"train-{i:06}.tar", 10 + i, 10240 * (i + 1), "xxh3_128:" + f"{i}" * 32) for i in range(3))
MADE = Made("0.1.0", 7, True, "9/10", "keep", 1234, 0, 0, 1234)
MANIFEST = Manifest("train", ENTRIES, ("cat", "dög", "\udcff"), MADE)


def damaged(directory: Path, path: tuple[Any, ...], value: Any) -> Path:
    """A stored manifest with the field at `path` set to `value`, or taken away where that is `...`."""
    file = manifest.store(MANIFEST, directory)
    document = json.loads(file.read_text())
    at = document
    for step in path[:-1]:
        at = at[step]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    file.write_text(json.dumps(document))
    return file


def test_what_is_stored_is_loaded_again(tmp_path: Path) -> None:
    assert manifest.load(manifest.store(MANIFEST, tmp_path)) == MANIFEST
    assert [file.name for file in tmp_path.iterdir()] == ["train.json"]


def test_storing_replaces_what_was_there_and_gives_the_same_bytes(tmp_path: Path) -> None:
    first = manifest.store(MANIFEST, tmp_path).read_bytes()
    assert manifest.store(MANIFEST, tmp_path).read_bytes() == first


def test_the_json_is_a_wids_index(tmp_path: Path) -> None:
    document = json.loads(manifest.store(MANIFEST, tmp_path).read_bytes())
    assert (document["__kind__"], document["wids_version"]) == ("wids-shard-index-v1", 1)
    assert document["shardlist"][1] == {
        "url": "train-000001.tar",
        "nsamples": 11,
        "filesize": 20480,
        "hash": "xxh3_128:" + "1" * 32,
        "checked": False,
    }


def test_a_json_of_an_earlier_version_has_its_shards_hashes_in_sha256(tmp_path: Path) -> None:
    file = damaged(tmp_path, ("shardlist", 0, "hash"), ...)
    document = json.loads(file.read_text())
    document["shardlist"][0]["sha256"] = "a" * 64
    file.write_text(json.dumps(document))
    loaded = manifest.load(file)
    assert [shard.hash for shard in loaded.shards] == ["sha256:" + "a" * 64, *(entry.hash for entry in ENTRIES[1:])]
    assert "hash" in json.loads(manifest.store(loaded, tmp_path).read_text())["shardlist"][0]


@pytest.mark.parametrize("path", ["wids_version", "name", "classes", "shardlist", "fastdata"])
def test_a_missing_field_is_named_with_the_file(tmp_path: Path, path: str) -> None:
    file = damaged(tmp_path, (path,), ...)
    with pytest.raises(ManifestError, match=f"{file}: .*missing required field `{path}`"):
        manifest.load(file)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("wids_version",), 2, "$.wids_version"),
        (("__kind__",), "else", "$.__kind__"),
        (("name",), 3, "$.name"),
        (("name",), "", "$.name"),
        (("classes",), "cat", "$.classes"),
        (("classes", 1), None, "$.classes[1]"),
        (("shardlist",), {}, "$.shardlist"),
        (("shardlist", 0), [], "$.shardlist[0]"),
        (("shardlist", 2, "nsamples"), -1, "$.shardlist[2].nsamples"),
        (("shardlist", 2, "nsamples"), 0, "$.shardlist[2].nsamples"),
        (("shardlist", 2, "nsamples"), True, "$.shardlist[2].nsamples"),
        (("shardlist", 2, "nsamples"), 2**48, "$.shardlist[2].nsamples"),
        (("shardlist", 2, "nsamples"), 10**30, "$.shardlist[2].nsamples"),
        (("shardlist", 2, "filesize"), 1.0, "$.shardlist[2].filesize"),
        (("shardlist", 2, "filesize"), 0, "$.shardlist[2].filesize"),
        (("shardlist", 0, "hash"), "md5:" + "a" * 32, "$.shardlist[0].hash"),
        (("shardlist", 0, "hash"), "xxh3_128:" + "a" * 64, "$.shardlist[0].hash"),
        (("shardlist", 0, "hash"), "sha256:" + "a" * 64 + "\n", "$.shardlist[0].hash"),
        (("shardlist", 0, "hash"), ..., "`hash` - at `$.shardlist[0]"),
        (("shardlist", 0, "sha256"), "abc", "$.shardlist[0].sha256"),
        (("shardlist", 0, "sha256"), "a" * 64 + "\n", "$.shardlist[0].sha256"),
        (("shardlist", 0, "url"), None, "$.shardlist[0].url"),
        (("fastdata",), None, "$.fastdata"),
        (("fastdata", "shuffle"), 1, "$.fastdata.shuffle"),
        (("fastdata", "seed"), "0", "$.fastdata.seed"),
        (("fastdata", "changed"), 10**30, "$.fastdata.changed"),
        (("fastdata", "jpeg"), ..., "`jpeg` - at `$.fastdata"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_the_file(
    tmp_path: Path, path: tuple[Any, ...], value: Any, named: str
) -> None:
    with pytest.raises(ManifestError, match=rf"train\.json: .*{re.escape(named)}`"):
        manifest.load(damaged(tmp_path, path, value))


@pytest.mark.parametrize(
    "url",
    ["../train-000000.tar", "/etc/passwd", "a/b.tar", "a\\b.tar", "..", ".", ".tar", ".hidden.tar", "a.tar\n",
     "a\0.tar", "", "http://host/a.tar", "C:a.tar", "train.csv", "train-{0..9}.tar"],
)  # fmt: skip
def test_a_url_that_is_no_plain_name_of_a_tar_file_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ManifestError, match=r"shardlist\[0\]\.url"):
        manifest.load(damaged(tmp_path, ("shardlist", 0, "url"), url))


def test_a_shard_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"`\$\.shardlist` has 'train-000001.tar' 2 times"):
        manifest.load(damaged(tmp_path, ("shardlist", 0, "url"), "train-000001.tar"))


@pytest.mark.parametrize("field", ["nsamples", "filesize"])
def test_counts_whose_sum_is_out_of_bounds_are_refused(tmp_path: Path, field: str) -> None:
    file = damaged(tmp_path, ("shardlist", 0, field), 2**48 - 1)
    with pytest.raises(ManifestError, match=r"samples or bytes of `\$\.shardlist` are 281474976710656 or more"):
        manifest.load(file)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"3", b"9" * 5000])
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "train.json"
    file.write_bytes(content)
    with pytest.raises(ManifestError, match=str(file)):
        manifest.load(file)


def test_the_manifest_of_a_shard_is_found_beside_it(tmp_path: Path) -> None:
    manifest.store(MANIFEST, tmp_path)
    assert manifest.find(tmp_path / "train-000001.tar") == MANIFEST
    assert manifest.find(str(tmp_path / "train-000002.tar")) == MANIFEST


@pytest.mark.parametrize("name", ["train-000003.tar", "val-000000.tar", "train.tar", "train-000001.tgz", "-1.tar"])
def test_a_shard_that_no_manifest_lists_has_none(tmp_path: Path, name: str) -> None:
    manifest.store(MANIFEST, tmp_path)
    assert manifest.find(tmp_path / name) is None


def test_a_json_of_someone_else_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('{"images": []}\n{"images": []}\n')
    assert manifest.find(tmp_path / "train-000001.tar") is None


def test_a_damaged_manifest_beside_a_shard_is_an_error(tmp_path: Path) -> None:
    damaged(tmp_path, ("classes",), 1)
    with pytest.raises(ManifestError, match="classes"):
        manifest.find(tmp_path / "train-000001.tar")


def test_what_is_no_regular_file_is_no_manifest_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.json")
    (tmp_path / "val.json").symlink_to("/dev/zero")
    for name in ("train", "val"):
        with pytest.raises(ManifestError, match="no regular file"):
            manifest.load(tmp_path / f"{name}.json")
        assert manifest.find(tmp_path / f"{name}-000001.tar") is None


def test_what_a_later_version_adds_is_read_over(tmp_path: Path) -> None:
    assert manifest.load(damaged(tmp_path, ("checked",), True)) == MANIFEST
