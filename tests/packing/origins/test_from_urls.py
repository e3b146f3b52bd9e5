"""What lies at URLs is packed as what lies in a folder: below a URL, by a table's rows, by an inventory."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fastdata.errors import PackError
from fastdata.packing.engines import Processes
from fastdata.packing.origins.ahead import Ahead
from fastdata.packing.origins.collect import collect
from fastdata.packing.origins.from_shards import collect_shards
from fastdata.packing.origins.from_table import collect_table
from fastdata.packing.origins.from_urls import collect_url
from fastdata.packing.origins.inventory import collect_inventory
from fastdata.packing.origins.labels import NO_LABELS, Labels
from fastdata.packing.origins.source import Source
from fastdata.packing.pack import pack_by
from fastdata.packing.plan import ShardCount, ShardSize
from fastdata.packing.recipe import Recipe
from fastdata.packing.upload import pack_to_url
from fastdata.sources import manifest
from fastdata.sources.stores.storage import storage_of
from support.http_server import Fault, Server
from support.memory_store import empty_memory
from support.packed import copy_of, keys_of, packed
from support.servers import S3

HERE = Processes(1)


@pytest.fixture(scope="module")
def captioned(odd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The odd folder, with captions beside its images but for two, of which one is empty."""
    root = copy_of(odd_folder, tmp_path_factory.mktemp("captioned") / "photos")
    for path in sorted(root.rglob("*.*")):
        if path.stem != "same":
            path.with_suffix(".txt").write_text("" if path.stem == "03" else f"of {path.name}")
    return root


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder in a store of this process's."""
    empty_memory(monkeypatch)
    return "memory://bucket/photos"


@pytest.fixture
def s3(moto_s3: S3, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A bucket of the test's own."""
    for name, value in moto_s3.environment.items():
        monkeypatch.setenv(name, value)
    return moto_s3.make_bucket(f"origins-{abs(hash(request.node.name)) % 10**9}")


def put(folder: Path, url: str) -> None:
    storage = storage_of(url)
    for path in folder.rglob("*"):
        if path.is_file():
            storage.put_file(path, f"{url}/{path.relative_to(folder)}")


def counted(server: Server) -> list[str]:
    return [f"{request.method} {request.path}" for request in server.requests]


@pytest.mark.parametrize("labels", ["folder", None])
@pytest.mark.parametrize("pattern", [None, "*/{0?,s*,x*}.*", "bee/**"])
def test_below_a_url_lies_what_lies_in_a_folder(
    captioned: Path, memory: str, tmp_path: Path, labels: "None", pattern: str | None
) -> None:
    put(captioned, memory)
    one = collect(captioned, pattern, labels, ["txt"], "allow")
    two = collect(memory, pattern, labels, ["txt"], "allow")
    assert list(one.scan.paths) == list(two.scan.paths)
    assert (one.left_out, one.lacking, one.scan.classes) == (two.left_out, two.lacking, two.scan.classes)
    assert packed(one, tmp_path / "one") == packed(two, tmp_path / "two")


def test_a_store_gets_what_a_folder_gets_by_processes_too(captioned: Path, s3: str, tmp_path: Path) -> None:
    put(captioned, f"{s3}/photos")
    recipe = Recipe(division=ShardSize(30_000), shuffle=True, seed=3)
    expected = packed(collect(captioned, fields=["txt"], missing="allow"), tmp_path / "one", recipe)
    source = collect(f"{s3}/photos/", fields=["txt"], missing="allow")
    assert packed(source, tmp_path / "two", recipe, jobs=2) == expected
    pack_to_url(source, f"{s3}/out", recipe, HERE)
    assert {name for name, _ in storage_of(s3).list(f"{s3}/out") if "/.fastdata/" not in name} == {
        f"{s3}/out/{name}" for name in expected
    }
    with pytest.raises(ValueError, match="is the folder that is packed"):
        pack_to_url(source, f"{s3}/photos", recipe, HERE)


def test_folders_markers_and_odd_names_are_no_samples(odd_folder: Path, s3: str, tmp_path: Path) -> None:
    put(odd_folder, f"{s3}/photos")
    for name in ("cow/", ".hidden/1.jpg", "ant/.1.jpg"):
        storage_of(s3).put_if_absent(f"{s3}/photos/{name}", b"")
    found = collect(f"{s3}/photos")
    assert list(found.scan.paths) == list(collect(odd_folder).scan.paths)


def test_what_can_not_be_listed_or_is_not_there_says_so(http_server: Server, memory: str) -> None:
    with pytest.raises(OSError, match=r"photos: HTTP has no listings: name the files one by one, in a table"):
        collect(http_server.url("photos"))
    with pytest.raises(FileNotFoundError, match=r"nothing lies below memory://bucket/photos: check the URL"):
        collect(memory)


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (lambda url: storage_of(url).put_file(Path(__file__), url), "changed while it was packed: pack again"),
        (lambda url: remove(url), "is not there"),
    ],
)
def test_an_object_that_changed_or_vanished_is_named_or_left_out(
    odd_folder: Path, s3: str, tmp_path: Path, fault: Callable[[str], None], problem: str
) -> None:
    put(odd_folder, s3)
    source = collect(s3)
    fault(f"{s3}/cow/07.jpg")
    with pytest.raises(PackError, match=rf"{s3}/cow/07\.jpg {problem}"):
        packed(source, tmp_path / "raise")
    packed(source, tmp_path / "skip", Recipe(check=False, on_error="skip"))
    assert json.loads((tmp_path / "skip/train.rejects.jsonl").read_text()) == {"path": "cow/07.jpg", "reason": problem}
    assert "cow/07" not in keys_of(tmp_path / "skip")


