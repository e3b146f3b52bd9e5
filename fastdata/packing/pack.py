"""Pack a folder's samples into shards: plan, make way for them, have them written, and publish the dataset.

Everything is written into a hidden folder first. Renaming that folder is the decision; then its files are moved to
their places, the json last. So a run that fails or is killed leaves what was there as it was, and its finished shards
in the hidden folder, of which the next run takes those that it would write; or, where it ended while it moved files,
the next run finishes that.
"""

import logging
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from fastdata.packing.check import can_check
from fastdata.packing.complete import begin, complete, published_before
from fastdata.packing.convert import Conversion
from fastdata.packing.engines import Engine, Processes, write_shards
from fastdata.packing.journal import NOTE, files_of, finished, finished_of, report_finished
from fastdata.packing.lock import alone
from fastdata.packing.origins.source import Source
from fastdata.packing.plan import Division
from fastdata.packing.publish import STAGING, clear_staging, open_staging
from fastdata.packing.recipe import DEFAULT_DIVISION, KEEP, Recipe
from fastdata.packing.table import PackTable
from fastdata.packing.upload import pack_to_url
from fastdata.packing.write import Progress, Written
from fastdata.sources.folder import FolderScan
from fastdata.sources.manifest import Manifest
from fastdata.sources.tars.content_hash import DEFAULT, Algorithm
from fastdata.sources.urls import is_remote

_log = logging.getLogger(__name__)


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
    ValueError for a `directory` that is a URL of nothing that can be written to, and for arguments that don't fit, such
    as masks beside images that `Encode` would shrink, PackError for a file that is empty, changes its size or can't be
    read, for a shard that can't be written, and while another process packs into `directory` or hidden files there are
    not fastdata's.
    """
    source = scan if isinstance(scan, Source) else Source(scan)
    check = can_check() if check is None else check
    recipe = Recipe(split or {"train": Fraction(1)}, division, shuffle, seed, jpeg, check, hash=hash)
    return pack_by(source, directory, recipe, Processes(jobs), overwrite=overwrite, progress=progress)


def pack_by(
    source: Source,
    directory: str | os.PathLike[str],
    recipe: Recipe,
    engine: Engine,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Manifest]:
    """`pack` by any engine, into a folder or to a URL, see `pack_to_url`.

    With `on_error="skip"` in the recipe files that can't be packed are left out.
    These are counted in the manifest, and named in `<name>.rejects.jsonl` beside it. What is wrong with the machine is
    an error all the same, and so is a shard of which no file is left. Where images are checked, those are left out as
    well that can't be decoded.
    """
    if is_remote(os.fspath(directory)):
        if overwrite:
            raise ValueError(f"nothing is replaced at a URL: delete what is at {directory}, or choose another place")
        return pack_to_url(source, os.fspath(directory), recipe, engine, progress=progress)
    directory, table = begin(source, directory, recipe)
    with alone(directory):
        if made := published_before(directory, table, overwrite=overwrite):
            return made
        open_staging(directory)
        return complete(directory, table, source, recipe, _write(directory, table, engine, progress))


def _write(directory: Path, table: PackTable, engine: Engine, progress: Progress | None) -> dict[int, Written]:
    """Writes the shards that are not finished yet. What is finished stays, whatever happens to the others."""
    numbers = range(table.num_shards)
    try:
        written = _resume(directory, table)
        report_finished(table, written, progress)
        return written | write_shards(table, [n for n in numbers if n not in written], engine, progress)
    except BaseException:
        done = [shard.path for shard in map(table.shard, numbers) if finished(shard)]
        clear_staging(directory, files_of(done))
        if done:
            kept = f"{len(done)} of {len(numbers)} shards are finished and stay in {directory / STAGING}"
            _log.warning("%s: the same command goes on from there", kept)
        raise


def _resume(directory: Path, table: PackTable) -> dict[int, Written]:
    """What an earlier run has finished of these shards. All else that it has left is removed."""
    left = list((directory / STAGING).glob(f"*{NOTE}"))
    written = finished_of(table, range(table.num_shards)) if left else {}
    clear_staging(directory, files_of(table.paths[number] for number in written))
    open_staging(directory)
    if written:
        _log.info("going on where a run has ended: %d of %d shards are finished", len(written), table.num_shards)
    if other := len(left) - len(written):
        _log.warning("%d shards that a run has left are of another command or of files that changed: removed", other)
    return written
