"""Pack a folder's samples into shards: plan, make way for them, have them written, and publish the dataset.

Everything is written into a hidden folder first. Renaming that folder is the decision; then its files are moved to
their places, the json last. So a run that fails or is killed leaves what was there as it was, or, where it ended while
it moved files, the next run finishes that.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastdata import __version__
from fastdata.cpus import available_cpus
from fastdata.epoch.order import EpochOrder
from fastdata.errors import PackError
from fastdata.packing.convert import Conversion, Keep
from fastdata.packing.engines import write_shards
from fastdata.packing.lock import alone
from fastdata.packing.plan import Division, PlannedShard, ShardSize, plan_shards, split_samples
from fastdata.packing.publish import STAGING, finish_interrupted, publish, refuse_existing, staging
from fastdata.packing.write import Progress, Written, extension_of
from fastdata.sources import manifest
from fastdata.sources.folder import FolderScan
from fastdata.sources.manifest import Made, Manifest
from fastdata.sources.paths import Paths
from fastdata.sources.tar import BLOCK, padded

DEFAULT_DIVISION = ShardSize(10**9)
KEEP = Keep()

_NAME = re.compile(r"\w[\w.-]*")
_PLAIN_NAME = 100  # bytes of an ASCII name that still fits into a member's header
_PAX_RECORDS = 64  # bytes: more than the records of a PAX header have besides a name


@dataclass(frozen=True)
class _Recipe:
    """What determines the datasets' bytes besides the samples; see `pack`."""

    split: Mapping[str, Fraction]
    division: Division
    shuffle: bool
    seed: int
    jpeg: Conversion


def pack(
    scan: FolderScan,
    directory: str | os.PathLike[str],
    split: Mapping[str, Fraction] | None = None,
    division: Division = DEFAULT_DIVISION,
    *,
    shuffle: bool = False,
    seed: int = 0,
    jpeg: Conversion = KEEP,
    jobs: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Manifest]:
    """Packs the images of a folder into shards `<name>-000000.tar`, … in `directory`; gives each split's manifest.

    `split` maps names of datasets to the fractions of the samples that they get (default: all to `train`), and
    `division` says how many shards each has. A sample is `<key>.<extension>`, the file's own bytes and extension
    in lower case, and `<key>.cls`, its class index in ASCII, if it has a target. Samples keep the folder's order;
    `shuffle` permutes them by `seed`, for readers that shuffle in a buffer only: fastdata does not need it.

    `jobs` processes (default: a CPU each) write the same bytes, whatever their number. They are spawned, so a
    script that calls this needs the usual `if __name__ == "__main__":`.

    Raises FileExistsError where output is there already (`overwrite` replaces a dataset once the new one is complete),
    ValueError for arguments that don't fit, PackError for a file that is empty, changes or can't be read, for a shard
    that can't be written, and while another process packs into `directory` or hidden files there are not fastdata's.
    """
    directory = Path(directory)
    recipe = _Recipe(split or {"train": Fraction(1)}, division, shuffle, seed, jpeg)
    _check_names(recipe.split)
    if directory.resolve() == Path(scan.root).resolve():
        raise ValueError(f"{directory} is the folder that is packed: give another one for the shards")
    plans = _plan(scan, directory / STAGING, recipe)
    directory.mkdir(parents=True, exist_ok=True)
    with alone(directory):
        finish_interrupted(directory, replaceable=recipe.split if overwrite else ())
        refuse_existing(directory, recipe.split, overwrite)
        with staging(directory) as folder:
            planned = [shard for plan in plans.values() for shard in plan]
            written = write_shards(planned, available_cpus() if jobs is None else jobs, progress)
            manifests = [_manifest(name, scan, recipe, [written[s.path] for s in plan]) for name, plan in plans.items()]
            for made in manifests:
                manifest.store(made, folder)
        publish(directory)
    return manifests


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} can't name a dataset: use letters, digits, '_', '-' and '.'")


def _plan(scan: FolderScan, folder: Path, recipe: _Recipe) -> dict[str, list[PlannedShard]]:
    """The shards of each split, to be written into the folder."""
    sizes = _file_sizes(scan)
    plans: dict[str, list[PlannedShard]] = {}
    for name, chosen in split_samples(len(scan), recipe.split, recipe.seed).items():
        ids = chosen[EpochOrder(len(chosen), recipe.shuffle, recipe.seed).samples(0, len(chosen))]
        in_tar = np.fromiter((_size_in_tar(scan, i, int(sizes[i])) for i in ids.tolist()), np.int64, len(ids))
        bounds = pairwise(plan_shards(in_tar, recipe.division).bounds().tolist())
        plans[name] = [
            _planned(scan, sizes, ids[start:stop], folder / f"{name}-{number:06d}.tar", recipe.jpeg)
            for number, (start, stop) in enumerate(bounds)
        ]
    return plans


def _planned(
    scan: FolderScan, sizes: NDArray[np.int64], ids: NDArray[np.int64], path: Path, jpeg: Conversion
) -> PlannedShard:
    """The shard of these samples."""
    numbers = ids.tolist()
    files, keys = Paths.of(scan.paths[i] for i in numbers), [scan.key(i) for i in numbers]
    return PlannedShard(path, scan.root, files, keys, scan.targets[ids], sizes[ids], jpeg)


def _file_sizes(scan: FolderScan) -> NDArray[np.int64]:
    """Each file's size in bytes; PackError for what is known now to be no image that can be packed."""
    sizes = np.empty(len(scan), np.int64)
    for i in range(len(scan)):
        path = scan.path(i)
        try:
            sizes[i] = Path(path).stat().st_size
        except OSError as error:
            raise PackError(f"{path} can't be read: {error.strerror}") from error
        if not sizes[i]:
            raise PackError(f"{path} is empty: remove it, or get it again")
        if not extension_of(path):
            raise PackError(f"{path} has no extension, by which readers would know it for an image: rename it")
        if extension_of(path) == "cls" and scan.targets[i] >= 0:
            raise PackError(f"{path} has the extension that the class index has in shards: rename it")
    return sizes


def _size_in_tar(scan: FolderScan, i: int, size: int) -> int:
    """Bytes that a sample takes in a tar file as it is, or a little more."""
    key, extension = scan.key(i), extension_of(scan.paths[i])
    image = _header_size(f"{key}.{extension}") + padded(size)
    return image + (_header_size(f"{key}.cls") + BLOCK if scan.targets[i] >= 0 else 0)


def _header_size(name: str) -> int:
    encoded = os.fsencode(name)
    plain = name.isascii() and len(encoded) <= _PLAIN_NAME
    return BLOCK if plain else 2 * BLOCK + padded(len(encoded) + _PAX_RECORDS)


def _manifest(name: str, scan: FolderScan, recipe: _Recipe, shards: Sequence[Written]) -> Manifest:
    """What the dataset `name` consists of, and how it was made."""
    made = Made(
        version=__version__,
        seed=recipe.seed,
        shuffle=recipe.shuffle,
        split=str(recipe.split[name]),
        jpeg=str(recipe.jpeg),
        source_bytes=sum(shard.source_bytes for shard in shards),
        changed=sum(shard.changed for shard in shards),
        refused=sum(shard.refused for shard in shards),
        image_bytes=sum(shard.image_bytes for shard in shards),
    )
    return Manifest(name, tuple(shard.entry for shard in shards), tuple(scan.classes), made)
