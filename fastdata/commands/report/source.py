"""What a report is of: a dataset, without the shards that can't be opened."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastdata.commands.named import named_shards
from fastdata.commands.opened import datasets_in, opened
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.store import TarImageMapDataset
from fastdata.errors import TarError
from fastdata.sources import manifest
from fastdata.sources.listing import list_shards
from fastdata.sources.urls import is_manifest, is_remote
from fastdata.transforms.steps import CenterCrop, Resize

SIDE = 128
"""Of a thumbnail, in pixels."""

_THUMBNAIL = (Resize(SIDE), CenterCrop(SIDE))


class Fault(NamedTuple):
    """What can't be read: a sample's key ("" of a whole shard), the file or the shard and offset, and the cause."""

    key: str
    where: str
    cause: str


class Source(NamedTuple):
    """Samples by number, their classes (int64, -1 without one), and the shards that are left out since they are broken
    or missing."""

    dataset: ImageDirectoryDataset | TarImageMapDataset
    classes: npt.NDArray[np.int64]
    broken: list[Fault]


def open_source(what: str) -> Source:
    """What a folder, a json, shards or a URL stands for.

    Raises as datasets do where it is not even clear which shards that are, and OSError where it is not the shards that
    are at fault, but a server, a disk or a permission; TarError where not one of the shards can be opened.
    """
    try:
        dataset = opened(what, _THUMBNAIL, target=None)
        return Source(dataset, dataset.class_indexes(), [])
    except (TarError, FileNotFoundError):
        shards = _shards(what)
        if not shards:
            raise
    whole, broken = _sorted_out(shards)
    if not whole:
        raise TarError(f"none of {len(broken):,} shards of {what} can be opened; the first: {broken[0].cause}")
    dataset = TarImageMapDataset(whole, _THUMBNAIL, target=None)
    return Source(dataset, dataset.class_indexes(), broken)


def _shards(what: str) -> list[str]:
    """The shards that are meant, whether or not they can be read; none where it is a folder of images."""
    if Path(what).is_dir():
        return [shard for each in datasets_in(Path(what)) for shard in _shards(str(each))]
    if is_manifest(what) and not is_remote(what):  # some may be missing, which is an error for whoever trains
        return [str(Path(what).parent / entry.url) for entry in manifest.load(Path(what)).shards]
    return list_shards(named_shards(what))[0].shards


def _sorted_out(shards: list[str]) -> tuple[list[str], list[Fault]]:
    """The shards that can be opened, and what is wrong with the others."""
    whole: list[str] = []
    broken: list[Fault] = []
    for shard in shards:
        try:
            TarImageMapDataset(shard, target=None).class_indexes()
            whole.append(shard)
        except (TarError, FileNotFoundError) as error:
            broken.append(Fault("", shard, str(error)))
    return whole, broken
