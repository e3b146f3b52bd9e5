"""How much longer a training step takes beside a loader at full speed: loading must not slow training.

What a GPU's training step is to the CPU is a Python loop of small calls. So a step is 1,500 small operations of torch
on the CPU, each of which gives the interpreter's lock away and takes it back; torch uses one thread for them. A loader
that holds the lock, in threads of the same process, makes it wait; one in a process of its own does not.

Steps run one after the other, and only they are timed. First it is measured how often a batch comes where nothing else
runs. Then steps run for most of that time, before the loop waits for the next batch (that is not timed): so the loader
never has to stop, whatever its speed, and steps fall on all parts of its work. Each loader has one thread, or one
worker process; two CPUs are enough for the step and the loader. The first contestant is the step alone, in the same
rounds.
"""

import argparse
import tempfile
import time
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

import torch

from contestants import CONTESTANTS
from material import Material, material
from measure import IMAGES_PER_SECOND, look
from options import parser, use_cpus
from report import show, store
from rounds import Measure, Measured, compete
from work import Batches, Work

OPERATIONS = 1500
BUSY = 0.8  # of the time between two batches
MEAN, MEDIAN = "mean ms", "median ms"
BESIDE = (
    "Loader, shards",
    "Loader, crop-ready shards",
    "torch's DataLoader, shards",
    "webdataset",
    "DALI's own",
    "SPDL",
)


class Step:
    """Calling it is one training step; gives milliseconds."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._values, self._weights, self._bias = torch.rand(3, 8, 8)

    def __call__(self) -> float:
        begun = time.perf_counter()
        for _ in range(OPERATIONS // 3):
            torch.relu(self._values.mul(self._weights).add(self._bias))
        return (time.perf_counter() - begun) * 1000


def alone(steps: int) -> Measured:
    step = Step()
    for _ in range(steps // 10):
        step()
    times = [step() for _ in range(steps)]
    return Measured({MEAN: fmean(times), MEDIAN: median(times)})


def beside(contestant: str, work: Work, steps: int, warmup: int) -> Measured:
    """Over `steps` steps at least, in whole batches, after `warmup` batches without any."""
    step, times, images = Step(), list[float](), 0
    with closing(CONTESTANTS[contestant].start(work)) as batches:
        period = seconds_a_batch(batches, warmup)
        begun = time.perf_counter()
        while len(times) < steps:
            batch = next(batches)
            images += len(batch)
            until = time.perf_counter() + BUSY * period
            while time.perf_counter() < until:
                times.append(step())
        speed = images / (time.perf_counter() - begun)
        return Measured({MEAN: fmean(times), MEDIAN: median(times), IMAGES_PER_SECOND: speed}, look(batch))


def seconds_a_batch(batches: Batches, warmup: int) -> float:
    """The median, once all that was ready at first is gone: of the second half."""
    came = []
    for _ in range(warmup):
        next(batches)
        came.append(time.perf_counter())
    return median(later - earlier for earlier, later in pairwise(came[warmup // 2 :]))


def entries(files: Material, options: argparse.Namespace) -> dict[str, Measure]:
    """Of all that can take part; says who can't."""
    work = Work(files, not options.plain, floats=False, batch_size=options.batch_size, threads=1, workers=1)
    found: dict[str, Measure] = {"alone": partial(alone, options.steps)}
    for name in BESIDE:
        why_not = CONTESTANTS[name].why_not(files)
        if why_not is not None:
            print(f"without {name}: {why_not}")
        elif not options.only or any(part in name for part in options.only):
            found[f"beside {name}"] = partial(beside, name, work, options.steps, options.warmup)
    return found


def main() -> None:
    made = parser(__doc__, rounds=7)
    made.add_argument("--steps", type=int, default=1500, help="timed, in each round; default: 1500")
    made.add_argument("--warmup", type=int, default=20, help="batches before these, at least 4; default: 20")
    made.add_argument("--plain", action="store_true", help="resize without antialiasing")
    made.add_argument("--only", nargs="*", help="contestants whose names contain one of these, and the step alone")
    options = made.parse_args()
    if options.warmup < 4:
        made.error(f"--warmup must be at least 4, got {options.warmup}")
    cpus = use_cpus(options.cpus)
    with tempfile.TemporaryDirectory() as directory:
        files = material(options.data, Path(directory), options.epoch)
        resizing = "plain" if options.plain else "antialiased"
        title = f"a step of {OPERATIONS} operations, {resizing}, {cpus} CPUs: {files.about}"
        held = compete(title, entries(files, options), [MEAN, MEDIAN], options.rounds)
    show(held)
    if options.out:
        store([held], vars(options), "step", options.out)


if __name__ == "__main__":
    main()
