"""Images in the columns of Parquet files, by number."""

import os
from collections.abc import Sequence
from pathlib import Path

from fastdata.datasets.base import Transforms
from fastdata.datasets.column_images import ColumnImages
from fastdata.datasets.fields import Target
from fastdata.datasets.mapping import Map
from fastdata.images.limits import MAX_PIXELS
from fastdata.sources.columnar.parquet import ParquetFile, read_files
from fastdata.sources.columnar.row_groups import RowGroups
from fastdata.sources.regular import MAX_BYTES
from fastdata.sources.stores.remote_glob import remote_matches
from fastdata.sources.urls import Urls, expand, is_remote

CACHE_BYTES = 256 << 20
"""Of row groups that a process keeps, where nothing else is said."""


class ParquetImageDataset(ColumnImages):
    """Images in Parquet files, by number, as Hugging Face's datasets have them: `dataset[i]` is (uint8 tensor of shape
    (3, H, W), target).

    `urls` are paths, URLs (`hf://datasets/…`, `s3://…`), globs or brace notation of either; of remote files only what
    is needed is read. The column `image` has encoded images, as structs of bytes and path or as bytes alone; a path is
    not followed.

    `target` is a column, a field (`fd.Boxes("objects", "bbox")`) or a table, or several by name, as
    `TarImageDataset` takes them; None makes targets -1. A column of integers, floats or text gives such, one of lists
    of numbers arrays, and one of bytes what its name ends in ("caption.txt", "boxes.npy"). `classes` are a
    ClassLabel's names where the file has Hugging Face's features.

    Keys are those of the column `key` (text or integers), by default of `__key__`, where there is one; else an image's
    path makes its key, as in a folder, where each row has one of its own; else it is `<file>/<row>`.

    Row groups are read whole, and `cache_bytes` of them kept by each process. An image in a column without compression
    is read alone once its row group was read; with compression, an order that leads through all row groups at random
    reads a whole one for nearly each sample, where they don't all fit. `block_ends` says where they end.
    """

    def __init__(
        self,
        urls: Urls,
        transform: Transforms = None,
        image: str = "image",
        target: Target = "label",
        key: str | None = None,
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
        map: Map | None = None,
        cache_bytes: int = CACHE_BYTES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        def open_store(columns: list[str]) -> RowGroups:
            return RowGroups(_with_rows(read_files(_paths(urls), columns)), columns, cache_bytes)

        super().__init__(open_store, transform, image, target, key, seed, max_pixels, map, max_bytes)


def _paths(urls: Urls) -> list[str]:
    """The files, of remote globs, too. IsADirectoryError for a folder, and what `expand` raises."""
    paths: list[str] = []
    for given in [urls] if isinstance(urls, str | os.PathLike) else urls:
        url = os.fspath(given)
        if Path(url).is_dir():
            raise IsADirectoryError(f"{url} is a folder: name the files in it, as {url.rstrip('/')}/*.parquet")
        paths += remote_matches(url) if is_remote(url) and "*" in url else [url]
    return expand(paths)


def _with_rows(files: Sequence[ParquetFile]) -> Sequence[ParquetFile]:
    """Those that have rows; of others not even the types of their columns are known. ValueError for none."""
    found = [file for file in files if file.num_rows]
    if not found:
        raise ValueError(f"{files[0].path} has no rows" + (f", nor have {len(files) - 1} others" if files[1:] else ""))
    return found
