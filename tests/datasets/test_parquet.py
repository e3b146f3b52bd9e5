"""Images in Parquet files. That they are samples as all others are is in test_contract and test_same_samples."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

import fastdata as fd
from fastdata.datasets.parquet import ParquetImageDataset
from fastdata.epoch.orders import orders_of
from fastdata.epoch.window import WindowOrders
from support.parquets import write_columns, write_parquet
from support.photo_rows import COUNT, IMAGES, ROWS, dataset

WRITTEN: dict[str, dict[str, Any]] = {
    "plain bytes": {"plain": True},
    "one row group": {"row_group_size": 100},
    "a row each": {"row_group_size": 1},
    "without compression": {"compression": "none"},
    "without compression and dictionaries": {"compression": "none", "use_dictionary": False},
    "zstd": {"compression": "zstd"},
    "gzip": {"compression": "gzip"},
    "brotli": {"compression": "brotli"},
    "lz4": {"compression": "lz4"},
    "small pages": {"data_page_size": 1, "write_batch_size": 2, "compression": "none"},
    "pages of version 2": {"data_page_version": "2.0", "use_dictionary": False},
    "delta encoding": {"use_dictionary": False, "column_encoding": {"image.bytes": "DELTA_LENGTH_BYTE_ARRAY"}},
    "delta encoding as it is": {
        "use_dictionary": False,
        "compression": "none",
        "column_encoding": {"image.bytes": "DELTA_BYTE_ARRAY"},
    },
    "checksums": {"write_page_checksum": True, "write_page_index": True},
    "format version 1.0": {"version": "1.0"},
}


@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize("cache_bytes", [1, 1 << 20])
def test_images_are_read_however_they_were_written(tmp_path: Path, how: str, cache_bytes: int) -> None:
    ours = dataset(write_parquet(tmp_path / "a.parquet", ROWS, **WRITTEN[how]), cache_bytes=cache_bytes)
    order = np.random.default_rng(0).permutation(np.tile(np.arange(COUNT), 3))
    for number in order.tolist():
        sample = ours.read(number)
        assert (sample.image, sample.target) == (ROWS[number].data, number)


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary()])
def test_bytes_may_have_long_offsets_and_lie_in_a_struct(tmp_path: Path, type_: Any) -> None:
    for name, column in {
        "a": pa.array([row.data for row in ROWS], type_),
        "b": pa.array([{"bytes": row.data} for row in ROWS], pa.struct([("bytes", type_)])),
    }.items():
        ours = dataset(write_columns(tmp_path / f"{name}.parquet", {"image": column}), target=None)
        assert [ours.read(number).image for number in range(COUNT)] == [row.data for row in ROWS]
        assert [ours.key(number) for number in (0, 10)] == [f"{name}/0", f"{name}/10"]


def test_keys_are_the_paths_where_each_row_has_its_own(tmp_path: Path) -> None:
    def keys(name: str, paths: list[str | None]) -> list[str]:
        rows = [ROWS[number]._replace(path=path) for number, path in enumerate(paths)]
        ours = dataset(write_parquet(tmp_path / f"{name}.parquet", rows))
        return [ours.key(number) for number in range(len(paths))]

    assert keys("own", ["a/b.jpg", "a/c.d.png", "e.JPEG"]) == ["a/b", "a/c_d", "e"]
    assert keys("extensions", ["b.jpg", "b.png"]) == ["b_jpg", "b_png"]
    assert keys("same", ["b.jpg", "c.jpg", "b.jpg"]) == ["same/0", "same/1", "same/2"]
    assert keys("gap", ["b.jpg", None]) == ["gap/0", "gap/1"]
    assert keys("empty", ["b.jpg", ""]) == ["empty/0", "empty/1"]


def test_keys_are_those_of_a_column(tmp_path: Path) -> None:
    names, numbers = [f"n{number}" for number in range(COUNT)], list(range(100, 100 + COUNT))
    path = write_columns(tmp_path / "a.parquet", {"image": IMAGES, "__key__": names, "id": numbers})
    assert dataset(path, target=None).key(7) == "n7"
    assert dataset(path, target=None, key="id").key(7) == "107"
    with pytest.raises(ValueError, match=r"no column 'nothing', but 'image' \(images, as structs.*'id' \(integers\)"):
        dataset(path, target=None, key="nothing")
    with pytest.raises(ValueError, match="keys are text or integers, and its column 'image' has images"):
        dataset(path, target=None, key="image")


def test_a_key_that_is_there_twice_is_an_error_that_says_where(tmp_path: Path) -> None:
    for name, keys in {"a": ["x", "y"], "b": ["z", "z2", "y"]}.items():
        write_columns(tmp_path / f"{name}.parquet", {"image": IMAGES[: len(keys)], "__key__": keys})
    with pytest.raises(ValueError, match=r"a\.parquet, row 1 of .*, and .*b\.parquet, row 2 of .* share the key 'y'"):
        dataset(tmp_path / "*.parquet", target=None)
    dataset(tmp_path / "b.parquet", target=None)
    write_columns(tmp_path / "c.parquet", {"image": IMAGES[:2], "__key__": ["x", None]})
    with pytest.raises(ValueError, match=r"c\.parquet, row 1 of row group 0: has no key in its column '__key__'"):
        dataset(tmp_path / "c.parquet", target=None)


def test_a_column_of_keys_that_only_some_files_have_is_an_error(tmp_path: Path) -> None:
    write_columns(tmp_path / "a.parquet", {"image": IMAGES[:2], "__key__": ["x", "y"]})
    write_columns(tmp_path / "b.parquet", {"image": IMAGES[2:4]})
    with pytest.raises(
        ValueError, match=r"b\.parquet: its column '__key__' is missing, and that of .*a\.parquet has text"
    ):
        dataset(tmp_path / "*.parquet", target=None)


def test_rows_of_files_of_one_name_have_no_keys_of_their_own(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        write_parquet(tmp_path / folder / "train.parquet", ROWS[:2], plain=True)
    with pytest.raises(ValueError, match=r"a/train\.parquet and .*b/train\.parquet have one name.*say key="):
        dataset(tmp_path / "*/train.parquet")


def test_blocks_are_row_groups(tmp_path: Path) -> None:
    for name, part in (("a", ROWS[:6]), ("b", []), ("c", ROWS[6:])):
        write_parquet(tmp_path / f"{name}.parquet", part)
    ours = dataset(tmp_path / "*.parquet")
    assert ours.block_ends.tolist() == [4, 6, 10, 11]
    assert ours.block_size == 3
    by_window = orders_of(ours, COUNT, None, "window", 0)
    assert isinstance(by_window, WindowOrders)
    assert by_window.block_size == 3
    stored = sum((tmp_path / f"{name}.parquet").stat().st_size for name in "ac")
    assert ours.bytes_per_sample == stored / COUNT
    assert [ours.where(number).rpartition("/")[2] for number in (0, 5, 6, 10)] == [
        "a.parquet, row 0 of row group 0",
        "a.parquet, row 1 of row group 1",
        "c.parquet, row 0 of row group 0",
        "c.parquet, row 0 of row group 1",
    ]


@pytest.fixture
def many(tmp_path: Path) -> ParquetImageDataset:
    """Forty files of a few row groups each, of which hardly one fits into the cache."""
    for number in range(40):
        rows = [row._replace(path=f"{number}/{row.path}") for row in ROWS]
        write_parquet(tmp_path / f"{number:02}.parquet", rows, compression="none" if number % 2 else "snappy")
    return dataset(tmp_path / "*.parquet", cache_bytes=20_000)


def test_threads_read_at_once_from_few_open_files(many: ParquetImageDataset) -> None:
    before = len(os.listdir("/proc/self/fd"))
    numbers = np.random.default_rng(0).permutation(len(many)).tolist()
    with ThreadPoolExecutor(8) as pool:
        for number, sample in zip(numbers, pool.map(many.read, numbers), strict=True):
            assert sample.image == ROWS[number % COUNT].data
    assert len(os.listdir("/proc/self/fd")) <= before + 1


# Python 3.12 warns of forking a process with threads, which torch has.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_worker_reads_while_threads_of_its_parent_do(many: ParquetImageDataset) -> None:
    loader = iter(fd.Loader(many, 8, num_threads=3))
    next(loader)  # its threads read on
    batches = DataLoader(many, 44, num_workers=2, collate_fn=fd.collate)
    targets = torch.cat([targets for _, targets in batches])
    assert targets.tolist() == list(range(COUNT)) * 40
