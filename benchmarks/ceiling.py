"""How near the Loader comes to its limit, and what it costs by itself.

The limit: bare threads that call `decode_into`, as the Loader's threads do, on groups of 16 samples that are read and
drawn before, from memory. It takes turns with the Loader, on the same files and transform, in this process: turns that
follow each other at once see the same machine. The Loader's own cost: from a dataset whose `decode_into` does nothing,
so that reading, drawing and handing over remain; CPU time and wall time, a sample.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np

import fastdata as fd
from contestants import CONTESTANTS
from fastdata.datasets.base import ImageDataset
from fastdata.datasets.prepared import DecodedSamples, Prepared
from fastdata.images.decode import decode_into
from fastdata.images.reference import Encoded
from fastdata.sample import Pixels
from material import material
from measure import IMAGES_PER_SECOND, Span, timed
from options import parser, use_cpus
from ours import loader
from report import show, store
from rounds import Contest, Measure, Measured, compete, in_this_process
from work import SIZE, STEPS, Batches, Work

TARGET_RATIO, TARGET_MICROSECONDS = 0.95, 20.0
GROUP = 16
WARM = 4  # groups
QUEUE = 5  # batches that may be ready, and more
CPU, WALL = "CPU µs", "wall µs"


def prepared(dataset: ImageDataset, numbers: list[int]) -> Iterator[list[Encoded]]:
    """The samples in an epoch's views, in groups; files that are one by links are one in memory."""
    contents: dict[bytes, bytes] = {}
    while numbers:
        samples = dataset.prepare(numbers[:GROUP], 0).samples
        group = []
        for sample in samples:
            if isinstance(sample, fd.SampleError):
                raise sample
            image, data = sample.image, bytes(sample.image.data)
            group.append(Encoded(contents.setdefault(data, data), image.header, job=image.job))
        yield group
        numbers = numbers[len(samples) :]


def decode(group: list[Encoded], rows: Iterator[Pixels]) -> None:
    """Into the next rows."""
    if any(decode_into(group, list(islice(rows, len(group)))).errors):
        raise RuntimeError("a photo can't be decoded: the limit is that of good ones")


def bare_threads(groups: list[list[Encoded]], work: Work) -> Measured:
    """Each thread decodes into memory of its own, as much as a batch has; a few groups make it ready for that."""
    left, ready = iter(groups), threading.Barrier(work.threads, timeout=60)

    def images_per_second(_: int) -> float:
        rows = cycle(np.empty((work.batch_size, SIZE, SIZE, 3), np.uint8))
        for group in groups[:WARM]:
            decode(group, rows)
        ready.wait()
        begun, images = time.perf_counter(), 0
        for group in left:
            decode(group, rows)
            images += len(group)
        return images / (time.perf_counter() - begun)

    with ThreadPoolExecutor(work.threads) as threads:
        return Measured({IMAGES_PER_SECOND: sum(threads.map(images_per_second, range(work.threads)))})


def speed(batches: Batches, span: Span) -> Measured:
    """Of the next of a Loader's batches, after those that were ready already."""
    result = timed(batches, span)
    return Measured({IMAGES_PER_SECOND: result.images / result.seconds})


def cost(batches: Batches, span: Span) -> Measured:
    """Of a sample of them."""
    result = timed(batches, span)
    return Measured({CPU: result.cpu_seconds * 1e6 / result.images, WALL: result.seconds * 1e6 / result.images})


class _NothingToDecode(ImageDataset):
    """The batches' memory stays as it is."""

    def decode_into(self, samples: Sequence[Prepared], rows: Sequence[Pixels]) -> DecodedSamples:
        return DecodedSamples([None] * len(samples), 0, 0)


class HollowFolder(_NothingToDecode, fd.ImageDirectoryDataset):
    pass


class HollowShards(_NothingToDecode, fd.TarImageDataset):
    pass


def limit(work: Work, crop_ready: bool, options: argparse.Namespace) -> Contest:
    """The Loader against bare threads on the same files."""
    names = ["Loader, crop-ready shards"] if crop_ready else ["Loader, shards", "Loader, folder"]
    dataset = fd.TarImageDataset(work.files.crop_ready if crop_ready else work.files.shards, work.transform)
    order = fd.EpochOrder(dataset.num_samples, True, 0, 0)
    groups = list(prepared(dataset, order.samples(0, min(options.images, dataset.num_samples)).tolist()))
    entries: dict[str, Measure] = {"bare threads, from memory": partial(bare_threads, groups, work)}
    title = f"{'antialiased' if work.antialias else 'plain'}, {'crop-ready' if crop_ready else 'plain'} files"
    loaders = {name: CONTESTANTS[name].start(work) for name in names}
    with turns(loaders, speed, options) as of_loaders:
        entries |= of_loaders
        title = f"{title}; to be {TARGET_RATIO} of first"
        return compete(title, entries, [IMAGES_PER_SECOND], options.rounds, in_this_process)


def own_costs(work: Work, options: argparse.Namespace) -> Contest:
    """By one thread, and by all: several that nothing but Python keeps busy wait for each other."""
    loaders = {}
    for threads in sorted({1, work.threads}):
        some = replace(work, threads=threads)
        loaders[f"shards, threads: {threads}"] = loader(HollowShards(work.files.shards, STEPS), some)
        loaders[f"folder, threads: {threads}"] = loader(HollowFolder(work.files.folder, transform=STEPS), some)
    title = f"the Loader's own, a sample; by one thread to be {TARGET_MICROSECONDS:.0f} µs of CPU time"
    with turns(loaders, cost, options) as entries:
        return compete(title, entries, [CPU], options.rounds, in_this_process)


@contextmanager
def turns(
    loaders: Mapping[str, Batches], measure: Callable[[Batches, Span], Measured], options: argparse.Namespace
) -> Iterator[dict[str, Measure]]:
    """Of loaders that go on and on, after a first turn; while they have none, their threads wait with full queues."""
    span = Span(QUEUE * options.batch_size, options.images)
    with ExitStack() as stack:
        for batches in loaders.values():
            stack.enter_context(closing(batches))
            measure(batches, span)  # memory and caches are as in all later turns then
        yield {name: partial(measure, batches, span) for name, batches in loaders.items()}


def main() -> None:
    options = parser(__doc__, rounds=15, images=1000).parse_args()
    threads = use_cpus(options.cpus)
    held = []
    with tempfile.TemporaryDirectory() as directory:
        files = material(options.data, Path(directory), options.epoch)
        print(f"{files.about}; {threads} threads, batches of {options.batch_size}")
        work = Work(files, True, False, options.batch_size, threads, workers=0)
        for antialias in (False, True):
            for crop_ready in (False, True)[: 1 + bool(files.crop_ready)]:
                held.append(limit(replace(work, antialias=antialias), crop_ready, options))
                show(held[-1])
        held.append(own_costs(work, options))
        show(held[-1])
    if options.out:
        store(held, vars(options), "ceiling", options.out)


if __name__ == "__main__":
    main()
