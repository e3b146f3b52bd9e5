"""Ranges of 28 kB from nginx on loopback: python benchmarks/ranges.py [--latency 0.03]

What a second brings, and what CPU time a range takes in this process and in the server's, by obstore and by fsspec; in
batches of 256, as a Loader asks for them. The server takes time from few cores, as none elsewhere would: so there is
the rate with that left out, as if its time were spread over all CPUs. The CPU time is what training loses.
"""

import argparse
import os
import random
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from fastdata.sources.stores.fsspec_storage import FsspecStorage
from fastdata.sources.stores.obstore_storage import ObstoreStorage
from fastdata.sources.stores.stored import Range, Storage
from served import Served, serving

SIZE = 28_000
BATCH = 256

FILE = SIZE * BATCH * 16  # bytes


class Figures(NamedTuple):
    """Ranges a second, the same as if the server were elsewhere, and microseconds of CPU for each, here and there."""

    rate: float
    alone: float
    cpu: float
    server: float


def measured(storage: Storage, served: Served, batches: list[list[Range]], etag: str | None) -> Figures:
    ranges = sum(map(len, batches))
    wall, cpu, server = time.perf_counter(), time.process_time(), served.seconds()
    for batch in batches:
        assert all(len(part) == SIZE for part in storage.get_ranges(f"{served.url}/1.tar", batch, etag))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    server = served.seconds() - server
    alone = wall - server / len(os.sched_getaffinity(0))
    return Figures(ranges / wall, ranges / alone, cpu / ranges * 1e6, server / ranges * 1e6)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--latency", type=float, default=0.0, help="seconds before the server answers; default: 0")
    options.add_argument("--ranges", type=int, default=4096, help="in each round; default: 4096")
    options.add_argument("--rounds", type=int, default=3, help="default: 3")
    given = options.parse_args()
    draw = random.Random(0)
    places = range(0, FILE, 2 * SIZE)  # apart, so that none come together
    batches = [[(place, SIZE) for place in draw.sample(places, BATCH)] for _ in range(given.ranges // BATCH)]
    with tempfile.TemporaryDirectory() as name, serving(served_file(Path(name)), Path(name), given.latency) as served:
        etag = ObstoreStorage().stat(f"{served.url}/1.tar").etag
        contestants = {
            "fsspec": (FsspecStorage(), None),
            "obstore": (ObstoreStorage(), None),
            "obstore, bound to an ETag": (ObstoreStorage(), etag),
        }
        rounds: dict[str, list[Figures]] = {name: [] for name in contestants}
        for _ in range(given.rounds):
            for name, (storage, tag) in contestants.items():
                rounds[name].append(measured(storage, served, batches, tag))
    show({name: Figures(*map(median, zip(*of, strict=True))) for name, of in rounds.items()})


def served_file(folder: Path) -> Path:
    """The folder of the one file, which nginx's workers, another user, can read."""
    folder.chmod(0o755)
    root = folder / "root"
    root.mkdir()
    (root / "1.tar").write_bytes(bytes(FILE))
    return root


def show(medians: dict[str, Figures]) -> None:
    table = Table("medians", "ranges/s", "without the server", "µs of CPU", "the server's", "rate, of fsspec's", "CPU")
    first = medians["fsspec"]
    for name, of in medians.items():
        ratios = f"{of.rate / first.rate:.2f}", f"{of.cpu / first.cpu:.2f}"
        table.add_row(name, f"{of.rate:,.0f}", f"{of.alone:,.0f}", f"{of.cpu:.0f}", f"{of.server:.0f}", *ratios)
    Console().print(table)


if __name__ == "__main__":
    main()
