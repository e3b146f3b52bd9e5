"""What all ways to pack begin with, and end with: the table of what is written, and the datasets in their places."""

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

from fastdata import __version__
from fastdata.packing.index import sealed_rows, with_index
from fastdata.packing.journal import files_of, fingerprint
from fastdata.packing.origins.source import Source
from fastdata.packing.planning import make_table
from fastdata.packing.publish import STAGING, clear_staging, finish_interrupted, make_ready, publish, refuse_existing
from fastdata.packing.recipe import Recipe
from fastdata.packing.rejects import store_rejects
from fastdata.packing.table import PackTable
from fastdata.packing.write import Rejected, Written
from fastdata.sources import manifest
from fastdata.sources.manifest import Made, Manifest
from fastdata.sources.urls import is_remote, local_folder


def begin(source: Source, directory: str | os.PathLike[str], recipe: Recipe) -> tuple[Path, PackTable]:
    """The folder for the datasets, which is made if need be, and the table of what is written into its staging folder.

    ValueError for a URL of something else than a folder, and for the folder that is packed; raises as `make_table`.
    """
    folder = local_folder(directory)
    if not is_remote(source.scan.root) and folder.resolve() == Path(source.scan.root).resolve():
        raise ValueError(f"{folder} is the folder that is packed: give another one for the shards")
    table = make_table(source, folder / STAGING, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    return folder, table


def published_before(directory: Path, table: PackTable, *, overwrite: bool) -> list[Manifest]:
    """The datasets of the table, where an earlier run of the same ended while it moved them, which is finished now.

    Else [], and FileExistsError where something is there that may not be overwritten. Raises as `finish_interrupted`.
    """
    names = [dataset.name for dataset in table.datasets]
    ended = finish_interrupted(directory, replaceable=names if overwrite else ())
    if ended and ended == {fingerprint(table.shard(number)) for number in range(table.num_shards)}:
        return [manifest.load(manifest.manifest_path(directory, name)) for name in names]
    refuse_existing(directory, names, overwrite)
    return []


def complete(
    directory: Path, table: PackTable, source: Source, recipe: Recipe, written: Mapping[int, Written]
) -> list[Manifest]:
    """Puts the datasets in their places, all shards of which are written, and gives their manifests."""
    staging = directory / STAGING
    clear_staging(directory, files_of(table.paths))
    made = manifests_of(table, source, recipe, written)
    manifests = [with_index(each, staging, lambda entry: sealed_rows(staging / entry.url, entry)) for each, _ in made]
    for each, (_, rejected) in zip(manifests, made, strict=True):
        store_rejects(staging, each.name, rejected)
        manifest.store(each, staging)
    make_ready(directory)
    publish(directory)
    return manifests


def manifests_of(
    table: PackTable, source: Source, recipe: Recipe, written: Mapping[int, Written]
) -> list[tuple[Manifest, list[Rejected]]]:
    """Each dataset's manifest, and what was left out of it."""
    ends = accumulate((shards for _, shards in table.datasets), initial=0)
    made = []
    for (name, _), (start, stop) in zip(table.datasets, pairwise(ends), strict=True):
        shards = [written[number] for number in range(start, stop)]
        rejected = [rejected for shard in shards for rejected in shard.rejected]
        made.append((_manifest(name, source.scan.classes, recipe, shards), rejected))
    return made


def _manifest(name: str, classes: Iterable[str], recipe: Recipe, shards: Sequence[Written]) -> Manifest:
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
        rejected=sum(len(shard.rejected) for shard in shards),
    )
    return Manifest(name, tuple(shard.entry for shard in shards), tuple(classes), made)
