"""`fastdata index` writes what other readers look for."""

import json
from pathlib import Path

import pytest

from fastdata.sources.stores.storage import storage_of
from support.commands import Command
from support.http_server import Server
from support.memory_store import empty_memory
from support.tars import packed
from support.tars import samples as members_of


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return [packed(tmp_path / f"a{i}.tar", members_of(3 + i)) for i in range(2)]


def test_the_native_index_lies_beside_the_shard(fastdata: Command, shards: list[Path]) -> None:
    result = fastdata("index", *shards)
    assert result.out == f"{shards[0]}: 3 samples\n{shards[1]}: 4 samples\n"
    assert [shard.with_suffix(".index.npy").exists() for shard in shards] == [True, True]


def test_dalis_index_lies_beside_the_shard(fastdata: Command, shards: list[Path]) -> None:
    result = fastdata("index", shards[0].parent / "*.tar", "--format", "dali")
    assert result.out == "".join(f"{shard.with_suffix('.idx')}\n" for shard in shards)
    assert [shard.with_suffix(".idx").read_text().split("\n")[0] for shard in shards] == ["v1.2 3", "v1.2 4"]


def test_the_wids_index_lists_all_shards(fastdata: Command, shards: list[Path]) -> None:
    document = json.loads(fastdata("index", "--format", "wids", *shards).out)
    assert document["wids_version"] == 1
    assert document["shardlist"] == [
        {"url": str(shard), "nsamples": 3 + i, "filesize": shard.stat().st_size} for i, shard in enumerate(shards)
    ]


def test_the_wids_index_lists_shards_at_urls_by_their_urls(
    fastdata: Command, shards: list[Path], http_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTDATA_CACHE", str(tmp_path / "cache"))
    urls = [http_server.put(shard.name, shard.read_bytes()) for shard in shards]
    document = json.loads(fastdata("index", "--format", "wids", http_server.url("a{0..1}.tar")).out)
    assert document["shardlist"] == [
        {"url": url, "nsamples": 3 + i, "filesize": shards[i].stat().st_size} for i, url in enumerate(urls)
    ]


def test_the_wids_index_takes_a_pattern_in_a_url(
    fastdata: Command, shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTDATA_CACHE", str(tmp_path / "cache"))
    empty_memory(monkeypatch)
    for shard in shards:
        storage_of("memory://").put_file(shard, f"memory://bucket/{shard.name}")
    document = json.loads(fastdata("index", "--format", "wids", "memory://bucket/*.tar").out)
    found = [(entry["url"], entry["nsamples"]) for entry in document["shardlist"]]
    assert found == [("memory://bucket/a0.tar", 3), ("memory://bucket/a1.tar", 4)]


@pytest.mark.parametrize("format", ["native", "dali"])
@pytest.mark.parametrize("url", ["s3://bucket/data/*.tar", "http://localhost/a.tar"])
def test_beside_shards_at_urls_no_index_is_written(fastdata: Command, format: str, url: str) -> None:
    done = fastdata("index", "--format", format, url)
    assert done.status == 1
    assert done.err.startswith(f"fastdata: {url} is elsewhere, and an index is written beside a shard: copy the shards")
