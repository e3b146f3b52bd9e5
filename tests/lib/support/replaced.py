"""Loading while another dataset is put over the files that it reads.

A sample's label says its image's grey level, in the old dataset and in the new one, so that a label of another image is
seen.
"""

import gc
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

import fastdata as fd
from fastdata.errors import SampleError, TarError
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_pattern
from fastdata.sources.tars import index
from support.pictures import encoded

COUNT = 60
NEW = 120  # what is added to each label, and so to each grey level
BEFORE = 5  # batches that are received before anything is replaced

NAMED = (SampleError, TarError, OSError)


def made(root: Path, added: int) -> Path:
    """A dataset of images of one colour each, those of the new one larger, in another order."""
    files = root / "files"
    files.mkdir(parents=True)
    for number in range(COUNT):
        grey = np.full((24, 16 + added // 2, 3), number + added, np.uint8)
        shown = COUNT - number if added else number
        (files / f"{shown:03}-{number + added}.png").write_bytes(encoded(grey, "PNG"))
    pack(scan_pattern(files, "*", lambda path: int(Path(path).stem[4:])), root, division=ShardCount(2), jobs=1)
    for shard in root.glob("*.tar"):
        index.store_index(shard)
    return root


def copied(new: Path, path: Path) -> None:
    shutil.copyfile(new, path)


def renamed(new: Path, path: Path) -> None:
    shutil.copyfile(new, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def cut(_: Path, path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


WAYS: list[Callable[[Path, Path], None]] = [copied, renamed, cut]
FILES = ["train-000000.tar", "train-000001.tar", "train-000000.index.npy", "train.index.npy"]


def batches(loader: str, urls: str) -> Iterator[Any]:
    dataset = fd.TarImageMapDataset(urls, [fd.CenterCrop(8)])
    if loader == "workers":
        iterator: Any = iter(DataLoader(dataset, 2, num_workers=1, collate_fn=fd.collate, prefetch_factor=1))
        try:
            yield from iterator
        finally:  # what the garbage collector ends, after an error, waits 5 seconds for its worker
            iterator._shutdown_workers()
    else:
        yield from fd.Loader(dataset, 2, num_threads=1, decoder="dali" if loader == "dali" else "cpu")


def end(loader: str, urls: str, replace: Callable[[], None], path: Path) -> str:
    """How it ends: "whole", or "named" by an error that says which file; else what is wrong."""
    seen = 0
    try:
        for number, (images, targets) in enumerate(batches(loader, urls)):
            if number == BEFORE:
                replace()
            levels = images.float().mean((1, 2, 3)).tolist()
            if levels != targets.tolist():
                return f"labels {targets.tolist()} of images {levels}"
            seen += len(targets)
    except NAMED as error:
        return "named" if str(path.parent) in str(error) else f"not named: {error}"
    return "whole" if seen == COUNT else f"{seen} of {COUNT} samples"


def main(loader: str, folder: str) -> None:
    """Prints for each file, and each way of replacing it, how loading by "cpu", "dali" or "workers" ended."""
    warnings.simplefilter("ignore")  # an index that is another's is said to be so
    old, new = made(Path(folder) / "old", 0), made(Path(folder) / "new", NEW)
    for name in FILES:
        for way in WAYS:
            used = Path(folder) / "used"
            shutil.copytree(old, used)
            index._memory.clear()
            path = used / name
            urls = str(used / ("train.json" if name == "train.index.npy" else "train-{000000..000001}.tar"))
            if name != "train.index.npy":
                (used / "train.json").unlink()
            ended = end(loader, urls, lambda path=path, way=way: way(new / path.name, path), path)  # type: ignore[misc]
            print(f"{name} {way.__name__}: {ended}", flush=True)
            gc.collect()  # of workers that an error keeps the next ones would know
            shutil.rmtree(used)
