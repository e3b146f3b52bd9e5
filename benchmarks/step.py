"""How much longer a training step takes beside a loader at full speed: loading must not slow training.

What a GPU's training step is to the CPU is a Python loop of small calls. So a step is 1,500 small operations of torch
on the CPU, each of which gives the interpreter's lock away and takes it back; torch uses one thread for them. A loader
that holds the lock, in threads of the same process, makes it wait; one in a process of its own does not.

Steps run one after the other, and only they are timed. The next batch is taken once most of the time has passed that
the last one took to come; so the loop waits for each batch for a while (that is not timed): the loader never has to
stop, whatever its speed, and steps fall on all parts of its work. Each loader has one thread, or one worker process;
two CPUs are enough for the step and the loader. The first contestant is the step alone, in the same rounds.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import fmean, median

import torch
from torch import Tensor

from contestants import CONTESTANTS
from material import Material, material
from measure import IMAGES_PER_SECOND, look
from options import parser, use_cpus
from report import show, store
from rounds import Measure, Measured, compete
from work import Batches, Work

OPERATIONS = 1500
BUSY = 0.8  # of the time that a batch takes to come
MEAN, MEDIAN = "mean, ms", "median, ms"
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
    return Measured({MEAN: fmean(times), MEDIAN: median(times), IMAGES_PER_SECOND: float("nan")})


def beside(contestant: str, work: Work, steps: int, warmup: int) -> Measured:
    """The first `warmup` batches are not counted: a queue may have been full."""
    step, times, images = Step(), list[float](), 0
    with closing(CONTESTANTS[contestant].start(work)) as batches:
        running = between(batches, step)
        for _ in range(warmup):
            next(running)
        begun = time.perf_counter()
        while len(times) < steps:
            batch, more = next(running)
            images += len(batch)
            times += more
        speed = images / (time.perf_counter() - begun)
        return Measured({MEAN: fmean(times), MEDIAN: median(times), IMAGES_PER_SECOND: speed}, look(batch))


def between(batches: Batches, step: Step) -> Iterator[tuple[Tensor, list[float]]]:
    """Each batch, and the times of the steps that ran while the next one was on its way."""
    came = time.perf_counter()
    for batch in batches:
        now = time.perf_counter()
        until, came = now + BUSY * (now - came), now
        times = [step()]
        while time.perf_counter() < until:
            times.append(step())
        yield batch, times


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
    made.add_argument("--warmup", type=int, default=10, help="batches before these; default: 10")
    made.add_argument("--plain", action="store_true", help="resize without antialiasing")
    made.add_argument("--only", nargs="*", help="contestants whose names contain one of these, and the step alone")
    options = made.parse_args()
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
