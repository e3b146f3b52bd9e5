"""Memory, threads and file descriptors of a process that loads thousands of batches.

As training does it, but that every other epoch is broken off. From the batch `--settled` on, resident memory must stay
within 2%, and the numbers of threads and descriptors must not grow; the exit status is 1 otherwise. With `--keep` some
batches are kept for a while: their memory and what was made in their stead come and go, which is more than 2%.
"""

import argparse
import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

import fastdata as fd
from material import JPEG, material

STEPS = (fd.RandomResizedCrop(224), fd.RandomHorizontalFlip())
KEEP_EVERY = 7
TOLERANCE = 0.02


class Usage(NamedTuple):
    megabytes: float
    threads: int
    descriptors: int


def usage() -> Usage:
    """Of this process, now: resident memory, and what Linux lists."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Usage(megabytes, len(list(Path("/proc/self/task").iterdir())), len(open_files()))


def open_files() -> list[str]:
    """What is open, but for the photos that threads happen to be reading."""
    files = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            files.append(str(descriptor.readlink()))
    return [file for file in files if not file.lower().endswith(JPEG)]


def batches(loaders: list[fd.Loader]) -> Iterator[Tensor]:
    """From one loader after the other, an epoch each; every other epoch is left halfway."""
    for epoch in count():
        loader = loaders[epoch % len(loaders)]
        steps = len(loader)
        yield from (images for images, _ in islice(loader, steps if epoch // len(loaders) % 2 else steps // 2))


def soak(running: Iterator[Tensor], number: int, every: int, settled: int, keep: int) -> list[Usage]:
    """What is used at batch `settled`, then at every `every`th, and at the last; prints it."""
    kept: deque[Tensor] = deque(maxlen=keep)
    seen = []
    print(f"{'batch':>8}{'MB':>10}{'threads':>9}{'descriptors':>13}")
    for batch, images in enumerate(islice(running, number), start=1):
        if batch % KEEP_EVERY == 0:
            kept.append(images)
        if batch in (settled, number) or (batch > settled and batch % every == 0):
            seen.append(usage())
            print(f"{batch:>8}{seen[-1].megabytes:>10.1f}{seen[-1].threads:>9}{seen[-1].descriptors:>13}", flush=True)
    return seen


def verdict(seen: list[Usage]) -> bool:
    """Whether nothing grew; prints that, too."""
    first = seen[0]
    growth = max(later.megabytes for later in seen) / first.megabytes - 1
    threads, descriptors = (max(later[field] for later in seen) - first[field] for field in (1, 2))
    good = growth <= TOLERANCE and threads <= 0 and descriptors <= 0
    print(
        f"memory {growth:+.1%} at most, threads {threads:+}, descriptors {descriptors:+}: {'flat' if good else 'GROWS'}"
    )
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of JPEGs; without it the demo's photos are made")
    parser.add_argument("--batches", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--settled", type=int, help="the batch from which on nothing may grow; 100, or half of them")
    parser.add_argument("--every", type=int, default=500, help="batches between two looks")
    parser.add_argument("--keep", type=int, default=0, help="batches kept for a while, every seventh")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    if options.settled is None:
        options.settled = min(100, options.batches // 2)
    if not 1 <= options.settled < options.batches:
        parser.error(f"--settled {options.settled} is not below --batches {options.batches}")
    with tempfile.TemporaryDirectory() as directory:
        files = material(options.data, Path(directory), at_least=1)
        folder = fd.ImageDirectoryDataset(files.folder, transform=STEPS)
        shards = fd.TarImageDataset(files.shards, fd.Transform(STEPS, antialias=False), shuffle=True)
        loaders = [
            fd.Loader(folder, options.batch_size, num_threads=options.threads, shuffle=True),
            fd.Loader(shards, options.batch_size, num_threads=options.threads, on_error="skip"),
        ]
        print(f"{options.batches} batches of {options.batch_size} from a folder and from shards in turn; {files.about}")
        good = verdict(soak(batches(loaders), options.batches, options.every, options.settled, options.keep))
    sys.exit(not good)


if __name__ == "__main__":
    main()
