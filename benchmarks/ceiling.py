"""How near the Loader comes to its limit, and what it costs by itself.

The limit: bare threads that call `decode_into`, as the Loader's threads do, on groups of 16 samples that are read and
drawn before, from memory. It takes turns with the Loader, on the same samples and views. The Loader's own cost: from a
dataset whose `decode_into` does nothing, so that reading, drawing and handing over remain; CPU time and wall time, a
sample.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

import fastdata as fd
from fastdata.datasets.base import DecodedSamples, ImageDataset, Prepared
from fastdata.images.decode import Encoded, decode_into
from fastdata.sample import Pixels
from material import material
from measure import IMAGES_PER_SECOND, Span, throughput, timed
from options import parser, use_cpus
from ours import loader
from report import show, store
from rounds import Contest, Measure, Measured, compete
from work import SIZE, STEPS, Work

TARGET_RATIO, TARGET_MICROSECONDS = 0.93, 60.0
GROUP = 16
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
            group.append(sample.image._replace(data=contents.setdefault(sample.image.data, sample.image.data)))
        yield group
        numbers = numbers[len(samples) :]


def seconds_of(groups: list[list[Encoded]], threads: int) -> float:
    """That bare threads take for all of them."""
    left = iter(groups)

    def work() -> None:
        rows = np.empty((GROUP, SIZE, SIZE, 3), np.uint8)
        for group in left:
            if any(decode_into(group, list(rows[: len(group)])).errors):
                raise RuntimeError("a photo can't be decoded: the limit is that of good ones")

    workers = [threading.Thread(target=work) for _ in range(threads)]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - begun


def bare_threads(urls: list[str], work: Work, span: Span) -> Measured:
    dataset = fd.TarImageDataset(urls, work.transform)
    order = fd.EpochOrder(dataset.num_samples, True, 0, 0)
    groups = list(prepared(dataset, order.samples(0, min(span.images, dataset.num_samples)).tolist()))
    seconds_of(groups[: 1 + span.warmup // GROUP], work.threads)
    return Measured({IMAGES_PER_SECOND: sum(map(len, groups)) / seconds_of(groups, work.threads)})


class _NothingToDecode(ImageDataset):
    """The batches' memory stays as it is."""

    def decode_into(self, samples: Sequence[Prepared], rows: Sequence[Pixels]) -> DecodedSamples:
        return DecodedSamples([None] * len(samples), 0, 0)


class HollowFolder(_NothingToDecode, fd.ImageDirectoryDataset):
    pass


class HollowShards(_NothingToDecode, fd.TarImageDataset):
    pass


def own_cost(kind: str, work: Work, span: Span) -> Measured:
    """Microseconds a sample."""
    folder = kind == "folder"
    dataset = HollowFolder(work.files.folder, transform=STEPS) if folder else HollowShards(work.files.shards, STEPS)
    with closing(loader(dataset, work)) as batches:
        result = timed(batches, span)
    return Measured({CPU: result.cpu_seconds * 1e6 / result.images, WALL: result.seconds * 1e6 / result.images})


def limit(work: Work, span: Span, crop_ready: bool, options: argparse.Namespace) -> Contest:
    """The Loader against bare threads on the same files."""
    title = f"{'antialiased' if work.antialias else 'plain'}, {'crop-ready' if crop_ready else 'plain'} files"
    names = ["Loader, crop-ready shards"] if crop_ready else ["Loader, shards", "Loader, folder"]
    urls = work.files.crop_ready if crop_ready else work.files.shards
    entries: dict[str, Measure] = {"bare threads, from memory": partial(bare_threads, urls, work, span)}
    entries |= {name: partial(throughput, name, work, span) for name in names}
    return compete(f"{title}; to be {TARGET_RATIO} of first", entries, [IMAGES_PER_SECOND], options.rounds)


def own_costs(work: Work, span: Span, options: argparse.Namespace) -> Contest:
    """By one thread, and by all: several that nothing but Python keeps busy wait for each other."""
    entries = {
        f"{kind}, {threads} thread{'s' * (threads > 1)}": partial(own_cost, kind, replace(work, threads=threads), span)
        for threads in sorted({1, work.threads})
        for kind in ("shards", "folder")
    }
    title = f"the Loader's own, a sample; by one thread to be {TARGET_MICROSECONDS:.0f} µs of CPU time"
    return compete(title, entries, [CPU], options.rounds)


def main() -> None:
    options = parser(__doc__, rounds=5, images=3000).parse_args()
    threads = use_cpus(options.cpus)
    span = Span(options.images // 3, options.images)
    held = []
    with tempfile.TemporaryDirectory() as directory:
        files = material(options.data, Path(directory), options.epoch)
        print(f"{files.about}; {threads} threads, batches of {options.batch_size}")
        work = Work(files, True, False, options.batch_size, threads, workers=0)
        for antialias in (False, True):
            for crop_ready in (False, True)[: 1 + bool(files.crop_ready)]:
                held.append(limit(replace(work, antialias=antialias), span, crop_ready, options))
                show(held[-1])
        held.append(own_costs(work, span, options))
        show(held[-1])
    if options.out:
        store(held, vars(options), "ceiling", options.out)


if __name__ == "__main__":
    main()
