"""A dataset's index, with a json that holds for it, may say anything: nothing is read outside of shards for that."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from fastdata.datasets.store import TarImageMapDataset
from fastdata.errors import SampleError, TarError
from fastdata.images import kernel
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources import manifest
from fastdata.sources.dataset_index import DatasetIndex
from fastdata.sources.folder import scan_classes
from fastdata.sources.shard import Shard
from fastdata.sources.tars.index_writer import write_index
from fastdata.sources.tars.rows import ABSENT, Rows
from support.numbered import TRAIN
from support.pictures import jpeg

BAD = 1  # the row that says something else


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Six images in two shards."""
    (tmp_path / "source/ant").mkdir(parents=True)
    for number in range(6):
        (tmp_path / f"source/ant/{number}.jpg").write_bytes(jpeg(24, 16, number))
    pack(scan_classes(tmp_path / "source"), tmp_path / "packed", division=ShardCount(2), jobs=1)
    return tmp_path / "packed"


def lie(packed: Path, change: Callable[[Rows], Any]) -> None:
    """Has the index say something else, and the json mean that index."""
    found = manifest.load(packed / "train.json")
    assert found.index is not None
    rows = DatasetIndex(str(packed / "train.index.npy"), found.index).rows(0, 6).copy()
    change(rows)
    index = write_index(packed / "train.index.npy", 2, lambda shard: rows[3 * shard : 3 * shard + 3])
    manifest.store(replace(found, index=index), packed)


def set_to(field: str, column: str, value: int) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        (rows[column] if column else rows)[field][BAD] = value

    return change


@pytest.mark.parametrize("with_kernel", [True, False])
@pytest.mark.parametrize("column", [".jpg", ".cls"])
@pytest.mark.parametrize(
    ("field", "value"),
    [(field, far) for field in ("offset", "size") for far in (1 << 40, (1 << 63) - 1, -5, -(1 << 63))]
    + [("offset", 100), ("size", 20_000)],
)
def test_what_lies_outside_of_the_shard_or_is_no_components_is_an_error_of_that_sample(
    packed: Path, monkeypatch: pytest.MonkeyPatch, with_kernel: bool, column: str, field: str, value: int
) -> None:
    if not with_kernel:
        monkeypatch.setattr(kernel, "KERNEL", None)
    lie(packed, set_to(field, column, value))
    samples = TarImageMapDataset(packed / "train.json", TRAIN).read_some(range(6))
    assert [isinstance(sample, SampleError) for sample in samples] == [number == BAD for number in range(6)]


@pytest.mark.parametrize("far", [1 << 40, (1 << 63) - 1, -5])
def test_a_sample_that_starts_outside_of_its_shard_is_an_error(packed: Path, far: int) -> None:
    lie(packed, set_to("start", "", far))
    samples = TarImageMapDataset(packed / "train.json", TRAIN).read_some(range(6))
    error = samples[BAD]
    assert isinstance(error, SampleError)
    assert "by its index" in error.cause
    (known, *_) = [TarImageMapDataset(packed / "train.json", TRAIN)._listing.known(0)]
    with pytest.raises(TarError, match=r"train\.index\.npy points out of it"):
        _ = Shard(packed / "train-000000.tar", known=known).rows


def test_a_class_of_a_sample_that_has_none_is_not_believed(packed: Path) -> None:
    def change(rows: Rows) -> None:
        rows[".cls"]["offset"][BAD] = ABSENT

    lie(packed, change)
    samples = TarImageMapDataset(packed / "train.json", TRAIN).read_some(range(6))
    assert [isinstance(sample, SampleError) for sample in samples] == [number == BAD for number in range(6)]


@pytest.mark.parametrize("with_kernel", [True, False])
def test_a_class_that_the_shard_does_not_say_is_not_delivered(
    packed: Path, monkeypatch: pytest.MonkeyPatch, with_kernel: bool
) -> None:
    if not with_kernel:
        monkeypatch.setattr(kernel, "KERNEL", None)
    lie(packed, set_to("cls", "", 3))
    samples = TarImageMapDataset(packed / "train.json", TRAIN).read_some(range(6))
    error = samples[BAD]
    assert isinstance(error, SampleError)
    assert "its class is b'0' now, and was 3" in error.cause
    assert error.key == "ant/1"


def test_a_row_of_another_sample_is_an_error(packed: Path) -> None:
    def change(rows: Rows) -> None:
        rows["key"][BAD] = np.uint64(7)

    lie(packed, change)
    error = TarImageMapDataset(packed / "train.json", TRAIN).read_some(range(6))[BAD]
    assert isinstance(error, SampleError)
    assert "another member lies here now" in error.cause
