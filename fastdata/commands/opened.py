"""A dataset from what a command line names: a folder of images, a dataset's json, shards."""

from pathlib import Path
from typing import Literal

from fastdata.datasets.base import Transforms
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.fields import Target
from fastdata.datasets.store import TarImageMapDataset
from fastdata.sample import IMAGE_EXTENSIONS


def opened(
    what: str, transform: Transforms, target: Target = "cls", seed: int = 0, pattern: str | None = None
) -> ImageDirectoryDataset | TarImageMapDataset:
    """Samples by number. A folder with shards in it stands for these; its folders are classes where no image lies
    directly in it. `target` is what datasets take, by default the class; with None of shards nothing but the image is
    read. `pattern` says which files of a folder are images. Raises as the datasets, ValueError for a pattern of shards.
    """
    if pattern is not None and (not Path(what).is_dir() or any(Path(what).glob("*.tar"))):
        raise ValueError(f"a pattern says which files of a folder are images, and {what} stands for shards")
    if not Path(what).is_dir():
        return TarImageMapDataset(what, transform, target=target, seed=seed)
    if any(Path(what).glob("*.tar")):
        return TarImageMapDataset(sorted(Path(what).glob("*.tar")), transform, target=target, seed=seed)
    labels: Literal["folder"] | None = None if has_loose_images(what) else "folder"
    return ImageDirectoryDataset(what, pattern, transform, labels, seed, fields=None if target == "cls" else target)


def has_loose_images(folder: str) -> bool:
    """Whether images lie directly in it, so that its folders are no classes."""
    return any(path.suffix[1:].lower() in IMAGE_EXTENSIONS for path in Path(folder).iterdir())
