"""A dataset of very many shards, simulated: what it costs to open it by its json, and to read its first batches.

Its shards are symbolic links to one shard. Of its index the chunks are written that the run needs, and the rest is a
hole; the hashes are those of a whole one. Each rank is a process of its own, which may have 256 files open.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg
from xxhash import xxh3_64_intdigest

from fastdata.datasets.shards import TarImageDataset
from fastdata.sources import manifest
from fastdata.sources.manifest import Made, Manifest, ShardEntry
from fastdata.sources.tars.index_file import crc_of, load
from fastdata.sources.tars.index_layout import CHUNK, Layout
from fastdata.sources.tars.rows import Rows, extensions
from fastdata.sources.tars.writer import ShardWriter

MEGABYTE = 10**6
BATCHES, BATCH_SIZE = 8, 64
FILES = 256  # that a process may have open


def dataset_of(json: Path, rank: int, ranks: int) -> TarImageDataset:
    return TarImageDataset(json, shuffle=True, batch_size=BATCH_SIZE, rank=rank, world_size=ranks, last="drop")


def make(folder: Path, shards: int, samples: int) -> Path:
    """The dataset, with an index that is a hole; gives its json's path."""
    real = folder / "real.tar"
    image = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    with ShardWriter(real) as writer:
        for number in range(samples):
            writer.write(f"{number:06}", {"jpg": image, "cls": b"%d" % (number % 1000)})
    with real.open("rb") as file:
        rows = load(file.fileno(), str(real))
    assert rows is not None
    entries = []
    for number in range(shards):
        name = f"train-{number:06}.tar"
        (folder / name).symlink_to(real.name)
        entries.append(ShardEntry(name, samples, writer.size, writer.hash, rows=crc_of(rows)))
    layout, hashes = chunks_of(rows, shards)
    with (folder / "train.index.npy").open("wb") as index:
        index.write(layout.head)
        index.seek(layout.begin + layout.size)
        index.write(layout.tail(hashes))
    made = Made("0", 0, False, "1", "keep", 0, 0, 0, 0)
    return manifest.store(Manifest("train", tuple(entries), (), made, layout.entry(hashes)), folder)


def chunk_of(rows: Rows, layout: Layout, number: int) -> bytes:
    """Bytes of a chunk of an index that has these rows again and again."""
    again = np.tile(rows, 2 + CHUNK // rows.nbytes).tobytes()
    first = number * CHUNK % rows.nbytes
    return again[first : first + layout.chunk(number)[1]]


def chunks_of(rows: Rows, shards: int) -> tuple[Layout, npt.NDArray[np.uint64]]:
    layout = Layout(extensions(rows), len(rows) * shards)
    again = np.tile(rows, 2 + CHUNK // rows.nbytes).tobytes()
    starts = (number * CHUNK % rows.nbytes for number in range(layout.chunks))
    sizes = (layout.chunk(number)[1] for number in range(layout.chunks))
    hashes = (xxh3_64_intdigest(again[start : start + size]) for start, size in zip(starts, sizes, strict=True))
    return layout, np.fromiter(hashes, np.uint64, layout.chunks)


def fill(json: Path, ranks: int, rank: int) -> None:
    """Writes the chunks that the rank's first batches need."""
    with (json.parent / "real.tar").open("rb") as file:
        rows = load(file.fileno(), str(json.parent / "real.tar"))
    assert rows is not None
    found = manifest.load(json)
    layout = Layout(extensions(rows), found.nsamples)
    picks = islice(iter(dataset_of(json, rank, ranks)).run.batches(), BATCHES)
    numbers = np.concatenate([batch.numbers for batch in picks]) * layout.dtype.itemsize
    with (json.parent / "train.index.npy").open("r+b") as index:
        for number in np.unique(np.concatenate([numbers, numbers + layout.dtype.itemsize - 1]) // CHUNK).tolist():
            index.seek(layout.chunk(number)[0])
            index.write(chunk_of(rows, layout, number))


def run(json: Path, ranks: int, rank: int) -> None:
    """One rank: opens the dataset, reads its first batches, and prints what that took."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    before, files = memory("VmRSS"), open_files()
    begun = time.perf_counter()
    dataset = dataset_of(json, rank, ranks)
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


def report(shards: int, samples: int, ranks: int, folder: Path) -> None:
    """Makes such a dataset, runs its first and its last rank, and prints a line for each."""
    folder.mkdir()
    json = make(folder, shards, samples)
    for rank in (0, ranks - 1):
        fill(json, ranks, rank)
        command = [sys.executable, __file__, "--run", str(json), "--ranks", str(ranks), "--rank", str(rank)]
        values = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        opened, first, sample, grown = map(float, values[:4])
        line = f"{shards:>9,}{shards * samples:>14,}{ranks:>7,}{rank:>7,}{opened:>9.2f}{first:>9.3f}{sample:>9.0f}"
        print(f"{line}{grown:>8.1f}{values[4]:>7}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--samples", type=int, default=1000, help="in each shard")
    parser.add_argument("--ranks", type=int, default=4096)
    parser.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run, options.ranks, options.rank)
        return
    print("open: s to open by json, with fingerprint; first: s to the first batch of 64; sample: µs each from then on;")
    print(f"MB: resident memory beyond imports; files: descriptors at a time, of {FILES} allowed")
    print(
        f"{'shards':>9}{'samples':>14}{'ranks':>7}{'rank':>7}{'open':>9}{'first':>9}{'sample':>9}{'MB':>8}{'files':>7}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for shards in options.shards:
            ranks = min(options.ranks, shards * options.samples // (BATCHES * BATCH_SIZE))
            report(shards, options.samples, ranks, Path(folder) / str(shards))


if __name__ == "__main__":
    main()
