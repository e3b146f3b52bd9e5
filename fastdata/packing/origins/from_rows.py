"""Images in the columns of Parquet files as what is packed, as Hugging Face's datasets have them."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from fastdata.errors import PackError
from fastdata.packing.origins.labels import LabelColumns, with_rows
from fastdata.packing.origins.source import Missing, Source
from fastdata.packing.origins.stored import Stored
from fastdata.packing.origins.stored_rows import KEPT
from fastdata.packing.origins.values import Column
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources.columnar.arrow import PATH
from fastdata.sources.columnar.parquet import ParquetFile, read_files
from fastdata.sources.columnar.row_groups import RowGroups
from fastdata.sources.columnar.row_keys import keys_of_rows
from fastdata.sources.folder import FolderScan
from fastdata.sources.paths import Paths, extension_of, key_of, keys_of
from fastdata.sources.stores.remote_glob import remote_matches
from fastdata.sources.stores.storage import storage_of
from fastdata.sources.urls import expand, is_remote, path_of

IMAGE, LABEL = "image", "label"
"""The columns' names where nothing else is said."""

_FILES = 4  # that are read at a time
_SPLIT = re.compile(r"(.+?)-\d+-of-\d+(?:-[0-9a-f]+)?")
_BEGINNINGS = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"BM": "bmp", b"II*\0": "tif", b"MM\0*": "tif"}
_BEGINNINGS |= {b"P3": "ppm", b"P6": "ppm", b"P2": "pgm", b"P5": "pgm"}


def parquet_files(src: str) -> list[str]:
    """The Parquet files in a folder, local or at a URL, or those that a path, URL, glob or brace notation names.

    FileNotFoundError for none, ValueError for a folder that has several parts of a dataset, such as train and test.
    """
    if "*" in src or (path_of(src).lower().endswith(".parquet") and not Path(src).is_dir()):
        return remote_matches(src) if is_remote(src) and "*" in src else expand(src)
    if is_remote(src):
        found = [entry.url for entry in storage_of(src).entries(src.rstrip("/"))]
    else:
        found = [str(path) for path in Path(src).rglob("*")]
    files = sorted(file for file in found if file.lower().endswith(".parquet"))
    if not files:
        raise FileNotFoundError(f"no *.parquet in {src}: check the path, or leave out --image-column")
    parts = {(match[1] if (match := _SPLIT.fullmatch(PurePosixPath(file).stem)) else ""): file for file in files}
    if len(parts) > 1:
        globs = (f"'{src.rstrip('/')}/**/{part}-*.parquet'" for part in parts if part)
        raise ValueError(
            f"{src} has the parts {', '.join(parts)} of a dataset: pack each by itself, {', '.join(globs)}"
        )
    return files


def has_images(file: str, column: str | None) -> bool:
    """Whether a Parquet file's column, by default `image`, has images in it. OSError where it can't be read."""
    name = column or IMAGE
    try:
        return read_files([file], [name])[0].kinds[name].is_bytes
    except ValueError:  # it has no such column
        return False


def collect_rows(
    files: Sequence[str],
    image: str | None = None,
    label: str | None = None,
    fields: Sequence[str] = (),
    missing: Missing = "error",
) -> Source:
    """The images in a column of Parquet files, a row each, in their order, for `pack`; their bytes stay as they are.

    `image` is the column (default: `image`), of structs of bytes and path or of bytes alone. `label` has class indexes,
    whose names are those of the ClassLabel where the files have Hugging Face's features (-1 is no class there), or
    names (default: `label`, if there is one); NO_LABELS leaves classes away. Columns of `fields` go into a json.
    Keys are those that `ParquetImageDataset` has, with "_" for dots. All images are read, for their sizes and kinds,
    and again when they are packed.

    ValueError for a column that is not there or is none such, PackError for a row without a label, unless `missing` is
    "allow", OSError for a file that can't be read.
    """
    name = image or IMAGE
    if label is None and _has_column(files[0], LABEL):
        label = LABEL
    columns = list(dict.fromkeys([name, *([label] if label else []), *fields]))
    opened = [file for file in read_files(files, columns) if file.num_rows]
    if not opened:
        raise ValueError(f"{files[0]} has no rows: nothing to pack")
    groups = RowGroups(opened, columns, KEPT)
    if not groups.kinds[name].is_bytes:
        raise ValueError(f"{files[0]}: its column {name!r} has {groups.kinds[name].value}, not images")
    with ThreadPoolExecutor(_FILES) as pool:
        images = [row for rows in pool.map(partial(_images, column=name), opened) for row in rows]
    source = _source(opened, groups, name, images)
    table = LabelColumns(
        Column(files[0], name, ()),
        _labels(files[0], groups, label) if label else None,
        [Column(files[0], field, list(_values(groups, field))) for field in fields],
        columns,
    )
    source = with_rows(source, table, range(len(source.scan)), missing)
    classes = list(groups.classes[label]) if label else []
    return _with_classes(source, classes) if classes else source


