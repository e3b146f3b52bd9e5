"""Photos with fields of every kind, in a folder and in shards; some of them are turned by EXIF orientation."""

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import fastdata as fd
from fastdata.sources.tars.writer import ShardWriter
from support.parquets import write_columns
from support.pictures import encoded, photo

COUNT, SEED = 11, 5
TRAIN = [fd.RandomResizedCrop(24), fd.RandomHorizontalFlip()]
SIZES = [(64, 48), (40, 60), (33, 35)]
FIELDS: dict[str, Any] = {
    "mask": fd.Mask("seg.png"),
    "objects": fd.Boxes("json", "objects.bbox", "xywh", "objects.category"),
    "boxes": fd.Boxes("json", "objects.bbox", "xywh"),
    "points": fd.Points("npy", flip_pairs=[(0, 1)]),
    "caption": "txt",
    "id": fd.Json("json", "id"),
    "raw": fd.Raw("txt"),
}


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def mask_of(number: int) -> Any:
    width, height = SIZES[number % 3]
    return np.random.default_rng(number).integers(1, 200, (height, width), np.uint8)


def components(number: int) -> dict[str, bytes]:
    """A sample; some have images that EXIF orientation turns, and one is a PNG in spite of its name."""
    width, height = SIZES[number % 3]
    rng = np.random.default_rng(number)
    boxes = [
        [float(rng.integers(0, width - 9)), float(rng.integers(0, height - 9)), 9.0, 7.0] for _ in range(number % 4)
    ]
    meta = {"id": number, "objects": {"bbox": boxes, "category": list(range(len(boxes)))}}
    orientation = 6 if number % 5 == 3 else 3 if number % 5 == 4 else 1
    return {
        "jpg": encoded(photo(width, height, number), "PNG" if number == 7 else "JPEG", orientation=orientation),
        "seg.png": encoded(mask_of(number), "PNG", mode="L"),
        "json": json.dumps(meta).encode(),
        "npy": npy(rng.uniform(0, (width, height), (3, 2))),
        "txt": f"photo {number}".encode(),
        "idx": b"%d" % number,
    }


def key(number: int) -> str:
    return f"a/{number:03}"


def write_folder(root: Path) -> Path:
    (root / "a").mkdir()
    for number in range(COUNT):
        for extension, data in components(number).items():
            (root / f"{key(number)}.{extension}").write_bytes(data)
    return root


def write_shards(root: Path) -> list[str]:
    """Two shards, and an empty one between them."""
    for name, numbers in (("0", range(4)), ("1", range(0)), ("2", range(4, COUNT))):
        with ShardWriter(root / f"{name}.tar") as shard:
            for number in numbers:
                shard.write(key(number), components(number))
    return [str(root / f"{name}.tar") for name in "012"]


def write_parquet(root: Path) -> list[str]:
    """Two files of two row groups each, with a column for each component."""
    for name, numbers in (("0", range(5)), ("1", range(5, COUNT))):
        columns: dict[str, list[Any]] = {"__key__": [key(number) for number in numbers]}
        for number in numbers:
            for extension, data in components(number).items():
                columns.setdefault(extension, []).append(data)
        write_columns(root / f"{name}.parquet", columns)
    return [str(root / f"{name}.parquet") for name in "01"]


def plain(value: Any) -> Any:
    """Something to compare."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, torch.Tensor | np.ndarray):
        return str(value.dtype).removeprefix("torch."), value.tolist()
    return value


class Annotated(NamedTuple):
    """The same samples in a folder and in shards."""

    folder: Path
    shards: list[str]

    def of_folder(self, fields: Any) -> fd.ImageDirectoryDataset:
        return fd.ImageDirectoryDataset(self.folder, "**/*.jpg", TRAIN, None, SEED, fields=fields)

    def of_shards(self, fields: Any) -> fd.TarImageMapDataset:
        return fd.TarImageMapDataset(self.shards, TRAIN, target=fields, seed=SEED)
