"""A dataset appears whole: written into a hidden folder, then moved to its place."""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastdata.errors import PackError
from fastdata.sources import manifest
from fastdata.sources.shard import index_path

_STAGING = ".fastdata-staging"  # in the datasets' directory: what is being written


_READY = ".fastdata-ready"  # what is complete, and being moved to its place


_LOCK = ".fastdata-lock"


_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # from file systems without them


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keeps other processes from packing into the directory; PackError if one does."""
    path = directory / _LOCK
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(directory) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        if not os.fstat(file.fileno()).st_nlink:  # opened just before its last holder removed it
            raise _in_use(directory)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _in_use(directory: Path) -> PackError:
    return PackError(f"another process is packing into {directory}: wait until it is done, or choose another folder")


def _refuse_existing(directory: Path, names: Iterable[str], overwrite: bool) -> None:
    """Raises FileExistsError that says what is there, unless it is a dataset of fastdata's that may be overwritten."""
    for name in names:
        json, files = manifest.manifest_path(directory, name), _files_of(directory, name)
        if json.exists() and not manifest.is_ours(json):
            raise FileExistsError(f"{json} is there already, and not written by fastdata: choose another name")
        if json.exists() and not overwrite:
            raise FileExistsError(f"{json} is there already: --overwrite (overwrite=True) replaces the dataset")
        if files and not json.exists():
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            problem = f"{files[0]}{more} are there already without {json.name}, so maybe not written by fastdata"
            raise FileExistsError(f"{problem}: move them away, or choose another name")


def _files_of(directory: Path, name: str) -> list[Path]:
    """What lies in the directory under names that a dataset's shards have; `train-small-000000.tar` is another's."""
    shard = re.compile(rf"{re.escape(name)}-\d{{6}}\.(tar|index\.npy|idx)")
    return sorted(path for path in directory.iterdir() if shard.fullmatch(path.name))


@contextmanager
def _staging(directory: Path) -> Iterator[None]:
    """An empty folder to write into: ready to be published when the `with` block ends, gone where that raises."""
    staging = directory / _STAGING
    if staging.exists():  # of a run that was killed
        shutil.rmtree(staging)
    staging.mkdir()
    try:
        yield
        _sync(staging)
        staging.rename(directory / _READY)
        _sync(directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)  # the error that led here says more than another
        raise


def _publish(directory: Path) -> None:
    """Moves what is ready to its place, instead of the datasets of these names; run again, goes on where it ended."""
    ready = directory / _READY
    jsons = sorted(ready.glob("*.json"))
    surplus = []
    for json in jsons:
        shards = {entry.url for entry in manifest.load(json).shards}
        kept = shards | {index_path(shard).name for shard in shards}
        surplus += [file for file in _files_of(directory, json.stem) if file.name not in kept]
        (directory / json.name).unlink(missing_ok=True)
    _sync(directory)
    for file in surplus:
        file.unlink()
    for file in sorted(set(ready.iterdir()).difference(jsons)):
        file.replace(directory / file.name)
    _sync(directory)
    for json in jsons:
        json.replace(directory / json.name)
    _sync(directory)
    ready.rmdir()


def _sync(directory: Path) -> None:
    """What was written, renamed and removed in the directory is so for good."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
