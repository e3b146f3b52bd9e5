"""`fastdata shard` of tables and of shards."""

from pathlib import Path

import pytest

from support.commands import Command
from support.http_server import Server
from support.packed import files_of, keys_of
from support.parquets import Row, features, write_parquet
from support.pictures import jpeg
from support.tars import packed


def test_a_table_is_packed(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("n,where,kind\n1,dog/1.jpg,dog\n2,cat/3.jpg,cat\n")
    options = ["--image-column", "where", "--label-column", "kind", "--root", folder, "--label-fields", "n"]
    result = fastdata("shard", table, tmp_path / "out", *options)
    assert (result.status, result.err) == (0, "")
    assert ": 2 samples, 2 classes; " in result.out
    assert keys_of(tmp_path / "out") == ["dog/1", "cat/3"]


def test_shards_are_packed_again(fastdata: Command, dataset: Path, tmp_path: Path) -> None:
    result = fastdata("shard", dataset / "train-{000000..000002}.tar", tmp_path / "out", "--shards", 3)
    assert (result.status, result.err) == (0, "")
    assert files_of(tmp_path / "out") == files_of(dataset)
    (tmp_path / "keys").write_text("cat/0\ndog/6")
    some = fastdata("shard", dataset / "train.json", tmp_path / "some", "--keys", tmp_path / "keys")
    assert some.out.endswith("left out: 10 samples not in keys\n")
    assert keys_of(tmp_path / "some") == ["cat/0", "dog/6"]


def test_a_folder_is_one_whatever_its_name(fastdata: Command, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photos.csv").symlink_to(folder)
    assert fastdata("shard", tmp_path / "photos.csv", tmp_path / "out").status == 0


@pytest.mark.parametrize(
    ("source", "options", "problem"),
    [
        ("{folder}", ["--root", "x"], "--root has no meaning where SRC is a folder"),
        ("{table}", ["--pattern", "*"], "--pattern has no meaning where SRC is a table"),
        ("{table}", ["--labels", "labels.csv"], "--labels TABLE belongs to a folder"),
        ("{dataset}/train.json", ["--fields", "txt"], "--fields has no meaning where SRC is shards"),
        ("pipe:cat photos", [], "is a URL where a local folder is needed"),
    ],
)
def test_options_of_another_kind_of_source_are_a_wrong_usage(
    fastdata: Command, folder: Path, dataset: Path, tmp_path: Path, source: str, options: list[str], problem: str
) -> None:
    (tmp_path / "table.csv").write_text("file\ncat/0.jpg\n")
    given = source.format(folder=folder, dataset=dataset, table=tmp_path / "table.csv")
    result = fastdata("shard", given, tmp_path / "out", *options)
    assert result.status == 2
    assert problem in " ".join(result.err.replace("│", " ").split())


def test_images_in_columns_are_packed(fastdata: Command, tmp_path: Path) -> None:
    rows = [Row(jpeg(40, 30, number), number % 2) for number in range(10)]
    (tmp_path / "data").mkdir()
    for number, part in enumerate((rows[:6], rows[6:])):
        write_parquet(tmp_path / f"data/train-{number}-of-2.parquet", part, metadata=features(label=["cat", "dog"]))
    result = fastdata("shard", tmp_path / "data/train-*.parquet", tmp_path / "one", "--jobs", 1)
    assert (result.status, result.err) == (0, "")
    assert ": 10 samples, 2 classes; " in result.out
    fastdata("shard", tmp_path / "data", tmp_path / "two", "--image-column", "image", "--jobs", 1)
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
    result = fastdata("shard", tmp_path / "data/train-*.parquet", tmp_path / "three", "--pattern", "*")
    assert result.status == 2
    assert "--pattern has no meaning where SRC is Parquet files of images" in " ".join(result.err.split())


def test_urls_are_packed(fastdata: Command, folder: Path, tmp_path: Path, http_server: Server) -> None:
    urls = [http_server.put(f"{name}", (folder / name).read_bytes()) for name in ("cat/0.jpg", "dog/1.jpg")]
    (tmp_path / "urls.csv").write_text("\n".join(f"{url},{kind}" for url, kind in zip(urls, "ab", strict=True)))
    options = ["--columns", "url,label", "--image-column", "url", "--label-column", "label", "--jobs", 1]
    result = fastdata("shard", tmp_path / "urls.csv", tmp_path / "out", *options)
    assert (result.status, result.err) == (0, "")
    assert keys_of(tmp_path / "out") == ["cat/0", "dog/1"]
    result = fastdata("shard", http_server.url("photos"), tmp_path / "other")
    assert (result.status, "HTTP has no listings" in result.err) == (1, True)


def test_shards_in_a_folder_are_to_be_named(fastdata: Command, dataset: Path, tmp_path: Path) -> None:
    done = fastdata("shard", dataset, tmp_path / "out")
    assert done.status == 2
    assert f"{dataset} holds shards: name them, as '{dataset}/*.tar'" in " ".join(done.err.replace("│", " ").split())


def test_images_beside_a_tar_are_packed(fastdata: Command, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "1.jpg").write_bytes(jpeg(40, 30))
    packed(source / "old.tar", [("2.jpg", jpeg(40, 30))])
    done = fastdata("shard", source, tmp_path / "out", "--labels", "none", "--jobs", 1)
    assert (done.status, keys_of(tmp_path / "out")) == (0, ["1"])
    (source / "1.jpg").rename(source / "1.photo")
    by_pattern = ["--labels", "none", "--pattern", "*.photo", "--jobs", 1]
    assert fastdata("shard", source, tmp_path / "by pattern", *by_pattern).status == 0


def test_of_shards_without_a_json_the_classes_have_no_names(fastdata: Command, tmp_path: Path) -> None:
    packed(tmp_path / "a.tar", [("1.jpg", jpeg(40, 30)), ("1.cls", b"7")])
    packed(tmp_path / "b.tar", [("2.jpg", jpeg(40, 30))])
    said = {name: fastdata("shard", tmp_path / f"{name}.tar", tmp_path / f"of {name}").out for name in "ab"}
    assert "train.json: 1 sample, class indexes; shards: 1" in said["a"]
    assert "train.json: 1 sample, no classes; shards: 1" in said["b"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--keys", "nowhere.txt"], 2, "Invalid value for '--keys': File 'nowhere.txt' does not exist."),
        (["--keys", "/"], 2, "Invalid value for '--keys': File '/' is a directory."),
        ([], 1, "no table nowhere.csv: check the path"),
    ],
)
def test_a_file_that_is_not_there_is_named(
    fastdata: Command, dataset: Path, tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    source = dataset / "train.json" if arguments else "nowhere.csv"
    done = fastdata("shard", source, tmp_path / "out", *arguments)
    assert done.status == status
    assert said in done.err
