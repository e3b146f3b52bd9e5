"""What the small parts cost, against what they may cost: python benchmarks/costs.py [--files 100000]

Each figure is the median of several rounds, in the unit of its row.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import fastdata as fd
from fastdata.commands.demo import make_photos
from fastdata.images.cut import cut_stored
from fastdata.images.header import read_header
from fastdata.images.jpeg import read_jpeg_header
from fastdata.sources.folder import scan_classes
from fastdata.sources.tars.index import build
from fastdata.sources.tars.writer import ShardWriter

TRAIN = fd.Transform([fd.RandomResizedCrop(224), fd.RandomHorizontalFlip()])


def seconds(run: Callable[[], object], rounds: int = 7) -> float:
    """The median time of a call, after one that does not count."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def order_costs() -> list[tuple[str, float, float, str]]:
    first = fd.EpochOrder(10**9, True, 0, 1)
    starts = range(0, 256 * 200, 256)
    windows, positions = fd.Window(10).over(10**9, 0, None).of(1), np.arange(4096)

    def batches() -> None:
        for start in starts:
            first.samples(start, start + 256)

    def views() -> None:
        for key in keys:
            fd.draw(TRAIN, (500, 375), fd.sample_rng(0, 1, key))

    keys = [f"class/{i:07}" for i in range(5000)]
    return [
        ("the first 256 of 10^9 shuffled samples", seconds(lambda: first.samples(0, 256)) * 1e3, 1, "ms"),
        ("a sample id, in batches of 256", seconds(batches) / len(starts) / 256 * 1e6, 1, "µs"),
        ("a sample id, 4,096 at once", seconds(lambda: first.samples(0, 4096)) / 4096 * 1e6, 1, "µs"),
        ("the same shuffled by windows", seconds(lambda: windows.picks(positions)) / 4096 * 1e6, 1, "µs"),
        ("a sample's random numbers and its view", seconds(views) / len(keys) * 1e6, 20, "µs"),
    ]


def jpeg_costs(directory: Path) -> list[tuple[str, float, float, str]]:
    make_photos(directory / "photos", 60)
    photos = [path.read_bytes() for path in sorted((directory / "photos").glob("*/*.jpg"))]
    start = time.perf_counter()
    ready = [fd.make_crop_ready(photo) for photo in photos]
    rate = len(photos) / (time.perf_counter() - start)
    headers = [read_jpeg_header(photo) for photo in ready]
    box = (100, 100, 300, 300)

    def cuts() -> None:
        for photo, header in zip(ready, headers, strict=True):
            cut_stored(photo, header, box)

    return [
        ("size and orientation of a JPEG", seconds(lambda: [read_header(p) for p in photos]) / 60 * 1e6, 20, "µs"),
        ("cutting a crop-ready JPEG of 100 kB", seconds(cuts) / 60 * 1e6, 60, "µs"),
        ("making JPEGs crop-ready, one core", rate, 150, "images/s, at least"),
    ]


def file_costs(directory: Path, files: int) -> list[tuple[str, float, float, str]]:
    shard = directory / "members.tar"
    with ShardWriter(shard) as writer:
        for number in range(5000):
            writer.write(f"class/{number:07}", {"jpg": bytes(2000), "cls": b"0"})
    for number in range(files):
        path = directory / "many" / f"class{number % 100:03}" / f"{number:07}.jpg"
        if number < 100:
            path.parent.mkdir(parents=True)
        path.touch()

    def index() -> None:
        with shard.open("rb") as file:
            build(file.fileno(), str(shard))

    scan = seconds(lambda: scan_classes(directory / "many"), rounds=3)
    return [
        ("indexing a shard, a member", seconds(index) / 10_000 * 1e6, 10, "µs"),
        (f"scanning {files:,} files in class folders", scan, 5, "s"),
    ]


def command_costs() -> list[tuple[str, float, float, str]]:
    command = [sys.executable, "-m", "fastdata.commands.cli", "--help"]
    return [("fastdata --help", seconds(lambda: subprocess.run(command, check=True, capture_output=True)), 0.4, "s")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    arguments = parser.parse_args()
    table = Table("cost of", "measured", "may be", "unit")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        rows = order_costs() + jpeg_costs(directory) + file_costs(directory, arguments.files) + command_costs()
    for what, measured, limit, unit in rows:
        table.add_row(what, f"{measured:.3g}", f"{limit:g}", unit)
    Console().print(table)


if __name__ == "__main__":
    main()
