"""`fastdata info` says what is there, writes nothing, and shows names as they may be shown."""

import json
import os
import shutil
from pathlib import Path

import pytest

from fastdata.commands.info import describe
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from fastdata.sources.tars import index
from support.commands import Command
from support.http_server import Server
from support.packed import copy_of
from support.pictures import jpeg
from support.tars import packed
from support.tars import samples as members_of


def test_it_says_what_is_in_the_folder_that_was_packed(dataset: Path, folder: Path) -> None:
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
def test_a_json_a_folder_a_glob_and_braces_are_the_same_dataset(dataset: Path, what: str) -> None:
    (info,) = describe(f"{dataset}/{what}")
    assert (info.shards, info.samples, sum(info.classes.values())) == (3, 12, 12)


def test_shards_without_a_json_have_classes_by_number(dataset: Path) -> None:
    assert describe(f"{dataset}/train-000000.tar")[0].classes == {"0": 4}


def test_no_more_images_are_looked_at_than_asked(dataset: Path) -> None:
    assert [describe(dataset, count)[0].images.looked_at for count in (0, 1, 5)] == [0, 1, 5]


def test_images_that_are_none_are_named(tmp_path: Path) -> None:
    packed(tmp_path / "a.tar", [*members_of(2), ("good.jpg", jpeg(40, 30))])
    images = describe(tmp_path)[0].images
    assert (images.unreadable, images.widths) == (["a/0", "a/1"], (40, 40, 40))


def test_samples_without_a_class_are_counted(fastdata: Command, tmp_path: Path) -> None:
    packed(tmp_path / "a.tar", [("1.jpg", jpeg(40, 30)), ("2.jpg", jpeg(40, 30)), ("2.cls", b"7")])
    assert (describe(tmp_path)[0].unlabelled, describe(tmp_path)[0].classes) == (1, {"7": 1})
    assert "without class" in fastdata("info", tmp_path).out


def test_a_shard_that_is_not_the_jsons_is_an_error(fastdata: Command, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "train.json").write_bytes((dataset / "train.json").read_bytes())
    (tmp_path / "train-000000.tar").write_bytes((dataset / "train-000001.tar").read_bytes() + bytes(512))
    assert "copy or pack it again" in fastdata("info", tmp_path).err


def test_the_table_shows_it(fastdata: Command, dataset: Path) -> None:
    result = fastdata("info", dataset)
    assert result.status == 0
    for shown in ("cat 5, dog 7", "jpg 10, cls 12, png 2", "least 64, median 300, most 320"):
        assert shown in result.out