def remove(url: str) -> None:
    import obstore

    from fastdata.sources.stores.obstore_client import client, place

    base, path = place(url)
    obstore.delete(client(base), path)


def write_table(path: Path, urls: list[str]) -> Labels:
    path.write_text("\n".join(["label,url", *(f"{url.split('/')[-2]},{url}" for url in urls)]))
    return Labels(path, "url")


def test_a_table_of_urls_makes_the_shards_of_a_table_of_files(
    odd_folder: Path, memory: str, http_server: Server, tmp_path: Path
) -> None:
    names = ["cow/07.jpg", "ant/1.jpg", "bee/same.png", "cow/03.jpg"]
    put(odd_folder, memory)
    for name in names:
        http_server.put(f"a b/{name}", (odd_folder / name).read_bytes())
    of_files = write_table(tmp_path / "files.csv", names)
    expected = packed(collect_table(of_files, odd_folder), tmp_path / "files")
    assert keys_of(tmp_path / "files") == ["cow/07", "ant/1", "bee/same", "cow/03"]
    of_urls = write_table(tmp_path / "urls.csv", [f"{memory}/{name}" for name in names])
    assert packed(collect_table(of_urls), tmp_path / "urls") == expected
    assert packed(collect_table(of_files, f"{memory}/"), tmp_path / "below") == expected
    signed = [http_server.url(f"a%20b/{name}?signature=a.b%2Fc") for name in names]
    source = collect_table(write_table(tmp_path / "http.csv", signed))
    assert source.scan.root == http_server.url("a b")
    assert packed(source, tmp_path / "http") == expected
    assert len(http_server.requests) == 2 * len(names)  # sizes, then each once


def test_a_table_may_lie_at_a_url_itself(odd_folder: Path, memory: str, tmp_path: Path) -> None:
    put(odd_folder, memory)
    content = gzip.compress(b"cow,cow/07.jpg\nant,./ant/1.jpg\n")
    (tmp_path / "t.csv.gz").write_bytes(content)
    storage_of(memory).put_file(tmp_path / "t.csv.gz", f"{memory}/t.csv.gz")
    source = collect_table(Labels(f"{memory}/t.csv.gz", "url", names=["label", "url"]))
    packed(source, tmp_path / "out", Recipe(check=False))
    assert keys_of(tmp_path / "out") == ["cow/07", "ant/1"]
    assert manifest.load(tmp_path / "out/train.json").classes == ("ant", "cow")


def test_urls_of_several_hosts_keep_these_in_their_keys(tmp_path: Path, http_server: Server) -> None:
    other = http_server.url("x/1.jpg").replace("127.0.0.1", "localhost")
    for name in ("x/1.jpg", "y/1.jpg"):
        http_server.put(name, name.encode())
    source = collect_table(write_table(tmp_path / "t.csv", [http_server.url("y/1.jpg"), other]))
    packed(source, tmp_path / "out", Recipe(check=False))
    port = http_server.port
    assert keys_of(tmp_path / "out") == [f"127.0.0.1:{port}/y/1", f"localhost:{port}/x/1"]


