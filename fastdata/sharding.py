"""Pack a folder's samples into shards: plan, make way for them, have them written, and publish the dataset.

The dataset's json goes first and comes last, so that what an interrupted run leaves behind is no dataset.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastdata import __version__, manifest
from fastdata.conversion import Conversion, Keep
from fastdata.crew import available_cpus
from fastdata.folder import FolderScan
from fastdata.manifest import Made, Manifest
from fastdata.members import BLOCK, padded
from fastdata.order import EpochOrder
from fastdata.packing import Job, PackError, Progress, Written, extension_of, write_shards
from fastdata.paths import Paths
from fastdata.shard_plan import Division, ShardSize, plan_shards, split_samples
from fastdata.tar import index_path

DEFAULT_DIVISION = ShardSize(10**9)
KEEP = Keep()

_NAME = re.compile(r"\w[\w.-]*")
_PLAIN_NAME = 90  # bytes: a key up to here and its extension surely fit into a member's header
_LONG_NAME = 3 * BLOCK  # of a PAX header for a longer one, which has some hundred bytes at most


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
    in lower case, and `<key>.cls`, its class index in ASCII, if it has a target. Samples keep the folder's order,
    or with `shuffle` are permuted by `seed`: for readers that shuffle in a buffer only; fastdata does not need it.

    `jobs` processes (default: a CPU each) write the same bytes, whatever their number. They are spawned, so a
    script that calls this needs the usual `if __name__ == "__main__":`.

    Raises FileExistsError where output is there already (with `overwrite` it is replaced), PackError for a file
    that is empty, changes or can't be read, ValueError for arguments that don't fit.
    """
    directory = Path(directory)
    split = split or {"train": Fraction(1)}
    _check_names(split)
    found = _found(directory, split, overwrite)
    plans = _plan(scan, directory, split, division, shuffle, seed, jpeg)
    directory.mkdir(parents=True, exist_ok=True)
    _remove(directory, [manifest.manifest_path(directory, name) for name in split])
    every = [job for plan in plans.values() for job in plan]
    written = write_shards(every, available_cpus() if jobs is None else jobs, progress)
    _remove(directory, found.difference(*((job.path, index_path(job.path)) for job in every)))
    manifests = []
    for name, plan in plans.items():
        shards = [written[job.path] for job in plan]
        made = _made(shards, seed, shuffle, split[name], jpeg)
        manifests.append(Manifest(name, tuple(shard.entry for shard in shards), tuple(scan.classes), made))
        manifest.store(manifests[-1], directory)
    return manifests


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} can't name a dataset: use letters, digits, '_', '-' and '.'")


def _found(directory: Path, names: Iterable[str], overwrite: bool) -> set[Path]:
    """The files of earlier runs. FileExistsError that says what they are, unless they may be overwritten."""
    found: set[Path] = set()
    listed = list(directory.iterdir()) if directory.exists() else []
    for name in names:
        # Only names that a run of this dataset gives: `train-small-000000.tar` is another's.
        ours = re.compile(rf"\.?{re.escape(name)}(-\d{{6}}\.(tar|index\.npy|idx)|\.json)(\.[0-9a-f]{{16}}\.tmp)?")
        files = sorted(path for path in listed if ours.fullmatch(path.name))
        json = manifest.manifest_path(directory, name)
        if json in files and not manifest.is_ours(json):
            raise FileExistsError(f"{json} is there already, and not written by fastdata: choose another name")
        if files and not overwrite:
            what = f"{json} is" if json in files else f"of an interrupted run {files[0]} and {len(files) - 1} more are"
            raise FileExistsError(f"{what} there already: --overwrite (overwrite=True) replaces the dataset")
        found.update(files)
    return found


def _plan(
    scan: FolderScan,
    directory: Path,
    split: Mapping[str, Fraction],
    division: Division,
    shuffle: bool,
    seed: int,
    conversion: Conversion,
) -> dict[str, list[Job]]:
    """The shards of each split."""
    sizes = _file_sizes(scan)
    plans: dict[str, list[Job]] = {}
    for name, chosen in split_samples(len(scan), split, seed).items():
        ids = chosen[EpochOrder(len(chosen), shuffle, seed).samples(0, len(chosen))]
        in_tar = np.fromiter((_size_in_tar(scan, i, int(sizes[i])) for i in ids.tolist()), np.int64, len(ids))
        plans[name] = []
        for start, stop in pairwise(plan_shards(in_tar, division).bounds().tolist()):
            of_shard = ids[start:stop].tolist()
            path = directory / f"{name}-{len(plans[name]):06d}.tar"
            files, keys = Paths.of(scan.paths[i] for i in of_shard), [scan.key(i) for i in of_shard]
            plans[name].append(Job(path, scan.root, files, keys, scan.targets[of_shard], sizes[of_shard], conversion))
    return plans


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
    return sizes


def _size_in_tar(scan: FolderScan, i: int, size: int) -> int:
    """Bytes that a sample takes in a tar file, or a little more."""
    key = os.fsencode(scan.key(i))
    header = BLOCK + (0 if key.isascii() and len(key) <= _PLAIN_NAME else _LONG_NAME)
    return header + padded(size) + (header + BLOCK if scan.targets[i] >= 0 else 0)


def _made(shards: Sequence[Written], seed: int, shuffle: bool, fraction: Fraction, jpeg: Conversion) -> Made:
    return Made(
        version=__version__,
        seed=seed,
        shuffle=shuffle,
        split=str(fraction),
        jpeg=str(jpeg),
        source_bytes=sum(shard.source_bytes for shard in shards),
        changed=sum(shard.changed for shard in shards),
        refused=sum(shard.refused for shard in shards),
        image_bytes=sum(shard.image_bytes for shard in shards),
    )


def _remove(directory: Path, files: Iterable[Path]) -> None:
    """Removes the files, for good before anything else is written."""
    for file in files:
        file.unlink(missing_ok=True)
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
