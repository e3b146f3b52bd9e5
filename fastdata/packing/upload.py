"""Pack to a URL: each shard is written to a local scratch folder, and put in its place when it is whole."""

import logging
import re
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fastdata.errors import PackError
from fastdata.packing.complete import manifests_of
from fastdata.packing.engines import Engine, write_shards
from fastdata.packing.index import with_index
from fastdata.packing.journal import report_finished
from fastdata.packing.origins.source import Source
from fastdata.packing.planning import make_table
from fastdata.packing.recipe import Recipe
from fastdata.packing.rejects import rejects_path, store_rejects
from fastdata.packing.remote import RUNS, claim, fetched_rows, table_url, uploaded
from fastdata.packing.table import PackTable
from fastdata.packing.table_file import store_table
from fastdata.packing.write import Progress, Rejected
from fastdata.sources import manifest
from fastdata.sources.manifest import Manifest
from fastdata.sources.stores.storage import storage_of

_log = logging.getLogger(__name__)


def pack_to_url(
    source: Source, url: str, recipe: Recipe, engine: Engine, *, progress: Progress | None = None
) -> list[Manifest]:
    """`pack_by` into the folder at a URL: shards, and last each dataset's index and json.

    Workers need room for a shard each where Python's tempfile keeps its files (TMPDIR), and see the source; they need
    share nothing else. A run that fails or is killed is finished by the same call, from anywhere, which writes only
    what is missing. What a run has noted stays below `.fastdata/` at the URL, and can be deleted when it is done.

    FileExistsError where all these datasets are there, or one that another run made or makes: nothing is replaced.
    OSError that names the URL where the store doesn't take what it should, ImportError that names what reads such URLs;
    else raises as `pack_by`.
    """
    base = url.rstrip("/")
    if base == source.scan.root:
        raise ValueError(f"{base} is the folder that is packed: give another one for the shards")
    with tempfile.TemporaryDirectory(prefix="fastdata-") as scratch:
        table = make_table(source, Path(scratch), recipe)
        file = store_table(table)
        there = table_url(base, file.stem)
        _refuse_existing(base, table, file.stem)
        for name, _ in table.datasets:
            claim(base, name, file.stem)
        storage_of(base).put_file(file, there)
        numbers = range(table.num_shards)
        written = uploaded(there, map(table.shard, numbers))
        if written:
            _log.info("going on where a run has ended: %d of %d shards are finished", len(written), len(numbers))
        report_finished(table, written, progress)
        missing = [number for number in numbers if number not in written]
        written |= write_shards(table, missing, engine, progress, where=there)
        made = []
        for each, rejected in manifests_of(table, source, recipe, written):
            made.append(with_index(each, Path(scratch), partial(fetched_rows, there, scratch=Path(scratch))))
            _publish(base, made[-1], rejected, Path(scratch))
    return made


def _refuse_existing(base: str, table: PackTable, digest: str) -> None:
    """FileExistsError where datasets of all these names are there, or what is of one that no run of ours marked.

    Some of them may be there where they are this run's, which was killed between two.
    """
    there = {found.removeprefix(f"{base}/") for found, _ in storage_of(base).list(base)}
    jsons = [f"{name}.json" for name, _ in table.datasets]
    for name, _ in table.datasets:
        is_marked = f"{RUNS}/{name}.run" in there
        if f"{name}.json" in there and (there.issuperset(jsons) or not is_marked):
            raise FileExistsError(f"{base}/{name}.json is there already: choose another name or place, or delete it")
        if f"{name}.json" in there:
            claim(base, name, digest)
        shards = [file for file in there if re.fullmatch(rf"{re.escape(name)}-\d{{6}}\.tar", file)]
        if shards and not is_marked:
            problem = f"{base}/{min(shards)} is there already, and no run of fastdata's has marked it"
            raise FileExistsError(f"{problem}: choose another name or place, or delete it")


def _publish(base: str, made: Manifest, rejected: Sequence[Rejected], scratch: Path) -> None:
    """Puts a dataset's json in its place, which makes it one."""
    storage, url = storage_of(base), f"{base}/{made.name}.json"
    store_rejects(scratch, made.name, rejected)
    for file in (rejects_path(scratch, made.name), scratch / manifest.index_name(made.name)):
        if file.exists():
            storage.put_file(file, f"{base}/{file.name}")
    content = manifest.store(made, scratch).read_bytes()
    if storage.put_if_absent(url, content):
        return
    (theirs,) = storage.get_ranges(url, [(0, storage.size(url))])
    if bytes(theirs) != content:
        raise PackError(f"{url} came to be while this run packed, and is of another: both write the same names")
