"""Pack a folder's samples into shards: plan, make way for them, have them written, and publish the dataset.

Everything is written into a hidden folder first. Renaming that folder is the decision; then its files are moved to
their places, the json last. So a run that fails or is killed leaves what was there as it was, and its finished shards
in the hidden folder, of which the next run takes those that it would write; or, where it ended while it moved files,
the next run finishes that.
"""

import logging
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
from fastdata.packing.check import can_check
from fastdata.packing.convert import Conversion, Encode, Keep
from fastdata.packing.engines import write_shards
from fastdata.packing.index import with_index
from fastdata.packing.journal import NOTE, files_of, fingerprint, finished
from fastdata.packing.lock import alone
from fastdata.packing.measure import Sizes, measure, sizes_in_tar
from fastdata.packing.plan import Division, PlannedField, PlannedShard, ShardSize, plan_shards, split_samples
from fastdata.packing.publish import (
    STAGING,
    clear_staging,
    finish_interrupted,
    make_ready,
    open_staging,
    publish,
    refuse_existing,
)
from fastdata.packing.source import Source
from fastdata.packing.write import Progress, Written
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources import manifest
from fastdata.sources.content_hash import DEFAULT, Algorithm
from fastdata.sources.folder import FolderScan
from fastdata.sources.manifest import Made, Manifest
from fastdata.sources.paths import Keys
from fastdata.sources.urls import local_folder

DEFAULT_DIVISION = ShardSize(10**9)
KEEP = Keep()

_log = logging.getLogger(__name__)

_NAME = re.compile(r"\w[\w.-]*")
_NAME_OF_SHARD = re.compile(r".*-\d{6}")


@dataclass(frozen=True)
class _Recipe:
    """What determines the datasets' bytes besides the samples; see `pack`."""

    split: Mapping[str, Fraction]
    division: Division
    shuffle: bool
    seed: int
    jpeg: Conversion
    check: bool
    hash: Algorithm


def pack(
    scan: FolderScan | Source,
    directory: str | os.PathLike[str],
    split: Mapping[str, Fraction] | None = None,
    division: Division = DEFAULT_DIVISION,
    *,
    shuffle: bool = False,
    seed: int = 0,
    jpeg: Conversion = KEEP,
    jobs: int | None = None,
    check: bool | None = None,
    hash: Algorithm = DEFAULT,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Manifest]:
    """Packs the images of a folder into shards `<name>-000000.tar`, … in `directory`; gives each split's manifest.

    Further components come with a `Source`, as `collect` makes it. A member's place in its sample is: image, cls, the
    json of a table's columns, then the fields in the order in which they were asked for, their bytes untouched.

    `split` maps names of datasets to the fractions of the samples that they get (default: all to `train`), and
    `division` says how many shards each has. A sample is `<key>.<extension>`, the file's own bytes and extension
    in lower case, and `<key>.cls`, its class index in ASCII, if it has a target. Samples keep the folder's order;
    `shuffle` permutes them by `seed`, for readers that shuffle in a buffer only: fastdata does not need it.

    With `check` (default: where the compiled kernel is there) images are read to their ends, and a shard in which none
    is damaged is noted as checked: whoever decodes a part of one of its images need not do that again. The json has a
    `hash` of each shard, by xxh3_128, or by sha256, which is slower and holds against forgers, too.

    `jobs` processes (default: a CPU each) write the same bytes, whatever their number. They are spawned, so a
    script that calls this needs the usual `if __name__ == "__main__":`.

    A run that fails, or is killed, leaves the shards that it has finished in a hidden folder in `directory`. The same
    call takes those of them that it would write itself, by paths, sizes and times of the files, and writes the rest:
    the dataset is the one of an undisturbed run. What another call has left there is removed.

    Raises FileExistsError where output is there already (`overwrite` replaces a dataset once the new one is complete),
    ValueError for a `directory` that is a URL of something else, and for arguments that don't fit, such as masks beside
    images that `Encode` would shrink, PackError for a file that is empty, changes or can't be read, for a shard that
    can't be written, and while another process packs into `directory` or hidden files there are not fastdata's.
    """
    directory = local_folder(directory)
    source = scan if isinstance(scan, Source) else Source(scan)
    if check and not can_check():
        raise ValueError("check=True needs the compiled kernel, without which this fastdata was installed")
    check = can_check() if check is None else check
    recipe = _Recipe(split or {"train": Fraction(1)}, division, shuffle, seed, jpeg, check, hash)
    _check_names(recipe.split)
    _refuse_conflicts(source, jpeg)
    if directory.resolve() == Path(source.scan.root).resolve():
        raise ValueError(f"{directory} is the folder that is packed: give another one for the shards")
    plans = _plan(source, directory / STAGING, recipe)
    directory.mkdir(parents=True, exist_ok=True)
    with alone(directory):
        ended = finish_interrupted(directory, replaceable=recipe.split if overwrite else ())
        if ended and ended == {fingerprint(shard) for plan in plans.values() for shard in plan}:
            return [manifest.load(manifest.manifest_path(directory, name)) for name in plans]
        refuse_existing(directory, recipe.split, overwrite)
        open_staging(directory)
        written = _write(directory, [shard for plan in plans.values() for shard in plan], jobs, progress)
        manifests = [_manifest(name, source, recipe, [written[s.path] for s in plan]) for name, plan in plans.items()]
        manifests = [with_index(made, directory / STAGING) for made in manifests]
        for made in manifests:
            manifest.store(made, directory / STAGING)
        make_ready(directory)
        publish(directory)
    return manifests


