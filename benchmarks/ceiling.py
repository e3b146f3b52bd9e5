"""How near the Loader comes to its limit, and what it costs by itself.

The limit: the same decode and resize calls, on the same bytes and views, from memory, in bare threads that share
nothing. It alternates with the Loader; the ratio is that of each round. The Loader's own cost: decoding and resizing
replaced by nothing, so that reading, drawing and handing over remain; CPU time and wall time, a sample.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from material import material

import fastdata as fd
from fastdata.datasets import base as image_dataset
from fastdata.datasets.base import ImageDataset
from fastdata.images.decode import decode_box
from fastdata.images.header import Header
from fastdata.images.resize import resample

STEPS = (fd.RandomResizedCrop(224), fd.RandomHorizontalFlip())
TARGET_RATIO, TARGET_MICROSECONDS = 0.93, 60.0


class Drawn(NamedTuple):
    """A sample's bytes in memory, and its view."""

    image: bytes
    header: Header
    view: fd.View


def all_drawn(dataset: ImageDataset) -> list[Drawn]:
    """The samples of an epoch; files that are one by links are one in memory."""
    contents: dict[int, bytes] = {}
    samples = []
    for index in range(dataset.num_samples):
        sample = dataset.read(index)
        image = contents.setdefault(Path(dataset.where(index)).stat().st_ino, sample.image)
        samples.append(Drawn(image, *dataset.draw(sample)))
    return samples


def bare_threads(samples: list[Drawn], threads: int, batch_size: int) -> float:
    """Images/s."""

    def work(number: int) -> None:
        rows = np.empty((batch_size, 224, 224, 3), np.uint8)
        for count, (image, header, view) in enumerate(samples[number::threads]):
            resample(decode_box(image, view, header), view, header, rows[count % batch_size])

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(samples) / (time.perf_counter() - begun)


def one_epoch(loader: fd.Loader) -> int:
    loader.set_epoch(0)
    return sum(len(images) for images, _ in loader)


def by_loader(loader: fd.Loader) -> float:
    """Images/s."""
    begun = time.perf_counter()
    return one_epoch(loader) / (time.perf_counter() - begun)


def compare(dataset: ImageDataset, options: argparse.Namespace, antialias: bool) -> None:
    dataset.transform = fd.Transform(STEPS, antialias=antialias)
    samples = all_drawn(dataset)
    loader = fd.Loader(dataset, options.batch_size, num_threads=options.threads, shuffle=True)
    ceilings, speeds = [], []
    for number in range(options.rounds + 1):
        ceiling, speed = bare_threads(samples, options.threads, options.batch_size), by_loader(loader)
        if number:  # the first round warms up
            ceilings.append(ceiling)
            speeds.append(speed)
    ratios = [speed / ceiling for speed, ceiling in zip(speeds, ceilings, strict=True)]
    print(
        f"{'antialiased' if antialias else 'plain':<12}"
        f"bare threads {statistics.median(ceilings):7.0f}/s   Loader {statistics.median(speeds):7.0f}/s   "
        f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}); target {TARGET_RATIO}"
    )


def own_cost(name: str, loader: fd.Loader, rounds: int) -> None:
    """Decoding and resizing by nothing; the batches' memory stays as it is."""

    def microseconds(clock: Callable[[], float]) -> float:
        begun = clock()
        return 1e6 / one_epoch(loader) * (clock() - begun)

    def nothing(*arguments: Any) -> Any:
        return arguments[-1]

    with mock.patch.object(image_dataset, "decode_box", nothing), mock.patch.object(image_dataset, "resample", nothing):
        one_epoch(loader)
        cpu = statistics.median(microseconds(time.process_time) for _ in range(rounds))
        wall = statistics.median(microseconds(time.perf_counter) for _ in range(rounds))
    print(
        f"{name:<12}CPU time {cpu:6.1f} µs a sample, wall time {wall:6.1f} µs, threads {loader.num_threads}; "
        f"target {TARGET_MICROSECONDS:.0f} µs"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of JPEGs; without it the demo's photos are made")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epoch", type=int, default=4000, help="images in an epoch, at least: photos are repeated")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        files = material(options.data, Path(directory), options.epoch)
        print(f"{files.about}; {options.threads} threads, batches of {options.batch_size}")
        folder = fd.ImageDirectoryDataset(files.folder, transform=STEPS)
        for antialias in (False, True):
            compare(folder, options, antialias)
        print("the Loader's own, without decoding and resizing:")
        shards = fd.TarImageDataset(files.shards, STEPS, shuffle=True)
        for threads in sorted({1, options.threads}):
            loader = fd.Loader(folder, options.batch_size, num_threads=threads, shuffle=True)
            own_cost("folder", loader, options.rounds)
            own_cost("shards", fd.Loader(shards, options.batch_size, num_threads=threads), options.rounds)


if __name__ == "__main__":
    main()
