"""A run in parts, for arrays of jobs (Slurm, Kubernetes) that share nothing but a file system.

Each part plans all by itself, which gives all of them the same table, and writes its own shards with their notes into
the staging folder. When all are there, a commit puts the datasets in their places.
"""

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fastdata.errors import PackError
from fastdata.packing.complete import begin, complete, published_before
from fastdata.packing.engines import Engine, write_shards
from fastdata.packing.journal import finished_of, is_of_another, report_finished
from fastdata.packing.lock import alone, together
from fastdata.packing.origins.source import Source
from fastdata.packing.publish import READY, STAGING, end_tasks, open_staging, refuse_existing
from fastdata.packing.recipe import Recipe
from fastdata.packing.table import PackTable
from fastdata.packing.table_file import table_name
from fastdata.packing.write import Progress
from fastdata.sources.manifest import Manifest

_log = logging.getLogger(__name__)

_PART = re.compile(r"(\d+)/(\d+)", re.ASCII)
_MARK = re.compile(r"of-(\d+)\.part", re.ASCII)
_NAMED = 10  # parts or shards that an error names


@dataclass(frozen=True)
class Part:
    """Part `index` of `count`, from 0: the shards number `index`, `index + count`, …, counted over all datasets."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            allowed = f"from 0/{self.count} to {self.count - 1}/{self.count}" if self.count > 0 else "from 0/1"
            raise ValueError(f"there is no part {self}: parts are {allowed}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, shards: int) -> range:
        """The numbers of this part's shards."""
        return range(self.index, shards, self.count)


class PartDone(NamedTuple):
    """How many shards a part has, how many of them were written just now, and how many all parts have together."""

    part: Part
    shards: int
    written: int
    of_all: int


def parse_part(text: str) -> Part:
    """'3/64' as a part; ValueError for anything else."""
    match = _PART.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no part: write its number, from 0, and how many there are, as 3/64")
    return Part(int(match[1]), int(match[2]))


def pack_part(
    source: Source,
    directory: str | os.PathLike[str],
    recipe: Recipe,
    part: Part,
    engine: Engine,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PartDone:
    """Writes the part's shards that are not finished yet into the staging folder.

    Parts may be packed in any order, at the same time, on any machines, and again. `source` and `recipe` are those of
    the other parts, or their shards don't belong together, which `commit` notices. Raises as `pack`.
    """
    directory, table = begin(source, directory, recipe)
    with together(directory):
        if os.path.lexists(directory / READY):
            raise PackError("an earlier run ended while it put its files in place: commit it (--commit), then go on")
        refuse_existing(directory, [dataset.name for dataset in table.datasets], overwrite)
        staging = open_staging(directory)
        end_tasks(directory, keep=table_name(table))  # which is that of this run's other parts, too
        (staging / f"of-{part.count}.part").touch()
        numbers = part.of(table.num_shards)
        done = finished_of(table, numbers)
        report_finished(table, done, progress)
        written = write_shards(table, [number for number in numbers if number not in done], engine, progress)
    return PartDone(part, len(numbers), len(written), table.num_shards)


def commit(
    source: Source, directory: str | os.PathLike[str], recipe: Recipe, *, overwrite: bool = False
) -> list[Manifest]:
    """Puts the datasets in their places, of which all parts are packed; gives their manifests.

    PackError where shards are missing, which tells the parts to pack again, while a part is being packed, and else as
    `pack`.
    """
    directory, table = begin(source, directory, recipe)
    with alone(directory):
        if made := published_before(directory, table, overwrite=overwrite):
            return made
        staging = directory / STAGING
        if not staging.exists():
            raise PackError(f"there is nothing to commit in {directory}: pack the parts first, by --part 0/8 say")
        open_staging(directory)
        written = finished_of(table, range(table.num_shards))
        if len(written) < table.num_shards:
            raise _incomplete(staging, table, [n for n in range(table.num_shards) if n not in written])
        return complete(directory, table, source, recipe, written)


def _incomplete(staging: Path, table: PackTable, missing: Sequence[int]) -> PackError:
    """The error that tells what to pack again."""
    stale = sum(is_of_another(table.shard(number)) for number in missing)
    why = f", {stale} of them since they were made of other files or options" if stale else ""
    counts = [int(match[1]) for path in staging.iterdir() if (match := _MARK.fullmatch(path.name))]
    if len(counts) == 1:
        what = _listed([f"--part {Part(index, counts[0])}" for index in sorted({n % counts[0] for n in missing})])
    else:
        what = f"the parts of {_listed([table.paths[number].name for number in missing])}"
    return PackError(
        f"{len(missing)} of {table.num_shards} shards are not there{why}: pack {what}, with the same options, and "
        f"commit again"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
