"""Parquet files of few bytes that claim, or hold, far more than any memory: an error instead of reading them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastdata.datasets.parquet import ParquetImageDataset
from fastdata.errors import ReadError
from fastdata.sources.columnar import parquet as columnar_parquet
from support.numbered import TRAIN
from support.parquets import write_columns
from support.pictures import jpeg


def test_more_rows_than_bytes_are_refused_before_their_keys_are_made(tmp_path: Path) -> None:
    rows = 5_000_000
    columns = {"image": pa.nulls(rows, pa.binary()), "label": pa.array(np.zeros(rows, np.int64))}
    path = write_columns(tmp_path / "a.parquet", columns, row_group_size=rows, compression="zstd")
    assert path.stat().st_size < 100_000
    with pytest.raises(OSError, match=rf"a\.parquet claims row groups of {rows} to {rows} rows in \d+ bytes"):
        ParquetImageDataset(path, TRAIN)


def test_one_image_in_each_of_thousands_of_rows_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastdata.sources.columnar.parquet.MAX_BYTES", 1 << 24)  # so that a test takes no gigabyte
    rows, image = 2000, jpeg(16, 16) + np.random.default_rng(0).bytes(15_000)
    images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([image]))
    columns = {"image": images, "label": pa.array(np.zeros(rows, np.int64))}
    how: dict[str, Any] = {"row_group_size": rows, "compression": "none", "dictionary_pagesize_limit": 1 << 30}
    path = write_columns(tmp_path / "a.parquet", columns, **how)
    assert path.stat().st_size < 20_000
    with pytest.raises(ReadError, match=r"'image': unpacked it has more than 16777216 bytes: write smaller"):
        ParquetImageDataset(path, TRAIN).read(0)


def test_rows_that_are_unpacked_in_several_parts_are_the_same(tmp_path: Path) -> None:
    columns = {"image": [jpeg(16, 16)] * 3000, "label": list(range(3000)), "text": [str(n) for n in range(3000)]}
    path = write_columns(tmp_path / "a.parquet", columns, row_group_size=2500)
    dataset = ParquetImageDataset(path, TRAIN, target=["label", "text"])
    for number in (0, 1023, 1024, 2499, 2500, 2999):
        assert dataset.read(number).target == {"label": number, "text": str(number)}


def test_a_column_that_is_read_whole_is_bound_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many row groups it is in: of a value that is there once a file has just its number."""
    monkeypatch.setattr(columnar_parquet, "MAX_BYTES", 1 << 20)
    table = pa.table({"__key__": ["x" * 1024] * 2000})
    pq.write_table(table, tmp_path / "k.parquet", row_group_size=500, use_dictionary=["__key__"])
    (file,) = columnar_parquet.read_files([str(tmp_path / "k.parquet")], ["__key__"])
    with pytest.raises(OSError, match="unpacked it has more than 1048576 bytes"):
        columnar_parquet.read_whole_column(file, "__key__")
