"""A dataset from what a command line names: a folder of images, a dataset's json, shards."""

from pathlib import Path
from typing import Literal

from fastdata.commands.loose import has_loose_images
from fastdata.commands.named import named_shards
from fastdata.datasets.base import Transforms
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.fields import Target
from fastdata.datasets.store import TarImageMapDataset
from fastdata.sources import manifest


def opened(
    what: str, transform: Transforms, target: Target = "cls", seed: int = 0, pattern: str | None = None
) -> ImageDirectoryDataset | TarImageMapDataset:
    """Samples by number. A folder with shards in it stands for `datasets_in` it; without any its folders are classes
    where no image lies directly in it. `target` is what datasets take, by default the class; with None of shards
    nothing but the image is read. `pattern` says which files of a folder are images. Raises as the datasets, ValueError
    for a pattern of shards.
    """
    if pattern is not None and (not Path(what).is_dir() or any(Path(what).glob("*.tar"))):
        raise ValueError(f"a pattern says which files of a folder are images, and {what} stands for shards")
    shards = datasets_in(Path(what)) if Path(what).is_dir() else named_shards(what)
    if shards:
        return TarImageMapDataset(shards, transform, target=target, seed=seed)
    has_classes = any(path.is_dir() for path in Path(what).iterdir()) and not has_loose_images(what)
    labels: Literal["folder"] | None = "folder" if has_classes else None
    return ImageDirectoryDataset(what, pattern, transform, labels, seed, fields=None if target == "cls" else target)


def datasets_in(folder: Path) -> list[Path]:
    """The jsons that fastdata wrote in a folder with shards, which say what must be there, and the shards that none of
    them lists; nothing where there are no shards. ManifestError for a damaged json."""
    shards = sorted(folder.glob("*.tar"))
    jsons = [file for file in sorted(folder.glob("*.json")) if manifest.is_ours(file)] if shards else []
    listed = {entry.url for file in jsons for entry in manifest.load(file).shards}
    return [*jsons, *(shard for shard in shards if shard.name not in listed)]