def _write(
    directory: Path, planned: Sequence[PlannedShard], jobs: int | None, progress: Progress | None
) -> dict[Path, Written]:
    """Writes the shards that are not finished yet. What is finished stays, whatever happens to the others."""
    try:
        written = _resume(directory, planned)
        if written and progress is not None:
            done = [shard for shard in planned if shard.path in written]
            progress(sum(len(shard.files) for shard in done), sum(written[shard.path].source_bytes for shard in done))
        missing = [shard for shard in planned if shard.path not in written]
        return written | write_shards(missing, available_cpus() if jobs is None else jobs, progress)
    except BaseException:
        done = [shard for shard in planned if finished(shard)]
        clear_staging(directory, files_of(shard.path for shard in done))
        if done:
            kept = f"{len(done)} of {len(planned)} shards are finished and stay in {directory / STAGING}"
            _log.warning("%s: the same command goes on from there", kept)
        raise


def _resume(directory: Path, planned: Sequence[PlannedShard]) -> dict[Path, Written]:
    """What an earlier run has finished of these shards. All else that it has left is removed."""
    left = list((directory / STAGING).glob(f"*{NOTE}"))
    found = ((shard.path, finished(shard)) for shard in planned) if left else ()
    written = {path: one for path, one in found if one is not None}
    clear_staging(directory, files_of(written))
    open_staging(directory)
    if written:
        _log.info("going on where a run has ended: %d of %d shards are finished", len(written), len(planned))
    if other := len(left) - len(written):
        _log.warning("%d shards that a run has left are of another command or of files that changed: removed", other)
    return written


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} can't name a dataset: use letters, digits, '_', '-' and '.'")
        if _NAME_OF_SHARD.fullmatch(name):
            raise ValueError(f"{name!r} can't name a dataset: a shard could have that name")


def _plan(source: Source, folder: Path, recipe: _Recipe) -> dict[str, list[PlannedShard]]:
    """The shards of each split, to be written into the folder."""
    sizes = measure(source)
    in_tar = sizes_in_tar(source, sizes)
    samples = len(source.scan)
    plans: dict[str, list[PlannedShard]] = {}
    for name, chosen in split_samples(samples, recipe.split, recipe.seed).items():
        ids = chosen[EpochOrder(len(chosen), recipe.shuffle, recipe.seed).samples(0, len(chosen))]
        bounds = pairwise(plan_shards(in_tar[ids], recipe.division).bounds().tolist())
        plans[name] = [
            _planned(source, sizes, ids[start:stop], folder / f"{name}-{number:06d}.tar", recipe)
            for number, (start, stop) in enumerate(bounds)
        ]
    return plans


def _planned(source: Source, sizes: Sizes, ids: NDArray[np.int64], path: Path, recipe: _Recipe) -> PlannedShard:
    """The shard of these samples."""
    scan = source.scan
    files = scan.paths.take(ids)
    keys = Keys(files, scan.keys.apart[ids])
    columns = [source.columns[i] for i in ids.tolist()] if source.columns else ()
    fields = [PlannedField(name, paths.take(ids), sizes.fields[name][ids]) for name, paths in source.fields.items()]
    targets, images, times = scan.targets[ids], sizes.images[ids], sizes.times[ids]
    return PlannedShard(
        path, scan.root, files, keys, targets, images, recipe.jpeg, columns, fields, times, recipe.check, recipe.hash
    )


def _refuse_conflicts(source: Source, jpeg: Conversion) -> None:
    """Raises ValueError for a component that would be there twice, and for what would not fit its image any more."""
    if "cls" in source.fields and (source.scan.targets >= 0).any():
        raise ValueError(
            "classes would come from the field cls, and from folders or a table: choose one (--labels none)"
        )
    if "json" in source.fields and source.columns:
        raise ValueError("a sample has one json: leave out either the field json or the table's columns")
    pictures = [name for name in source.fields if name.rpartition(".")[2] in IMAGE_EXTENSIONS]
    if pictures and isinstance(jpeg, Encode):
        raise ValueError(
            f"{jpeg} turns images upright and shrinks them, and {', '.join(pictures)} would not fit them any more: "
            f"keep the images (--jpeg keep or crop-ready), or resize masks and images before packing"
        )


def _manifest(name: str, source: Source, recipe: _Recipe, shards: Sequence[Written]) -> Manifest:
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
        damaged=sum(shard.damaged for shard in shards),
    )
    return Manifest(name, tuple(shard.entry for shard in shards), tuple(source.scan.classes), made)
