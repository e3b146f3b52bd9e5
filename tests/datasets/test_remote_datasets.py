"""A dataset at a URL is its json there: index and shards come as they are needed, and are what the json says."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from fastdata.datasets.shards import TarImageDataset
from fastdata.datasets.store import TarImageMapDataset
from fastdata.errors import ManifestError, ReadError, SampleError
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources import remote_dataset
from fastdata.sources.folder import scan_classes
from fastdata.sources.stores import retry
from fastdata.sources.stores.storage import storage_of
from support.http_server import Server
from support.numbered import TRAIN
from support.pictures import jpeg
from support.servers import S3

COUNT = 12


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of two classes in three shards."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("packed")
    for number in range(COUNT):
        path = source / ("ant" if number < 5 else "bee") / f"{number:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg(24, 16, number))
    pack(scan_classes(source), out, division=ShardCount(3), jobs=1)
    return out


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTDATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(retry, "policy", retry.Policy(attempts=2, first_delay=0.001))
    return tmp_path / "cache"


Upload = Callable[[Path], str]


def to_http(server: Server) -> Upload:
    def upload(packed: Path) -> str:
        return [server.put(f"data/{file.name}", file.read_bytes()) for file in sorted(packed.iterdir())][-1]

    return upload


@pytest.fixture
def in_memory() -> Iterator[Upload]:
    def upload(packed: Path) -> str:
        for file in packed.iterdir():
            storage_of("memory://").put_file(file, f"memory://data/{file.name}")
        return "memory://data/train.json"

    yield upload
    fsspec.filesystem("memory").rm("/data", recursive=True)


@pytest.fixture(params=["http", "memory"])
def upload(request: pytest.FixtureRequest) -> Upload:
    """Puts a dataset somewhere, and gives the URL of its json."""
    if request.param == "http":
        return to_http(request.getfixturevalue("http_server"))
    found: Upload = request.getfixturevalue("in_memory")
    return found


def read(dataset: Any, numbers: Any = range(COUNT)) -> list[Any]:
    found = dataset.read_some(numbers)
    return [each if isinstance(each, SampleError) else (each.key, bytes(each.image), each.target) for each in found]


def test_it_is_the_same_dataset_as_the_local_one(packed: Path, upload: Upload, cache: Path) -> None:
    here, there = TarImageMapDataset(packed / "train.json", TRAIN), TarImageMapDataset(upload(packed), TRAIN)
    assert there.classes == ["ant", "bee"]
    assert (there.num_samples, there.fingerprint) == (COUNT, here.fingerprint)
    assert there.targets.tolist() == here.targets.tolist()  # type: ignore[union-attr]
    assert len(os.listdir(cache)) == 1  # no shard until one is read
    assert read(there) == read(here)
    assert there.where(7).startswith(there.shards[1] + ", offset ")
    assert not [name for name in os.listdir(cache) if name.startswith(".")]


@pytest.mark.slow
def test_from_s3_as_well(packed: Path, moto_s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in moto_s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = moto_s3.make_bucket("datasets")
    for file in packed.iterdir():
        storage_of(bucket).put_file(file, f"{bucket}/a/{file.name}")
    there = TarImageDataset(f"{bucket}/a/train.json", TRAIN, shuffle=True)
    assert sorted(int(target) for _, target in there) == [0] * 5 + [1] * 7


def test_opening_takes_a_few_requests_and_each_sample_one_more(packed: Path, http_server: Server, cache: Path) -> None:
    url = to_http(http_server)(packed)
    dataset = TarImageMapDataset(url, TRAIN)
    assert {request.path for request in http_server.requests} == {"/data/train.json", "/data/train.index.npy"}
    assert http_server.count() == 2
    read(dataset, [5])
    read(dataset, [6])
    assert http_server.count() == 4
    again = TarImageMapDataset(url, TRAIN)
    assert read(again, [5]) == read(dataset, [5])
    assert http_server.count() == 5  # the json, which may have changed


def parts(server: Server) -> int:
    """How many parts of an index were asked for, of which none is the whole."""
    of_index = [each for each in server.requests if each.method == "GET" and each.path.endswith(".npy")]
    assert all(request.range for request in of_index)
    return len(of_index)


@pytest.mark.parametrize("limit", [0, 1])
def test_of_a_large_index_parts_are_fetched_when_they_are_needed(
    packed: Path, http_server: Server, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(remote_dataset, "WHOLE", limit)
    url = to_http(http_server)(packed)
    dataset = TarImageMapDataset(url, TRAIN)
    before = parts(http_server)
    here = TarImageMapDataset(packed / "train.json", TRAIN)
    assert read(dataset) == read(here)
    assert parts(http_server) == before + 1
    assert read(TarImageMapDataset(url, TRAIN)) == read(here)
    assert parts(http_server) == before + 1


def test_a_replaced_dataset_is_not_served_from_the_cache(packed: Path, upload: Upload, tmp_path: Path) -> None:
    before = read(TarImageMapDataset(upload(packed), TRAIN))
    (tmp_path / "source/cow").mkdir(parents=True)
    for number in range(COUNT):
        (tmp_path / f"source/cow/{number:02}.jpg").write_bytes(jpeg(24, 16, number))
    pack(scan_classes(tmp_path / "source"), tmp_path / "new", division=ShardCount(3), jobs=1)
    dataset = TarImageMapDataset(upload(tmp_path / "new"), TRAIN)
    assert dataset.classes == ["cow"]
    assert read(dataset) == read(TarImageMapDataset(tmp_path / "new/train.json", TRAIN))
    assert read(dataset) != before


def test_a_sample_that_is_damaged_at_its_source_is_an_error_that_names_it(
    packed: Path, http_server: Server, cache: Path
) -> None:
    url = to_http(http_server)(packed)
    shard = bytearray((packed / "train-000001.tar").read_bytes())
    shard[600] ^= 1  # in the image of its first sample
    http_server.put("data/train-000001.tar", bytes(shard))
    dataset, here = TarImageMapDataset(url, TRAIN), TarImageMapDataset(packed / "train.json", TRAIN)
    first = next(number for number in range(COUNT) if "train-000001.tar" in here.where(number))
    found = read(dataset)
    assert [each for number, each in enumerate(found) if number != first] == [
        each for number, each in enumerate(read(here)) if number != first
    ]
    assert isinstance(found[first], ReadError)
    said = r"data/train-000001\.tar, offset 0: the \d+ bytes that came, twice, are not those that were packed"
    assert re.search(said, str(found[first]))
    http_server.put("data/train-000001.tar", (packed / "train-000001.tar").read_bytes())
    assert read(dataset) == read(here)  # what was damaged was not kept


def test_a_damaged_index_is_an_error_that_names_it(packed: Path, http_server: Server, cache: Path) -> None:
    url = to_http(http_server)(packed)
    index = bytearray((packed / "train.index.npy").read_bytes())
    index[-1] ^= 1
    http_server.put("data/train.index.npy", bytes(index))
    with pytest.raises(ManifestError, match="not the index that the dataset's json means"):
        TarImageMapDataset(url, TRAIN)
    assert os.listdir(cache) == []
    index[-1] ^= 1
    index[400] ^= 1
    http_server.put("data/train.index.npy", bytes(index))
    dataset = TarImageMapDataset(url, TRAIN)
    with pytest.raises(OSError, match="damaged index"):
        read(dataset)
    http_server.put("data/train.index.npy", (packed / "train.index.npy").read_bytes())
    assert read(dataset) == read(TarImageMapDataset(packed / "train.json", TRAIN))


def test_what_is_missing_is_named(packed: Path, upload: Upload) -> None:
    url = upload(packed)
    with pytest.raises(FileNotFoundError, match=r"val\.json"):
        TarImageMapDataset(url.replace("train.json", "val.json"), TRAIN)


def test_a_json_of_another_is_refused_where_it_lies(http_server: Server) -> None:
    url = http_server.put("data/train.json", b"{}")
    with pytest.raises(ManifestError, match=url):
        TarImageMapDataset(url, TRAIN)


def test_what_follows_a_question_mark_goes_with_each_request(packed: Path, http_server: Server) -> None:
    url = to_http(http_server)(packed) + "?sas=token"
    read(TarImageMapDataset(url, TRAIN), [0])
    assert {request.path for request in http_server.requests} == {
        f"/data/{name}?sas=token" for name in ("train.json", "train.index.npy", "train-000000.tar")
    }
