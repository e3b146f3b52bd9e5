"""The files that contests are run on: the caller's photos or made ones, as an epoch of some length, and packed."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastdata as fd
from fastdata.commands.demo import make_photos
from fastdata.packing.convert import Conversion, CropReady, Keep
from fastdata.packing.crop_ready import can_make_crop_ready
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes

MADE = 600
SHARDS = 6
LEAST = 60  # photos in all shards: with a few in each, the contest would be one in opening shards
JPEG = (".jpg", ".jpeg")  # in any case


class Material(NamedTuple):
    """The same photos in class folders, in shards and, where they can be made, in crop-ready ones and Parquet files."""

    about: str
    folder: str
    shards: list[str]
    crop_ready: list[str]
    parquet: list[str]
    snappy: list[str]


def material(data: Path | None, directory: Path, at_least: int) -> Material:
    """The photos of `data`, or made ones, with epochs of `at_least` images, laid out below `directory`.

    Epochs of real datasets are long: what a loader does between two of them is not to weigh more than there. So the
    folder has hard links of each photo, and the list of shards has links to each shard, as often as it takes. (A
    symbolic link costs 30 µs to follow, with the caches as a decoder leaves them: too much for each photo.)
    """
    if data is None:
        data = directory / "made"
        make_photos(data, MADE)
    photos = jpegs(data)
    copies = -(-LEAST // len(photos))
    times = -(-at_least // (len(photos) * copies))
    once, often = copied(photos * copies, directory / "once"), directory / "often"
    for copy in once.rglob("*.jpg"):
        link(copy, often / copy.parent.name, times)
    shards = packed(once, directory / "keep", Keep(), times)
    cut = packed(once, directory / "crop-ready", CropReady(), times) if can_make_crop_ready() else []
    columns = [in_parquet(once, directory / name, name, times) for name in ("none", "snappy")]
    read_once([*once.rglob("*.jpg"), *map(Path, sum(columns, shards + cut))])
    size = sum(photo.stat().st_size for photo in photos) / len(photos)
    about = f"{len(photos)} photos of {size / 1000:.0f} kB each, {times * copies} times an epoch; kernel: {fd.kernel}"
    return Material(about, str(often), shards, cut, *columns)


def jpegs(data: Path) -> list[Path]:
    """All below `data`, at any depth, by their extension in any case. FileNotFoundError where there is none."""
    images = (Path(path) for path, _ in fd.ImageDirectoryDataset(data, labels=None).samples)
    photos = [path.resolve() for path in images if path.suffix.lower() in JPEG]
    if not photos:
        raise FileNotFoundError(f"no JPEG in {data}: they end in {' or '.join(JPEG)}, in any case")
    return photos


def copied(photos: list[Path], directory: Path) -> Path:
    """Class folders, named as the ones that the photos are in."""
    for number, photo in enumerate(photos):
        folder = directory / photo.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, folder / f"{number}.jpg")
    return directory


def link(file: Path, folder: Path, times: int) -> None:
    """So many hard links to the file in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for time in range(times):
        (folder / f"{time}-{file.name}").hardlink_to(file)


def packed(folder: Path, directory: Path, conversion: Conversion, times: int) -> list[str]:
    """The photos in shards of about one size, with so many links to each shard and its index."""
    scan = scan_classes(folder)
    pack(scan, directory, division=ShardCount(min(SHARDS, len(scan))), jpeg=conversion)
    for file in sorted(directory.glob("train-*")):
        link(file, directory, times)
    return sorted(map(str, directory.glob("*-train-*.tar")))


def in_parquet(folder: Path, directory: Path, compression: str, times: int) -> list[str]:
    """The photos in as many Parquet files as shards, of row groups of 100, with so many links to each; compressed, or
    without compression, as Hugging Face's datasets write images. None of them without pyarrow.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        return []
    directory.mkdir()
    samples = fd.ImageDirectoryDataset(folder).samples
    for number, part in enumerate(np.array_split(np.arange(len(samples)), SHARDS)):
        rows = [samples[row] for row in part.tolist()]
        table = pa.table(
            {"image": [Path(path).read_bytes() for path, _ in rows], "label": [label for _, label in rows]}
        )
        file = directory / f"{number}.parquet"
        parquet.write_table(table, file, row_group_size=100, compression=compression, use_dictionary=False)
        link(file, directory, times)
    return sorted(map(str, directory.glob("*-*.parquet")))


def read_once(paths: Iterable[Path]) -> None:
    """Into the page cache, so that no contestant is the one that waits for the disk."""
    for path in paths:
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass
