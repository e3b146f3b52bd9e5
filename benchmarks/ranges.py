"""Ranges of 28 kB from an HTTP server on loopback: python benchmarks/ranges.py [--latency 0.03]

What a second brings, and what CPU time a range takes in this process (the server is another one), by obstore and by
fsspec, whose HTTP is read by the same server; in batches of 256, as a Loader asks for them. The server takes most of a
core itself, so on few cores the rate is a lower bound; the CPU time is what training loses.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from fastdata.sources.stores.fsspec_storage import FsspecStorage
from fastdata.sources.stores.obstore_storage import ObstoreStorage
from fastdata.sources.stores.stored import Range, Storage

SIZE = 28_000
BATCH = 256

SERVER = f"""
import sys
from support.http_server import Fault, serving_files
with serving_files() as server:
    server.put("1.tar", bytes({SIZE * BATCH * 16}))
    server.always = Fault(delay=float(sys.argv[1]))
    print(server.url("1.tar"), flush=True)
    sys.stdin.read()
"""


@contextmanager
def served(latency: float) -> Iterator[str]:
    """The URL of a file, by a server in a process of its own."""
    lib = Path(__file__).parents[1] / "tests" / "lib"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(lib), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", SERVER, str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.stdin.close()


def measured(storage: Storage, url: str, batches: list[list[Range]], etag: str | None) -> tuple[float, float]:
    """Ranges a second, and microseconds of CPU for each."""
    ranges = sum(map(len, batches))
    wall, cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        assert all(len(part) == SIZE for part in storage.get_ranges(url, batch, etag))
    return ranges / (time.perf_counter() - wall), (time.process_time() - cpu) / ranges * 1e6


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--latency", type=float, default=0.0, help="seconds before the server answers; default: 0")
    options.add_argument("--ranges", type=int, default=4096, help="in each round; default: 4096")
    options.add_argument("--rounds", type=int, default=3, help="default: 3")
    given = options.parse_args()
    draw = random.Random(0)
    places = range(0, SIZE * BATCH * 16, 2 * SIZE)  # apart, so that none come together
    batches = [[(place, SIZE) for place in draw.sample(places, BATCH)] for _ in range(given.ranges // BATCH)]
    with served(given.latency) as url:
        etag = ObstoreStorage().stat(url).etag
        contestants = {
            "fsspec": (FsspecStorage(), None),
            "obstore": (ObstoreStorage(), None),
            "obstore, bound to an ETag": (ObstoreStorage(), etag),
        }
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        for _ in range(given.rounds):
            for name, (storage, tag) in contestants.items():
                figures[name].append(measured(storage, url, batches, tag))
    table = Table("median of the rounds", "ranges/s", "µs of CPU a range", "rate, of fsspec's", "CPU, of fsspec's")
    rate, cpu = (median(each) for each in zip(*figures["fsspec"], strict=True))
    for name, rounds in figures.items():
        own_rate, own_cpu = (median(each) for each in zip(*rounds, strict=True))
        table.add_row(name, f"{own_rate:,.0f}", f"{own_cpu:.0f}", f"{own_rate / rate:.2f}", f"{own_cpu / cpu:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
