"""Shards at a URL: what a run leaves there while it goes on, and how a shard gets there.

A dataset's files lie at the URL itself. What belongs to the run lies below `.fastdata/` there, in a folder named by the
table's hash: the table itself, which every worker fetches, and a note of each shard that is whole, as `journal` has
them in a local folder. An object store has no folder that could be renamed and no lock. So the datasets' jsons come
last, each made only where there is none, and before anything else a mark is made likewise, of which table they are.
"""

import functools
import json
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np

from fastdata.errors import PackError
from fastdata.packing.index import sealed_rows
from fastdata.packing.journal import NOTE, Note, fingerprint
from fastdata.packing.plan import PlannedShard
from fastdata.packing.table import PackTable
from fastdata.packing.table_file import TABLE, open_table
from fastdata.packing.write import Progress, Written, write_shard
from fastdata.sources.manifest import ShardEntry
from fastdata.sources.stores.storage import storage_of
from fastdata.sources.tars.rows import Rows, are_within, dtype_of, extensions

RUNS = ".fastdata"
"""The folder of runs, at the URL of the datasets."""

_MARK = ".run"
_ROWS = ".npy"  # behind a shard's name: its rows


def table_url(base: str, digest: str) -> str:
    """Where the table lies of a run that writes to `base`."""
    return f"{base}/{RUNS}/{digest}/{digest}{TABLE}"


def _base_of(table: str) -> str:
    return table.rsplit("/", 3)[0]


def claim(base: str, name: str, digest: str) -> None:
    """Marks the dataset `name` as one that a run of this table makes. FileExistsError where it is another's.

    A run of the same table may be there, too, earlier or now: both write the same bytes.
    """
    url = f"{base}/{RUNS}/{name}{_MARK}"
    storage = storage_of(url)
    mark = {"table": digest, "token": secrets.token_hex(16)}
    if storage.put_if_absent(url, json.dumps(mark).encode("ascii")):
        return
    (content,) = storage.get_ranges(url, [(0, storage.size(url))])
    try:
        theirs = json.loads(bytes(content))["table"]
    except (ValueError, KeyError, TypeError):
        theirs = None
    if theirs != digest:
        raise FileExistsError(
            f"{url} says that another run packs {name!r} there, of other files or with other options, or has begun to: "
            f"choose another name or place, or delete {base}/{RUNS} and what it has written"
        )


def upload_shard(table: str, number: int, report: Progress) -> Written:
    """Writes a shard of the table at that URL, and puts it, its rows for the index and its note in their places.

    OSError that names the URL where a store doesn't take or give what it should; raises as `write_shard`, too.
    """
    base, storage = _base_of(table), storage_of(table)
    with tempfile.TemporaryDirectory(prefix="fastdata-") as folder:
        planned = _fetched(table).shard(number)
        planned = planned._replace(path=Path(folder) / planned.path.name)
        written = write_shard(planned, report)
        storage.put_file(planned.path, f"{base}/{planned.path.name}")
        rows = planned.path.with_suffix(_ROWS)
        np.save(rows, sealed_rows(planned.path, written.entry), allow_pickle=False)
        storage.put_file(rows, f"{table.rpartition('/')[0]}/{rows.name}")
        note = planned.path.with_suffix(NOTE)
        note.write_bytes(msgspec.json.encode(Note(fingerprint(planned), written)))
        storage.put_file(note, f"{table.rpartition('/')[0]}/{note.name}")
    return written


@functools.lru_cache(maxsize=1)
def _fetched(url: str) -> PackTable:
    """The table at a URL, of which a map stays when its file is gone."""
    with tempfile.TemporaryDirectory(prefix="fastdata-") as folder:
        path = Path(folder) / url.rpartition("/")[2]
        storage_of(url).get_file(url, path)
        return open_table(str(path))


def uploaded(table: str, shards: Iterable[PlannedShard]) -> dict[int, Written]:
    """What was made of these shards, by their places among them, where they are there already."""
    base, storage = _base_of(table), storage_of(table)
    folder = table.rpartition("/")[0]
    notes = {url.rpartition("/")[2]: (url, size) for url, size in storage.list(folder) if url.endswith(NOTE)}
    if not notes:
        return {}
    sizes = {url.rpartition("/")[2]: size for url, size in storage.list(base) if url.endswith(".tar")}
    written = {}
    for number, planned in enumerate(shards):
        url, size = notes.get(planned.path.with_suffix(NOTE).name, ("", 0))
        if not url:
            continue
        note = _note_in(bytes(storage.get_ranges(url, [(0, size)])[0]), url)
        entry = note.written.entry
        if note.fingerprint == fingerprint(planned) and sizes.get(planned.path.name) == entry.filesize:
            written[number] = note.written
    return written


def fetched_rows(table: str, entry: ShardEntry, scratch: Path) -> Rows:
    """The rows of a shard that is there; their file stays in the scratch folder. PackError where it has none such."""
    name = str(Path(entry.url).with_suffix(_ROWS))
    url, path = f"{table.rpartition('/')[0]}/{name}", scratch / name
    if not path.exists():
        storage_of(url).get_file(url, path)
    try:
        rows: Rows = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy's parsing of a damaged header raises whatever Python's own does
        raise PackError(f"{url} is damaged: delete it and the note beside it, and pack again") from error
    known = rows.ndim == 1 and rows.dtype == dtype_of(list(extensions(rows)), True)
    if not known or len(rows) != entry.nsamples or not are_within(rows, entry.filesize):
        raise PackError(f"{url} has not the rows of {entry.url}: delete it and the note beside it, and pack again")
    return rows


def _note_in(content: bytes, url: str) -> Note:
    try:
        return msgspec.json.decode(content, type=Note)
    except msgspec.MsgspecError as error:
        raise PackError(f"{url} is no note of this version of fastdata's ({error}): delete it") from None
