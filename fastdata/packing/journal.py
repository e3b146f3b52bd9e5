"""What is finished of a run of packing: a note beside each shard, so that the next run goes on from there.

A note says what the shard was made of, as a fingerprint, and what was made. It is written after the shard, and like
it appears whole: so whatever ends a run, and wherever its parts ran, the notes that are there are true.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from fastdata import __version__
from fastdata.errors import PackError
from fastdata.files import whole_file
from fastdata.packing.plan import PlannedShard
from fastdata.packing.table import PackTable
from fastdata.packing.write import Progress, Written, write_shard
from fastdata.sources.paths import Keys, Paths
from fastdata.sources.regular import read_regular
from fastdata.sources.tars.index import index_path, load
from fastdata.sources.urls import is_remote

_MAX_NOTE = 1 << 26  # bytes: of a shard of which a hundred thousand files could not be packed

NOTE = ".done"
"""What a note's name ends in: `train-000000.done`."""


class Note(Struct, frozen=True):
    """A finished shard."""

    fingerprint: str
    written: Written


def note_path(shard: Path) -> Path:
    """Where a shard's note lies: beside it."""
    return shard.with_suffix(NOTE)


def finish_shard(planned: PlannedShard, report: Progress) -> Written:
    """Writes a shard, and notes that it is finished; raises as `engines.write_shards`."""
    written = write_shard(planned, report)
    note = note_path(planned.path)
    try:
        with whole_file(note) as file:
            file.write(msgspec.json.encode(Note(fingerprint(planned), written)))
    except OSError as error:
        raise PackError(f"{note} can't be written: {error.strerror or error}") from error
    return written


def finished(planned: PlannedShard) -> Written | None:
    """What was made where the shard is there already, made of the same; else None.

    The shard is not read again: its size and the time of its last change are those that its index holds for.
    """
    note = read_note(note_path(planned.path))
    if note is None or note.fingerprint != fingerprint(planned) or planned.path.is_symlink():
        return None
    entry = note.written.entry
    try:
        with planned.path.open("rb") as file:
            same_size = os.fstat(file.fileno()).st_size == entry.filesize
            rows = load(file.fileno(), str(planned.path)) if same_size else None
    except FileNotFoundError:
        return None
    return note.written if rows is not None and len(rows) == entry.nsamples else None


def is_of_another(planned: PlannedShard) -> bool:
    """Whether what was written in the shard's place was made of something else."""
    note = read_note(note_path(planned.path))
    return note is not None and note.fingerprint != fingerprint(planned)


def finished_of(table: PackTable, numbers: Iterable[int]) -> dict[int, Written]:
    """What was made of those of the table's shards that are finished."""
    found = ((number, finished(table.shard(number))) for number in numbers)
    return {number: written for number, written in found if written is not None}


def report_finished(table: PackTable, written: Mapping[int, Written], progress: Progress | None) -> None:
    """Tells the progress of shards that are there already, if there are any."""
    if written and progress is not None:
        files = sum(int(table.bounds[number + 1] - table.bounds[number]) for number in written)
        progress(files, sum(shard.source_bytes for shard in written.values()))


def read_note(path: Path) -> Note | None:
    """The note in a file; None where there is none, or it is no note of this version's."""
    try:
        return msgspec.json.decode(read_regular(os.fspath(path), _MAX_NOTE), type=Note)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def files_of(shards: Iterable[Path]) -> set[Path]:
    """The files of finished shards: each with its index and its note."""
    return {file for shard in shards for file in (shard, index_path(shard), note_path(shard))}


def fingerprint(planned: PlannedShard) -> str:
    """32 hex digits of all that a shard is made of: whatever has the same ones has the same bytes.

    Files count by their paths, sizes and times of last change, as for make and rsync.
    """
    digest = blake2b(digest_size=16)
    root = planned.root if is_remote(planned.root) else os.path.realpath(planned.root)
    where = planned._replace(path=Path(planned.path.name), root=root)
    _feed(digest, (__version__, *where))
    return digest.hexdigest()


def _feed(digest: "blake2b", value: Any) -> None:
    match value:
        case np.ndarray():
            _feed(digest, (str(value.dtype), value.shape, value.tobytes()))
        case Paths():
            _feed(digest, (value.offsets, value.joined))
        case Keys():
            _feed(digest, (value.paths, value.apart))
        case bytes():
            digest.update(b"%d:" % len(value) + value)
        case str() | Path():
            _feed(digest, os.fsencode(value))
        case Sequence():
            _feed(digest, f"{type(value).__name__} of {len(value)}")
            for part in value:
                _feed(digest, part)
        case _:
            _feed(digest, repr(value))  # of a number or a conversion, which says all that it is
