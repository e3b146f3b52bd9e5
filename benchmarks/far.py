"""What it costs that shards lie elsewhere: python benchmarks/far.py [--data photos] [--latency 0.03]

An epoch of a Loader from local shards, from the same ones at a URL of which nothing is in the cache (cold), and from
there with all of it in the cache (warm); by a full shuffle and by blocks. In turn, each in a fresh process; the first
images of an epoch are not measured, and its last ones are not reached, so that as much is fetched as is used.

The server is nginx, which sends files without copying them, and waits before each answer (Debian: nginx,
libnginx-mod-http-echo). On few cores it takes time from the Loader, as no server elsewhere would: so there is its CPU
time for an image, and the ratio with that left out, as if its time were spread over all CPUs.
"""

import os
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import fastdata as fd
from fastdata.commands.demo import make_photos
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from material import MADE, copied, jpegs
from options import parser, use_cpus
from report import show, store
from rounds import Contest, Measure, Measured, compete
from served import MODULES, Served, serving

BLOCKS = fd.Window(streams=16, window=200)  # open are far fewer than an epoch has, as in real ones
WARM_UP = 3072  # images: more than are expected and fetched ahead
AHEAD = 4096  # that an epoch has besides those that are measured
SPEED, ALONE, CPU, SERVER, REQUESTS = "images/s", "without the server", "µs of CPU", "server's", "requests/image"


class Asked(NamedTuple):
    """How many images are measured, in batches of which size."""

    images: int
    batch_size: int


def epoch(url: str, server: Served, shuffle: bool | fd.Window, cache: Path, cold: bool, asked_for: Asked) -> Measured:
    """The middle of an epoch."""
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    transform = fd.Transform([fd.RandomResizedCrop(224), fd.RandomHorizontalFlip()], antialias=False)
    dataset = fd.TarImageDataset(url, transform=transform, cache=fd.Cache(cache))
    with fd.Loader(dataset, asked_for.batch_size, shuffle=shuffle, num_threads=len(os.sched_getaffinity(0))) as loader:
        batches, seen = iter(loader), 0
        while seen < WARM_UP:
            seen += len(next(batches).images)
        begun, cpu, busy, asked = time.perf_counter(), time.process_time(), server.seconds(), server.requests()
        measured = 0
        while measured < asked_for.images:
            measured += len(next(batches).images)
        wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
        busy, asked = server.seconds() - busy, server.requests() - asked - 1
    alone = wall - busy / len(os.sched_getaffinity(0))
    figures = {SPEED: measured / wall, ALONE: measured / alone, CPU: cpu / measured * 1e6}
    return Measured(figures | {SERVER: busy / measured * 1e6, REQUESTS: asked / measured})


def contest(
    shuffle: bool | fd.Window, shards: Path, served: Served, cache: Path, asked_for: Asked, rounds: int
) -> Contest:
    url = f"{served.url}/train.json"
    entries: dict[str, Measure] = {
        "local": partial(epoch, str(shards / "train.json"), served, shuffle, cache, False, asked_for),
        "cold": partial(epoch, url, served, shuffle, cache, True, asked_for),
        "warm": partial(epoch, url, served, shuffle, cache, False, asked_for),
    }
    title = "full shuffle" if shuffle is True else "shuffle by blocks"
    return compete(title, entries, [SPEED, ALONE, CPU], rounds)


def main() -> None:
    options = parser(__doc__, rounds=3, images=8192, has_epoch=False)  # what an epoch has follows from that
    options.add_argument("--latency", type=float, default=0.03, help="seconds before an answer; default: 0.03")
    options.add_argument("--shards", type=int, default=8, help="default: 8")
    options.add_argument("--modules", default=MODULES, help="where nginx has its modules")
    given = options.parse_args()
    use_cpus(given.cpus)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        data = given.data or directory / "made"
        if given.data is None:
            make_photos(data, MADE)
        photos = jpegs(data)
        copies = -(-(given.images + WARM_UP + AHEAD) // len(photos))
        folder = copied(photos * copies, directory / "folder")
        pack(scan_classes(folder), directory / "shards", division=ShardCount(given.shards))
        (directory / "nginx").mkdir()
        cache = directory / "cache"
        with serving(directory / "shards", directory / "nginx", given.latency, given.modules) as served:
            contests = [
                contest(
                    shuffle, directory / "shards", served, cache, Asked(given.images, given.batch_size), given.rounds
                )
                for shuffle in (True, BLOCKS)
            ]
    for each in contests:
        show(each)
    if given.out:
        store(contests, vars(given), "far", given.out)


if __name__ == "__main__":
    main()
