"""A folder of classes, the same in shards, and all that is loaded of them as something to compare."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.shards import TarImageDataset
from fastdata.epoch.orders import orders_of
from fastdata.sources.tars.writer import ShardWriter
from fastdata.transforms.steps import RandomHorizontalFlip, RandomResizedCrop, Step
from support.pictures import encoded, jpeg, photo

TRAIN: list[Step] = [RandomResizedCrop(24), RandomHorizontalFlip()]
SIZES = [(64, 48), (40, 60), (33, 35)]


def write_classes(root: Path) -> Path:
    """Three classes with 4, 7 and 2 images, of several formats, one of them in a folder below its class."""
    number = 0
    for name, count in (("cat", 4), ("dog", 7), ("eel", 2)):
        for i in range(count):
            width, height = SIZES[number % 3]
            path = root / name / ("deep/er" if i == 1 else "") / f"{i:03}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if i == 3:
                path.with_suffix(".PNG").write_bytes(encoded(photo(width, height, number), "PNG"))
            else:
                path.with_suffix(".jpg").write_bytes(jpeg(width, height, number))
            number += 1
    return root


def write_shards(directory: Path, folder: Path, counts: list[int]) -> list[str]:
    """The folder's samples in shards of so many each, in the folder's order."""
    dataset = ImageDirectoryDataset(folder)
    samples = (dataset.read(index) for index in range(len(dataset)))
    paths = []
    for number, count in enumerate(counts):
        paths.append(str(directory / f"part-{number:06}.tar"))
        with ShardWriter(paths[-1]) as shard:
            for _ in range(count):
                sample = next(samples)
                extension = "png" if sample.image.startswith(b"\x89PNG") else "jpg"
                shard.write(sample.key, {extension: sample.image, "cls": str(sample.target).encode()})
    return paths


def one_shard(path: Path, **components: bytes) -> str:
    with ShardWriter(path) as shard:
        shard.write("a/sample", components)
    return str(path)


def everything(dataset: Any, workers: int = 0, context: str | None = None) -> list[tuple[torch.Tensor, int]]:
    """All samples that a DataLoader gives, one by one."""
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, multiprocessing_context=context)
    return [(image.clone(), int(target)) for image, target in loader]


def in_epoch(epoch: int, dataset: Any) -> Any:
    dataset.set_epoch(epoch)
    return dataset


def names(samples: Any) -> list[tuple[bytes, int]]:
    """Samples as something to count."""
    return sorted((image.numpy().tobytes(), target) for image, target in samples)


def order_of(dataset: TarImageDataset) -> np.ndarray:
    orders = orders_of(dataset, dataset.num_samples, dataset.order, dataset.shuffle, dataset.seed)
    return orders.of(dataset.epoch).picks(np.arange(orders.num_positions)).numbers