def test_names_with_brackets_are_shown_as_they_are(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "set[1]"
    shutil.copytree(folder / "cat", source / "[red] cat")
    assert fastdata("shard", source, out).status == 0
    assert "[red] cat 5" in fastdata("info", out).out
    (out / "train.json").unlink()
    assert describe(out)[0].samples == 5


def test_it_writes_nothing(fastdata: Command, dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    shutil.copy(dataset / "train-000000.tar", tmp_path / "set/other.tar")  # of which nobody has an index
    before = sorted(os.listdir(tmp_path / "set"))
    for what in ("", "train.json", "*.tar"):
        assert fastdata("info", tmp_path / "set" / what).status == 0
    assert (
        sorted(os.listdir(tmp_path / "set"))
        == before
        == ["other.tar", *(f"train-{number:06}.tar" for number in range(3)), "train.index.npy", "train.json"]
    )


@pytest.mark.parametrize("url", ["../outside.tar", "{}/outside.tar"])
def test_a_json_does_not_lead_out_of_its_folder(fastdata: Command, dataset: Path, tmp_path: Path, url: str) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    (tmp_path / "set/train-000000.tar").rename(tmp_path / "outside.tar")
    text = (tmp_path / "set/train.json").read_text()
    (tmp_path / "set/train.json").write_text(text.replace("train-000000.tar", url.format(tmp_path)))
    result = fastdata("info", tmp_path / "set")
    assert result.status == 1
    assert "`$.shardlist[0].url`" in result.err
    assert not (tmp_path / "outside.index.npy").exists()


def test_names_that_were_read_can_not_steer_the_terminal(fastdata: Command, tmp_path: Path) -> None:
    packed(tmp_path / "a.tar", [("\x1b]0;owned\x07\u202e.jpg", b"no image"), ("b.\x1b[2j", b"")])
    result = fastdata("info", tmp_path)
    assert "\\x1b]0;owned\\x07\\u202e" in result.out
    assert "\\x1b[2j 1" in result.out
    assert "\x1b" not in result.out


def test_shards_of_a_packed_dataset_are_not_indexed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos/ant").mkdir(parents=True)
    for number in range(4):
        (tmp_path / f"photos/ant/{number}.jpg").write_bytes(jpeg(24, 16, number))
    pack(scan_classes(tmp_path / "photos"), tmp_path / "out", division=ShardCount(2), jobs=1)

    def build(fd: int, path: str) -> None:
        pytest.fail(f"{path} was indexed again")

    monkeypatch.setattr(index, "build", build)
    by_json, by_glob = (describe(tmp_path / "out" / what)[0] for what in ("train.json", "*.tar"))
    assert (by_json.samples, by_json.classes, by_json.extensions) == (4, {"ant": 4}, {"jpg": 4, "cls": 4})
    assert (by_glob.samples, by_glob.extensions) == (4, by_json.extensions)


def test_a_dataset_at_a_url_is_the_one_of_the_folder(
    dataset: Path, tmp_path: Path, http_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTDATA_CACHE", str(tmp_path / "cache"))
    for path in dataset.iterdir():
        http_server.put(path.name, path.read_bytes())
    url = http_server.url("train.json")
    assert describe(url) == describe(dataset)
    of_shards = http_server.url("train-{000000..000002}.tar")
    assert describe(of_shards)[0]._replace(name="train", made="") == describe(f"{dataset}/*.tar")[0]._replace(
        name="train", made=""
    )


def test_of_a_dataset_at_a_url_no_shard_is_fetched_as_a_whole(
    dataset: Path, http_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTDATA_CACHE", str(tmp_path))
    for path in dataset.iterdir():
        http_server.put(f"bucket/{path.name}", path.read_bytes())
    (here,), (there,) = describe(dataset, 5), describe(http_server.url("bucket/train.json"), 5)
    assert there == here
    of_shards = [request for request in http_server.requests if request.path.endswith(".tar")]
    assert len(of_shards) <= 5
    assert all(request.range for request in of_shards)


def test_a_class_without_a_sample_is_one_all_the_same(dataset: Path, tmp_path: Path) -> None:
    copied = copy_of(dataset, tmp_path / "copy") / "train.json"
    said = json.loads(copied.read_bytes())
    said["classes"] = ["cat", "dog", "eel"]
    copied.write_text(json.dumps(said))
    (info,) = describe(copied)
    assert info.classes == {"cat": 5, "dog": 7, "eel": 0}


@pytest.mark.parametrize("command", ["info", "view", "report"])
@pytest.mark.parametrize("url", ["s3://bucket/data", "s3://bucket/data/", "http://localhost/data/", "s3://bucket"])
def test_of_a_folder_at_a_url_it_says_what_to_name(fastdata: Command, command: str, url: str) -> None:
    done = fastdata(command, url)
    assert (done.status, done.out) == (1, "")
    assert f"{url} is a folder at a URL: name the dataset's json in it, as {url.rstrip('/')}/train.json" in done.err


def test_shards_without_images_are_told(fastdata: Command, dataset: Path, tmp_path: Path) -> None:
    done = fastdata("info", packed(tmp_path / "a.tar", [("a.txt", b"a"), ("b.txt", b"b")]))
    assert "none: no sample has a jpg, jpeg, png, " in done.out
    assert "no sample has" not in fastdata("info", dataset).out


@pytest.mark.parametrize("command", ["info", "verify", "view"])
def test_a_json_that_is_not_there_is_named(fastdata: Command, command: str) -> None:
    assert fastdata(command, "nowhere.json").err == "fastdata: no json nowhere.json: check the path\n"


def test_what_the_system_says_has_no_number(fastdata: Command, dataset: Path, tmp_path: Path) -> None:
    source = copy_of(dataset, tmp_path / "lacking")
    (source / "train-000001.tar").unlink()
    done = fastdata("info", source)
    assert (done.status, done.err) == (1, f"fastdata: {source}/train-000001.tar: No such file or directory\n")
