"""On a GPU: fastdata with DALI against DALI's own pipeline, and against the CPU decoder with pinned copies.

For each: images/s, how busy the GPU and its JPEG decoder are, and what crosses the bus to the GPU for an image, as
`nvidia-smi dmon` sees it. All do RandomResizedCrop(224) and a flip, uint8. Where there is no GPU it says so.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from dali_cpu import SIZE, batches_of_dali, batches_of_fastdata, copies, dali_pipeline
from torch import Tensor

import fastdata as fd
from fastdata.cpus import available_cpus
from fastdata.packing.convert import CropReady
from fastdata.packing.pack import pack
from fastdata.sources.folder import scan_classes

GPU = 0
BUSY, JPEG, RECEIVED = "sm", "jpg", "rxpci"  # dmon's columns: percent, percent, MB/s


class Run(NamedTuple):
    """Images/s; percent; percent; kB an image. NaN for what nvidia-smi does not tell."""

    images_per_second: float
    busy: float
    jpeg: float
    received: float


def run(batches: Iterator[Tensor], seconds: float) -> Run:
    for _ in range(20):
        next(batches)
    torch.cuda.synchronize()
    images = 0
    with subprocess.Popen(
        ["nvidia-smi", "dmon", "-s", "ut", "-i", str(GPU)], stdout=subprocess.PIPE, text=True
    ) as monitor:
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            images += len(next(batches))
        torch.cuda.synchronize()
        speed = images / (time.perf_counter() - begun)
        monitor.terminate()
        seen = averages(monitor.communicate()[0])
    nan = float("nan")
    received = seen.get(RECEIVED, nan) * 1000 / speed
    return Run(speed, seen.get(BUSY, nan), seen.get(JPEG, nan), received)


def averages(printed: str) -> dict[str, float]:
    """Of each of dmon's columns, without its first line, which is of before."""
    lines = printed.splitlines()
    names = next((line[1:].split() for line in lines if line.startswith("#")), [])
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")][1:]
    columns = {
        name: [float(row[at]) for row in rows if row[at].replace(".", "").isdigit()] for at, name in enumerate(names)
    }
    return {name: statistics.fmean(values) for name, values in columns.items() if values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of class folders of JPEGs")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="of each run; dmon looks once a second")
    parser.add_argument("--photos", type=int, default=20_000, help="of an epoch at least: DATA's are repeated")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("No CUDA device here: nothing to measure. benchmarks/dali_cpu.py measures DALI on the CPU.")
        sys.exit(0)
    with tempfile.TemporaryDirectory() as directory:
        data, shards = copies(arguments.data, Path(directory) / "data", arguments.photos), Path(directory) / "shards"
        pack(scan_classes(data), shards, jpeg=CropReady())
        print(f"{torch.cuda.get_device_name(GPU)}, {arguments.threads} threads, batches of {arguments.batch_size}")
        compare(data, shards, arguments)


def compare(data: Path, shards: Path, arguments: argparse.Namespace) -> None:
    """In turn, round after round; the ratio is that of medians."""
    size, threads = arguments.batch_size, arguments.threads
    transform = [fd.RandomResizedCrop(SIZE), fd.RandomHorizontalFlip()]
    folder = fd.ImageDirectoryDataset(data, transform=transform)
    packed = fd.TarImageDataset(str(shards / "train-*.tar"), transform=transform, shuffle=True)
    on_gpu = {"decoder": "dali", "device": f"cuda:{GPU}"}
    contestants: dict[str, Callable[[], Iterator[Tensor]]] = {
        "DALI's own pipeline": lambda: batches_of_dali(dali_pipeline(data, size, threads, True, GPU)),
        "fastdata, DALI, folder": lambda: batches_of_fastdata(folder, size, threads, **on_gpu),
        "fastdata, DALI, crop-ready shards": lambda: batches_of_fastdata(packed, size, threads, **on_gpu),
        "fastdata, CPU decoder, folder": lambda: batches_of_fastdata(folder, size, threads, device=f"cuda:{GPU}"),
    }
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    for name, start in [*contestants.items()] * arguments.rounds:
        runs[name].append(run(start(), arguments.seconds))
    medians = {name: Run(*map(statistics.median, zip(*of, strict=True))) for name, of in runs.items()}
    reference = next(iter(medians.values())).images_per_second
    print(f"{'':34} {'images/s':>9} {'ratio':>6} {'GPU busy':>9} {'its JPEG decoder':>17} {'kB to it an image':>18}")
    for name, of in medians.items():
        ratio = of.images_per_second / reference
        print(
            f"{name:34} {of.images_per_second:9.0f} {ratio:6.2f} {of.busy:8.0f}% {of.jpeg:16.0f}% {of.received:18.1f}"
        )


if __name__ == "__main__":
    main()
