"""What it costs to open a dataset by its json, and to read its first batches: for scale.py, a process for each rank.

The datasets are simulated (simulated.py), local and, where nginx is installed, at a URL.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import fastdata as fd
from served import Served, nginx, serving
from simulated import fill, make

MEGABYTE = 10**6
BATCHES, BATCH_SIZE = 8, 64
FILES = 256
COLUMNS = {
    "shards": 9,
    "samples": 13,
    "rank": 7,
    "": 7,
    "open": 8,
    "first": 8,
    "sample": 8,
    "MB": 8,
    "files": 7,
    "requests": 10,
}
HEADING = "\n".join(
    [
        "open: s to open by json, with fingerprint; first: s to the first batch; sample: µs each from then on;",
        f"MB: memory beyond imports; files: descriptors at a time, of {FILES} allowed;",
        f"requests: of opening and {BATCHES} batches of {BATCH_SIZE}",
        "".join(f"{name:>{width}}" for name, width in COLUMNS.items()),
    ]
)


def costs(shards: int, samples: int, ranks: int, folder: Path) -> None:
    """Makes such a dataset, runs the first and the last of so many ranks, and prints a line for each."""
    root = folder / "root"
    root.mkdir(parents=True)
    json = make(root, shards, samples)
    ranks = min(ranks, shards * samples // (BATCHES * BATCH_SIZE))
    with serving(root, folder) if nginx() else nullcontext() as served:
        for rank in (0, ranks - 1):
            picks = islice(iter(dataset_of(str(json), rank, ranks)).run.batches(), BATCHES)
            fill(json, np.concatenate([batch.numbers for batch in picks]))
            size = f"{shards:>9,}{shards * samples:>13,}{rank:>7,}"
            print(f"{size}{'local':>7}{of_process(str(json), ranks, rank)}", flush=True)
            if served is not None:
                print(f"{size}{'URL':>7}{of_url(served, ranks, rank)}", flush=True)


def of_url(served: Served, ranks: int, rank: int) -> str:
    before = served.requests()
    line = of_process(f"{served.url}/train.json", ranks, rank)
    return f"{line}{served.requests() - before - 1:>10,}"


def of_process(url: str, ranks: int, rank: int) -> str:
    """The columns of a rank, with nothing in a cache."""
    with tempfile.TemporaryDirectory() as cache:
        run = subprocess.run(
            [sys.executable, __file__, url, str(ranks), str(rank)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "FASTDATA_CACHE": cache},
        )
    opened, first, sample, grown, files = run.stdout.split()
    return f"{float(opened):>8.2f}{float(first):>8.3f}{float(sample):>8.0f}{float(grown):>8.1f}{files:>7}"


def dataset_of(url: str, rank: int, ranks: int) -> fd.TarImageDataset:
    return fd.TarImageDataset(url, shuffle=True, batch_size=BATCH_SIZE, rank=rank, world_size=ranks, last="drop")


def run(url: str, ranks: int, rank: int) -> None:
    """One rank: opens the dataset, reads its first batches, and prints what that took."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    before, files = memory("VmRSS"), open_files()
    begun = time.perf_counter()
    dataset = dataset_of(url, rank, ranks)
    fingerprint = dataset.fingerprint
    opened = time.perf_counter()
    most, batches = 0, list[Any]()
    first = 0.0
    for batch in islice(iter(dataset), BATCHES):
        first = first or time.perf_counter()
        batches.append(len(batch.keys))
        most = max(most, open_files() - files)
    ended = time.perf_counter()
    assert batches == [BATCH_SIZE] * BATCHES
    assert fingerprint == dataset.fingerprint
    cost = opened - begun, first - opened, (ended - first) / (BATCHES - 1) / BATCH_SIZE * 1e6
    print(*cost, (memory("VmHWM") - before) / MEGABYTE, most)


def memory(what: str) -> int:
    """Bytes that this process has in memory (VmRSS), or had at most (VmHWM); getrusage has its parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) * 1024


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
