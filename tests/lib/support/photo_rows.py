"""Eleven photos as rows of Parquet files, and datasets of them."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from fastdata.datasets.parquet import ParquetImageDataset
from support.numbered import TRAIN, image
from support.parquets import IMAGE, Row, write_columns

COUNT = 11
ROWS = [Row(image(number)[1], number, f"a/{number:03}.jpg") for number in range(COUNT)]
IMAGES = pa.array([{"bytes": row.data, "path": row.path} for row in ROWS], IMAGE)


def dataset(path: Path, **how: Any) -> ParquetImageDataset:
    return ParquetImageDataset(path, TRAIN, **how)


def of_columns(root: Path, target: Any, **columns: Any) -> ParquetImageDataset:
    """Eleven images with more columns."""
    return dataset(write_columns(root / "a.parquet", {"image": IMAGES, **columns}), target=target)
