"""This version's Loader against that of another checkout, with the compiled kernel and without it.

Each measures the same epochs of the same shards in a process of its own, which finds its package by PYTHONPATH. The
other checkout's kernel takes part where it lies in place, as an editable install leaves it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from material import material
from measure import IMAGES_PER_SECOND
from options import parser, use_cpus
from report import show, store
from rounds import Contest, Measure, Measured, compete, in_this_process

HERE = Path(__file__).parents[1]
STEPS = {
    "train": "[fd.RandomResizedCrop(224), fd.RandomHorizontalFlip()]",
    "evaluate": "[fd.Resize(256), fd.CenterCrop(224)]",
}
PROGRAM = """
import sys, time
import fastdata as fd

threads, batch_size, images, antialias, steps, *shards = sys.argv[1:]
transform = fd.Transform(eval(steps), antialias=antialias == "True")
dataset = fd.TarImageDataset(shards, transform, shuffle=True)
loader = fd.Loader(dataset, int(batch_size), num_threads=int(threads))
sum(len(batch) for batch, _ in loader)  # the first epoch is not measured
done, epoch, begun = 0, 1, time.perf_counter()
while done < int(images):
    loader.set_epoch(epoch)
    done += sum(len(batch) for batch, _ in loader)
    epoch += 1
print(done / (time.perf_counter() - begun))
"""


def measured(root: Path, kernel: bool, arguments: list[str]) -> Measured:
    """Images/s of the checkout at `root`."""
    environment = os.environ | {"PYTHONPATH": str(root), "FASTDATA_KERNEL": "yes" if kernel else "no"}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=root)
    return Measured({IMAGES_PER_SECOND: float(done.stdout)})


def contest(name: str, antialias: bool, shards: list[str], cpus: int, options: argparse.Namespace) -> Contest:
    arguments = [str(cpus), str(options.batch_size), str(options.images), str(antialias), STEPS[name], *shards]
    entries: dict[str, Measure] = {
        "the other": partial(measured, options.against.resolve(), True, arguments),
        "this": partial(measured, HERE, True, arguments),
        "this, without the kernel": partial(measured, HERE, False, arguments),
    }
    title = f"{name}, {'antialiased' if antialias else 'plain'}, {cpus} threads"
    return compete(title, entries, [IMAGES_PER_SECOND], options.rounds, run=in_this_process)


def main() -> None:
    made = parser(__doc__, rounds=5, images=6000)
    made.add_argument("--against", type=Path, required=True, help="folder of the other checkout, by git worktree say")
    options = made.parse_args()
    cpus = use_cpus(options.cpus)
    with tempfile.TemporaryDirectory() as directory:
        files = material(options.data, Path(directory), options.epoch)
        print(files.about)
        held = [
            contest(name, antialias, files.shards, cpus, options)
            for name, antialias in (("train", True), ("train", False), ("evaluate", True))
        ]
    for each in held:
        show(each)
    if options.out:
        store(held, vars(options), "versions", options.out)


if __name__ == "__main__":
    main()