@pytest.mark.parametrize(
    ("urls", "problem"),
    [
        (["s3://b/a/1.jpg", "gs://b/a/1.jpg"], "row 2: 'gs://b/a/1.jpg' is of another protocol than"),
        (["s3://b/a/1.jpg", "photos/a/1.jpg"], "row 2: 'photos/a/1.jpg' is no URL, as 's3://b/a/1.jpg' is"),
        (["photos/a/1.jpg", "s3://b/a/1.jpg"], "row 2: 's3://b/a/1.jpg' is a URL, and 'photos/a/1.jpg' is none"),
        (["s3://b/a/1.jpg", "s3://b/a/1.jpg"], "row 2: 's3://b/a/1.jpg' again, after row 1"),
        (["http://b/a/1.jpg", "http://b/a/1.jpg?x=1"], "again, after row 1"),
        (["s3://b/a/1.jpg", "s3://b/a/../1.jpg"], "is no plain path below"),
        (["http://b/a/1.jpg", "http://b/a/%2e%2e/1.jpg"], "is no plain path below"),
    ],
)
def test_rows_that_name_no_samples_are_refused(tmp_path: Path, urls: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        collect_table(write_table(tmp_path / "t.csv", urls))
    with pytest.raises(ValueError, match="of URLs in a table nobody knows"):
        collect_table(write_table(tmp_path / "t.csv", ["s3://b/a/1.jpg"]), fields=["txt"])


def test_a_url_that_can_not_be_read_is_named_with_its_row(http_server: Server, tmp_path: Path) -> None:
    urls = [http_server.put(f"x/{number}.jpg", b"x" * number) for number in range(4)] + [http_server.url("x/5.jpg")]
    table = write_table(tmp_path / "t.csv", urls)
    source = collect_table(table)
    with pytest.raises(PackError, match=r"x/0\.jpg \(row 1 of the table\) is empty"):
        packed(source, tmp_path / "raise")
    packed(source, tmp_path / "out", Recipe(check=False, on_error="skip"))
    rejects = [json.loads(line) for line in (tmp_path / "out/train.rejects.jsonl").read_text().splitlines()]
    assert [(each["path"], each["reason"].partition(":")[0]) for each in rejects] == [
        ("0.jpg", "(row 1 of the table) is empty"),
        ("5.jpg", "(row 5 of the table) is not there"),
    ]
    assert keys_of(tmp_path / "out") == ["1", "2", "3"]


def test_what_fails_for_a_moment_is_tried_again(http_server: Server, tmp_path: Path) -> None:
    urls = [http_server.put(f"x/{number}.jpg", bytes([number]) * 1000) for number in range(1, 4)]
    source = collect_table(write_table(tmp_path / "t.csv", urls))
    expected = packed(source, tmp_path / "one")
    http_server.faults = [Fault(status=503), Fault(cut=10), Fault(drop=True), Fault(short=10)]
    assert packed(source, tmp_path / "two") == expected
    assert not http_server.faults


def test_an_inventory_stands_for_what_lies_in_the_bucket(captioned: Path, s3: str, tmp_path: Path) -> None:
    put(captioned, f"{s3}/my photos")
    bucket = s3.removeprefix("s3://")
    listed = {entry.url.removeprefix(f"{s3}/"): entry for entry in storage_of(s3).entries(s3)}
    assert any(" " in key for key in listed)
    from urllib.parse import quote_plus

    names = ["bucket", "key", "version_id", "is_latest", "is_delete_marker", "size", "etag"]
    rows = [
        f'"{bucket}","{quote_plus(key)}","1","true","false","{entry.size}","{str(entry.etag)[1:-1]}"'
        for key, entry in listed.items()
    ]
    rows.append(f'"{bucket}","my+photos/ant/old.jpg","1","false","false","17","0"')
    rows.append(f'"{bucket}","my+photos/ant/gone.jpg","1","true","true","",""')
    rows.append(f'"{bucket}","elsewhere/1.jpg","1","true","false","17","0"')
    path = tmp_path / "inventory.csv.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    source = collect_inventory(str(path), names, f"{s3}/my photos", fields=["txt"], missing="allow")
    expected = packed(collect(captioned, fields=["txt"], missing="allow"), tmp_path / "one")
    assert packed(source, tmp_path / "two") == expected
    path.write_bytes(gzip.compress("\n".join(",".join(row.split(",")[:2]) for row in rows[: len(listed)]).encode()))
    source = collect_inventory(str(path), names[:2], pattern="my photos/*/*.jpg", labels=None)
    assert len(source.scan) == sum(name.endswith(".jpg") and name.count("/") == 2 for name in listed)
    assert source.stored is not None
    assert (source.stored.sizes > 0).all()


def test_an_inventory_without_what_is_needed_says_so(tmp_path: Path) -> None:
    path = tmp_path / "inventory.csv"
    path.write_text("one,a/1.jpg\ntwo,a/2.jpg\n")
    with pytest.raises(ValueError, match=r"is of the buckets one, two: say --root \(root=\), as s3://bucket"):
        collect_inventory(str(path), ["bucket", "key"])
    with pytest.raises(ValueError, match=r"has nothing below s3://one/b, but s3://one/a/1\.jpg"):
        collect_inventory(str(path), ["bucket", "key"], "s3://one/b")
    with pytest.raises(ValueError, match="has 2 cells where there are 3 columns"):
        collect_inventory(str(path), ["bucket", "key", "size"])


@pytest.mark.parametrize("which", ["train.json", "train-{000000..000004}.tar", "*.tar"])
def test_remote_shards_are_packed_as_local_ones(odd_folder: Path, memory: str, tmp_path: Path, which: str) -> None:
    pack_by(Source(collect(odd_folder).scan), tmp_path / "old", Recipe(division=ShardCount(5)), HERE)
    put(tmp_path / "old", memory)
    expected = packed(collect_shards(f"{tmp_path}/old/{which}"), tmp_path / "one")
    remote = files = packed(collect_shards(f"{memory}/{which}"), tmp_path / "two")
    tars = [name for name in expected if name.endswith(".tar")]
    assert [remote[name] for name in tars] == [expected[name] for name in tars]
    if which == "train.json":
        assert files == expected
    with pytest.raises(ValueError, match="some shards are local, others are not"):
        collect_shards([f"{memory}/train-000000.tar", str(tmp_path / "old/train-000001.tar")])


def test_neighbours_in_a_shard_come_in_one_request(odd_folder: Path, http_server: Server, tmp_path: Path) -> None:
    pack_by(Source(collect(odd_folder).scan), tmp_path / "old", Recipe(division=ShardCount(1)), HERE)
    http_server.put("old.tar", (tmp_path / "old/train-000000.tar").read_bytes())
    source = collect_shards(http_server.url("old.tar"))
    http_server.requests.clear()
    packed(source, tmp_path / "new")
    assert counted(http_server) == ["GET /old.tar"] * 3  # of each new shard one
    http_server.put("old.tar", b"x" + (tmp_path / "old/train-000000.tar").read_bytes()[1:])
    with pytest.raises(PackError, match=r"old\.tar:\d+ changed while it was packed"):
        packed(source, tmp_path / "other")


def test_what_is_ahead_is_bounded_and_what_is_left_out_is_forgotten(
    http_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastdata.packing.origins.ahead.AHEAD", 2500)
    urls = [http_server.put(f"x/{number}.jpg", bytes([number]) * 1000) for number in range(9)]
    source = collect_table(write_table(tmp_path / "t.csv", urls))
    assert source.stored is not None
    http_server.requests.clear()
    ahead = Ahead(source.stored)
    assert ahead.read(0, 0) == bytes(1000)
    assert ahead.read(6, 0) == bytes([6]) * 1000
    ahead.close()
    assert {"GET /x/0.jpg", "GET /x/6.jpg"} <= set(counted(http_server))
    assert len(http_server.requests) <= 9
    assert len(set(counted(http_server))) == len(http_server.requests)


def test_labels_of_a_url_may_come_from_a_table(odd_folder: Path, memory: str, tmp_path: Path) -> None:
    put(odd_folder, memory)
    (tmp_path / "labels.csv").write_text("file,label\ncow/07,eel\ncow/03,ant\n")
    of_url = collect_url(memory, "cow/0[37].jpg", Labels(tmp_path / "labels.csv"))
    assert of_url.scan.targets.tolist() == [0, 1]
    (tmp_path / "urls.csv").write_text(f"url\n{memory}/cow/03.jpg\n")
    assert collect_table(Labels(tmp_path / "urls.csv", label=NO_LABELS)).scan.targets.tolist() == [-1]
