"""A folder to pack that is odd in every way, and what was made of it."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from fastdata.packing import journal
from fastdata.packing.engines import Processes
from fastdata.packing.origins.source import Source
from fastdata.packing.pack import pack_by
from fastdata.packing.plan import ShardCount
from fastdata.packing.planning import make_table
from fastdata.packing.publish import STAGING
from fastdata.packing.recipe import Recipe
from fastdata.packing.table_file import open_table, store_table
from fastdata.packing.write import Progress
from fastdata.sources.shard import Shard

RECIPE = Recipe(division=ShardCount(3), check=False)
LONG = "a folder of a long name, as some data sets have, " * 4


def write_odd_folder(root: Path) -> Path:
    """Class folders with 23 files whose bytes nobody looks at: of many sizes, some with odd names."""
    names = ["ant/1.jpg", "ant/2.JPEG", "ant/a.b.c.png", f"ant/{LONG}/x.jpg", "bee/deep/er/ü.jpg", "bee/same.jpg"]
    names += ["bee/same.png", *(f"cow/{i:02}.jpg" for i in range(16))]
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.bytes(number**3 + 1))
    return root


def packed(source: Source, directory: Path, recipe: Recipe = RECIPE, jobs: int = 1) -> dict[str, bytes]:
    """The files of the dataset that these samples become."""
    pack_by(source, directory, recipe, Processes(jobs))
    return files_of(directory)


def table_of_another_run(source: Source, directory: Path) -> str:
    """What the tasks of a run with other options read, left in its staging folder."""
    return table_of(source, directory, Recipe(division=ShardCount(6), seed=1, shuffle=True))


def table_of(source: Source, directory: Path, recipe: Recipe) -> str:
    """The same of a run by this recipe."""
    staging = directory / STAGING
    staging.mkdir(exist_ok=True)
    return os.fspath(store_table(make_table(source, staging, recipe)))


def files_of(directory: Path) -> dict[str, bytes]:
    """What a dataset consists of: all files, byte for byte."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def keys_of(directory: Path, name: str = "train") -> list[str]:
    shards = [Shard(path) for path in sorted(directory.glob(f"{name}-*.tar"))]
    return [shard.key(row) for shard in shards for row in range(len(shard))]


def losing_a_file_after(count: int, path: Path) -> Progress:
    """A progress that removes `path` once so many files have been read."""
    read = 0

    def progress(files: int, size: int) -> None:
        nonlocal read
        read += files
        if read == count:
            path.unlink()

    return progress


def kill_after(count: int) -> Progress:
    """A progress that kills the process once so many files have been read."""
    read = 0

    def progress(files: int, size: int) -> None:
        nonlocal read
        read += files
        if read >= count:
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


def copy_of(folder: Path, directory: Path) -> Path:
    subprocess.run(["cp", "-r", folder, directory], check=True)
    return directory


def die(*arguments: object) -> None:
    """What a packing process does that dies of all it is given, as for lack of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_the_fourth(place: int, number: int, path: str) -> Any:
    """What a packing process does that dies of the fourth shard, once another has finished the first.

    It lies here since the process imports it by its name, which it can't do of a test's own file.
    """
    planned = open_table(path).shard(number)
    if planned.path.name == "train-000003.tar":
        while not planned.path.with_name("train-000000.done").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return journal.finish_shard(planned, lambda files, size: None)


def die_once_in_the_fourth(path: str, number: int) -> Any:
    """A cluster's task that, of the first to write the fourth shard, kills the worker in the middle of that."""
    planned = open_table(path).shard(number)
    mark = planned.path.parents[2] / "died"

    def die(files: int, size: int) -> None:
        if planned.path.name == "train-000003.tar" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return journal.finish_shard(planned, die)


def die_always(path: str, number: int) -> Any:
    """A cluster's task that kills its worker."""
    os.kill(os.getpid(), signal.SIGKILL)
