"""A dataset from what a command line names: a folder of images, a dataset's json, shards."""

from pathlib import Path
from typing import Literal

from fastdata.datasets.base import Transforms
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.store import TarImageMapDataset
from fastdata.sample import IMAGE_EXTENSIONS


def opened(
    what: str, transform: Transforms, target: str | None = None, seed: int = 0
) -> ImageDirectoryDataset | TarImageMapDataset:
    """Samples by number. A folder with shards in it stands for these; its folders are classes where no image lies
    directly in it. `target` is a component instead of the class. Raises as the datasets."""
    if not Path(what).is_dir():
        return TarImageMapDataset(what, transform, target=target or "cls", seed=seed)
    if any(Path(what).glob("*.tar")):
        return TarImageMapDataset(sorted(Path(what).glob("*.tar")), transform, target=target or "cls", seed=seed)
    loose = any(path.suffix[1:].lower() in IMAGE_EXTENSIONS for path in Path(what).iterdir())
    labels: Literal["folder"] | None = None if loose else "folder"
    return ImageDirectoryDataset(what, None, transform, labels, seed, fields=target)
