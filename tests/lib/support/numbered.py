"""A folder of small numbered photos, and shards of the same, whose targets tell which sample is which."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.shards import TarImageDataset
from fastdata.sources.tars.writer import ShardWriter
from fastdata.transforms.steps import RandomHorizontalFlip, RandomResizedCrop, Step
from support.pictures import encoded, jpeg, photo

TRAIN: list[Step] = [RandomResizedCrop(24), RandomHorizontalFlip()]
SIZES = [(64, 48), (40, 60), (33, 35)]
COUNT = 37


def image(number: int) -> tuple[str, bytes]:
    """Extension and contents of a sample: mostly JPEG."""
    width, height = SIZES[number % 3]
    if number % 9 == 4:
        return "png", encoded(photo(width, height, number), "PNG")
    return "jpg", jpeg(width, height, number, **({"orientation": 6} if number % 9 == 5 else {}))


def write_folder(root: Path, count: int = COUNT) -> Path:
    """`000.jpg` and so on."""
    root.mkdir(exist_ok=True)
    for number in range(count):
        extension, data = image(number)
        (root / f"{number:03}.{extension}").write_bytes(data)
    return root


def write_shards(root: Path, counts: Sequence[int] = (10, 0, 26, 1)) -> list[str]:
    """The same samples, in shards of so many each."""
    root.mkdir(exist_ok=True)
    numbers = iter(range(sum(counts)))
    for shard_number, count in enumerate(counts):
        with ShardWriter(root / f"part-{shard_number:06}.tar") as shard:
            for number in (next(numbers) for _ in range(count)):
                extension, data = image(number)
                shard.write(f"{number:03}", {extension: data, "cls": b"%d" % number})
    return [str(path) for path in sorted(root.glob("*.tar"))]


def number_of(path: str) -> int:
    return int(Path(path).stem)


def map_style(root: Path, **options: Any) -> ImageDirectoryDataset:
    """The folder's samples, of which number i has the target i."""
    options = {"transform": TRAIN, "seed": 5, **options}
    return ImageDirectoryDataset(root, pattern="*", labels=number_of, **options)


def iterable(shards: list[str], **options: Any) -> TarImageDataset:
    """The shards' samples, likewise."""
    options = {"transform": TRAIN, "seed": 5, **options}
    return TarImageDataset(shards, **options)
