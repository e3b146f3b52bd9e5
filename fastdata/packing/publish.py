"""A dataset appears whole: it is written into a hidden folder, and moved to its place when it is complete.

Nothing that lies in the datasets' directory chooses what is replaced: links are not followed, and a hidden folder that
an earlier run has left is looked through before anything in it is moved.
"""

import os
import re
import stat
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from fastdata.errors import PackError
from fastdata.packing.journal import NOTE, read_note
from fastdata.packing.rejects import rejects_path
from fastdata.packing.table_file import TABLE
from fastdata.sources import manifest
from fastdata.sources.tars.index import index_path

STAGING = ".fastdata-staging"
"""The folder of what is being written, in the datasets' directory."""

READY = ".fastdata-ready"
"""The folder of what is complete, and being moved to its place."""

_OF_DATASET = r"{}(-\d{{6}}\.(tar|index\.npy|idx)|\.index\.npy|\.rejects\.jsonl)"  # its files besides the json
_WRITTEN = re.compile(
    r"(?P<hidden>\.)?[\w.-]+\.(tar|index\.npy|json|jsonl|done|plan|part)(?(hidden)\.[0-9a-f]{16}\.tmp)"
)


def refuse_existing(directory: Path, names: Iterable[str], overwrite: bool) -> None:
    """Raises FileExistsError that says what is there, unless it is a dataset of fastdata's that may be overwritten."""
    for name in names:
        json, files = manifest.manifest_path(directory, name), _shard_files(directory, name)
        if _is_there(json) and not manifest.is_ours(json):
            raise FileExistsError(f"{json} is there already, and not written by fastdata: choose another name")
        if _is_there(json) and not overwrite:
            raise FileExistsError(f"{json} is there already: --overwrite (overwrite=True) replaces the dataset")
        if files and not _is_there(json):
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            problem = f"{files[0]}{more} are there already without {json.name}, so maybe not written by fastdata"
            raise FileExistsError(f"{problem}: move them away, or choose another name")


def open_staging(directory: Path) -> Path:
    """The folder to write into, with what an earlier run has left there. PackError where another left anything."""
    folder = directory / STAGING
    for path in _entries(folder):
        if not _WRITTEN.fullmatch(path.name):
            raise _strange(path)
    folder.mkdir(exist_ok=True)
    return folder


def clear_staging(directory: Path, keep: Collection[Path]) -> None:
    """Removes from the folder what is not to be kept; and the folder itself where that is all.

    Tables go first: a task of another run either finds its table gone, or has begun to write what is removed next.
    """
    folder = directory / STAGING
    end_tasks(directory)
    while surplus := [path for path in folder.iterdir() if path not in keep]:
        for path in surplus:
            path.unlink(missing_ok=True)  # such a task may have renamed or removed it
    if not keep:
        folder.rmdir()


def end_tasks(directory: Path, keep: str | None = None) -> None:
    """Removes all tables from the folder but the one of that name: tasks of other runs that come late write nothing."""
    for path in (directory / STAGING).glob(f"*{TABLE}"):
        if path.name != keep:
            path.unlink(missing_ok=True)  # another part of the run does the same


def make_ready(directory: Path) -> None:
    """Decides that what was written is what shall be published, whatever happens from now on."""
    _sync(directory / STAGING)
    (directory / STAGING).rename(directory / READY)
    _sync(directory)


def publish(directory: Path) -> None:
    """Moves what is ready to its place, instead of the datasets of these names."""
    ready = directory / READY
    jsons = sorted(ready.glob("*.json"))
    surplus = _surplus(directory, jsons)
    for json in jsons:
        (directory / json.name).unlink(missing_ok=True)
    _sync(directory)
    for file in surplus:
        file.unlink()
    for name in _indexes_of_shards(file.name for file in ready.iterdir()):
        (ready / name).unlink(missing_ok=True)
    notes = [file for file in ready.iterdir() if file.suffix == NOTE]
    for file in sorted(set(ready.iterdir()).difference(jsons, notes)):
        file.replace(directory / file.name)
    _sync(directory)
    for json in jsons:
        json.replace(directory / json.name)
    _sync(directory)
    for note in notes:
        note.unlink()
    ready.rmdir()