class _Image(NamedTuple):
    """What is known of an image by its bytes; an extension of '' where it is none."""

    size: int
    extension: str


def _images(file: ParquetFile, column: str) -> list[_Image]:
    groups = RowGroups([file], [column], KEPT)
    return [_image(groups.file(row, column)) for row in range(file.num_rows)]


def _image(data: "bytes | memoryview | None") -> _Image:
    if data is None:
        return _Image(0, "")
    head = bytes(data[:12])
    found = next((extension for begins, extension in _BEGINNINGS.items() if head.startswith(begins)), "")
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        found = "webp"
    return _Image(len(data), found)


def _source(files: Sequence[ParquetFile], groups: RowGroups, column: str, images: Sequence[_Image]) -> Source:
    """The rows as samples without classes."""
    extensions = [image.extension for image in images]
    if column in groups.with_paths:  # as the file would be packed from a folder
        for row, path in enumerate(_values(groups, f"{column}.{PATH}")):
            named = extension_of(path or "")
            extensions[row] = named if named in IMAGE_EXTENSIONS else extensions[row]
    keys = keys_of_rows(groups, column, None)
    for row, key in enumerate(keys):
        if {"", ".", ".."} & set(key.split("/")) or "\0" in key:
            raise PackError(f"{groups.where(row)}: {key!r} can't be a key in a shard: it is no plain path")
    # What is no image gets an extension all the same: it is refused, or left out, by its size.
    names = (f"{key_of(f'{key}.')}.{extension or 'jpg'}" for key, extension in zip(keys, extensions, strict=True))
    paths = Paths.of(names)
    sizes = np.array([image.size if extension else 0 for image, extension in zip(images, extensions, strict=True)])
    counts = [file.num_rows for file in files]
    rows = np.concatenate([np.arange(count) for count in counts])
    which = np.repeat(np.arange(len(files)), counts)
    places = [file.path if is_remote(file.path) else str(Path(file.path).absolute()) for file in files]
    versions = Paths.of(file.digest.hex() for file in files)
    stored = Stored.of(
        Paths.of(places), versions, which[:, None], rows[:, None], sizes[:, None].astype(np.int64), column=column
    )
    root = places[0].rpartition("/")[0]
    scan = FolderScan(root, paths, np.full(len(paths), -1, np.int64), [], {}, keys_of(paths))
    return Source(scan, stored=stored)


def _has_column(file: str, name: str) -> bool:
    try:
        read_files([file], [name])
    except ValueError:
        return False
    return True


def _labels(path: str, groups: RowGroups, label: str) -> Column:
    values = list(_values(groups, label))
    if groups.classes[label]:  # where -1 says that nobody knows
        values = [None if value == -1 else value for value in values]
    return Column(path, label, values)


def _values(groups: RowGroups, name: str) -> Iterator[Any]:
    for array in groups.whole(name):
        yield from array.to_pylist()


def _with_classes(source: Source, classes: list[str]) -> Source:
    """The samples with the names of their classes. ValueError for an index that has none."""
    highest = int(source.scan.targets.max(initial=-1))
    if highest >= len(classes):
        raise ValueError(f"class index {highest}, where there are names for {len(classes)} classes")
    class_to_idx = {name: index for index, name in enumerate(classes)}
    return dataclasses.replace(
        source, scan=dataclasses.replace(source.scan, classes=classes, class_to_idx=class_to_idx)
    )
