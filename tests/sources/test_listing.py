"""What a dataset's URLs stand for: shards with all that jsons say of them, and nothing asked of the shards."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from fastdata.datasets.store import TarImageMapDataset
from fastdata.errors import SampleError
from fastdata.images import kernel
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from fastdata.sources.listing import list_shards
from fastdata.sources.shard import Shard
from fastdata.sources.tars import index
from support.numbered import TRAIN
from support.pictures import jpeg


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of two classes in three shards."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("packed")
    for number in range(12):
        path = source / ("ant" if number < 5 else "bee") / f"{number:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg(24, 16, number))
    pack(scan_classes(source), out, division=ShardCount(3), jobs=1)
    return out


@pytest.fixture
def packed(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, which may be damaged."""
    return shutil.copytree(whole, tmp_path / "packed")


def samples_of(dataset: TarImageMapDataset) -> list[Any]:
    """All samples, read as a task is, and one by one."""
    together = dataset.read_some(range(len(dataset)))
    pairs = [s if isinstance(s, SampleError) else (s.key, bytes(s.image), s.target) for s in together]
    for number, pair in enumerate(pairs):
        if not isinstance(pair, SampleError):
            assert dataset.read(number) == pair
    return pairs


def test_a_dataset_is_opened_without_a_look_at_its_shards(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = samples_of(TarImageMapDataset(packed / "train.json", TRAIN))
    opened: list[str] = []
    real = os.open

    def noting(path: Any, *rest: Any, **more: Any) -> int:
        opened.append(str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", noting)
    dataset = TarImageMapDataset(packed / "train.json", TRAIN)
    assert dataset.num_samples == 12
    assert dataset.classes == ["ant", "bee"]
    assert dataset.targets.tolist() == [0] * 5 + [1] * 7  # type: ignore[union-attr]
    assert len(dataset.fingerprint) == 16
    assert len(set(dataset.key_hashes().tolist())) == 12
    assert opened == [str(packed / "train.index.npy")]
    assert samples_of(dataset) == expected


@pytest.mark.parametrize("with_kernel", [True, False])
def test_by_json_by_glob_by_shards_and_without_index_it_is_the_same_dataset(
    packed: Path, monkeypatch: pytest.MonkeyPatch, with_kernel: bool
) -> None:
    if not with_kernel:
        monkeypatch.setattr(kernel, "KERNEL", None)
    shards = sorted(map(str, packed.glob("*.tar")))
    by_json = TarImageMapDataset(packed / "train.json", TRAIN)
    same = [TarImageMapDataset(str(packed / "train-*.tar"), TRAIN), TarImageMapDataset(shards, TRAIN)]
    (packed / "train.json").rename(packed / "other.json")
    (packed / "train.index.npy").unlink()
    same.append(TarImageMapDataset(shards, TRAIN))
    for dataset in same:
        assert dataset.shards == shards
        assert dataset.fingerprint == by_json.fingerprint
        assert dataset.key_hashes().tolist() == by_json.key_hashes().tolist()
        assert dataset.targets.tolist() == by_json.targets.tolist()  # type: ignore[union-attr]
        assert samples_of(dataset) == samples_of(by_json)
        assert [dataset.where(n) for n in range(12)] == [by_json.where(n) for n in range(12)]
    assert sorted(os.listdir(packed)) == sorted(
        ["other.json", *(Path(s).name for s in shards), *(index.index_path(s).name for s in shards)]
    )


def test_shards_of_a_dataset_in_another_order_and_others_between_them(packed: Path, tmp_path: Path) -> None:
    shards = sorted(map(str, packed.glob("*.tar")))
    (tmp_path / "apart").mkdir()
    other = shutil.copy(shards[1], tmp_path / "apart/b.tar")
    second = shutil.copytree(packed, tmp_path / "second")
    dataset = TarImageMapDataset([shards[2], other, shards[0], second / "train.json"], TRAIN)
    expected = samples_of(TarImageMapDataset(packed / "train.json", TRAIN))
    assert samples_of(dataset) == [*expected[8:], *expected[4:8], *expected[:4], *expected]
    assert len(dataset._listing.indexes) == 2


@pytest.mark.parametrize("damage", ["missing", "cut", "another's", "old"])
def test_without_its_index_a_dataset_is_read_by_those_of_its_shards(packed: Path, damage: str) -> None:
    expected = samples_of(TarImageMapDataset(packed / "train.json", TRAIN))
    file = packed / "train.index.npy"
    match damage:
        case "missing":
            file.unlink()
        case "cut":
            os.truncate(file, 100)
        case "another's":
            file.write_bytes(bytes(file.stat().st_size))
        case "old":
            file.write_bytes(file.read_bytes()[::-1])
    with pytest.warns(UserWarning, match=r"train\.index\.npy.*each shard is indexed when it is first read"):
        dataset = TarImageMapDataset(packed / "train.json", TRAIN)
    assert samples_of(dataset) == expected


def test_a_shard_of_another_size_than_the_json_says_is_indexed_for_itself(packed: Path) -> None:
    shard = packed / "train-000001.tar"
    expected = samples_of(TarImageMapDataset(shard, TRAIN))
    data = shard.read_bytes()
    shard.write_bytes(data[:-10240] + bytes(20480))
    dataset = TarImageMapDataset(packed / "train.json", TRAIN)
    assert samples_of(dataset)[4:8] == expected
    assert index.index_path(shard).exists()
    os.truncate(shard, len(data) // 2)
    broken = TarImageMapDataset(packed / "train.json", TRAIN).read_some(range(12))
    assert [isinstance(sample, SampleError) for sample in broken] == [False] * 4 + [True] * 4 + [False] * 4


def test_what_is_known_of_a_shard_is_its_entry_and_its_first_row(packed: Path) -> None:
    listing, classes = list_shards(packed / "train.json")
    assert classes == ("ant", "bee")
    known = [listing.known(position) for position in range(3)]
    assert [one and one.first for one in known] == [0, 4, 8]
    shard = Shard(listing.shards[1], known=known[1])
    alone = Shard(listing.shards[1])
    assert len(shard) == len(alone) == 4
    for name in alone.rows.dtype.names or ():
        assert shard.rows[name].tolist() == alone.rows[name].tolist()
    with pytest.raises(IndexError):
        shard.key(4)