def finish_interrupted(directory: Path, replaceable: Collection[str]) -> set[str]:
    """Publishes what a run has left that ended while it moved its files; gives the fingerprints of its shards.

    Only the datasets of the names in `replaceable` may lose files by that. PackError where others would, or where the
    folder holds what no run of fastdata's has put there.
    """
    ready = directory / READY
    if not _is_there(ready):
        return set()
    entries = _entries(ready)
    notes = [file for file in entries if file.suffix == NOTE]  # of datasets whose json has its place already, too
    jsons = [file for file in entries if file.suffix == ".json"]
    expected = {name for json in jsons for name in _names_in(json)}
    files = [file for file in entries if file.name in expected]
    for file in entries:
        if file not in files and file.suffix != NOTE and file.name not in _indexes_of_shards(expected):
            raise _strange(file)
    replaced = [path for file in files if _is_there(path := directory / file.name)]
    lost = replaced + _surplus(directory, jsons)
    kept = [path for path in lost if not any(_belongs(path, name) for name in replaceable)]
    if kept:
        raise PackError(
            f"an earlier run ended while it put {', '.join(json.stem for json in jsons)} in place, and to finish it "
            f"would replace {kept[0]}: pack that dataset again with --overwrite (overwrite=True), or remove {ready}"
        )
    fingerprints = {note.fingerprint for file in notes if (note := read_note(file)) is not None}
    publish(directory)
    return fingerprints


def _names_in(json: Path) -> list[str]:
    """The names of a dataset's files: its json, its index, its shards, and the list of what it lacks."""
    found = manifest.load(json)
    shards = [entry.url for entry in found.shards]
    if found.name != json.stem or not all(_belongs(Path(shard), found.name) for shard in shards):
        raise _strange(json)
    rejects = [rejects_path(json.parent, found.name).name] if found.made.rejected else []
    return [json.name, *rejects, *shards, *([manifest.index_name(found.name)] if found.index else [])]


def _indexes_of_shards(names: Iterable[str]) -> set[str]:
    """The indexes of the shards among these files: of them the dataset's was made, so they have served."""
    return {index_path(name).name for name in names if name.endswith(".tar")}


def _surplus(directory: Path, jsons: Iterable[Path]) -> list[Path]:
    """The files in the directory of shards that datasets of these names no longer have."""
    surplus = []
    for json in jsons:
        names = set(_names_in(json))
        surplus += [file for file in _shard_files(directory, json.stem) if file.name not in names]
    return surplus


def _shard_files(directory: Path, name: str) -> list[Path]:
    """What lies in the directory under names that a dataset's shards have; `train-small-000000.tar` is another's."""
    shard = re.compile(_OF_DATASET.format(re.escape(name)))
    return sorted(path for path in directory.iterdir() if shard.fullmatch(path.name))


def _belongs(path: Path, name: str) -> bool:
    """Whether a file of that name is one of the dataset `name`."""
    return path.name == f"{name}.json" or re.fullmatch(_OF_DATASET.format(re.escape(name)), path.name) is not None


def _entries(folder: Path) -> list[Path]:
    """What lies in a hidden folder of ours; PackError unless it is a folder and all in it are regular files."""
    if not _is_there(folder):
        return []
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise PackError(f"{folder} is a link or no folder, so it is not of a run of fastdata's: remove it")
    entries = sorted(folder.iterdir())
    for entry in entries:
        with suppress(FileNotFoundError):  # another part of the run has renamed what it had under a temporary name
            if not stat.S_ISREG(entry.lstat().st_mode):
                raise _strange(entry)
    return entries


def _strange(path: Path) -> PackError:
    return PackError(
        f"{path} is not what an interrupted run of fastdata's leaves there: move it away if you need it, and remove "
        f"{path.parent}"
    )


def _is_there(path: Path) -> bool:
    """Whether anything has that name, a link to nothing too."""
    return os.path.lexists(path)


def _sync(directory: Path) -> None:
    """What was written, renamed and removed in the directory is so for good."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
