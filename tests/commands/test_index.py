"""`fastdata index` writes what other readers look for."""

import json
from pathlib import Path

import pytest

from support.commands import Command
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
