"""Images a second of fastdata and its peers: the same work on the same files, on the same CPUs, in turn.

Contests are "plain" and "antialiased" (how the crop is resized), each with batches of uint8 and of normalized float32;
and "large", of photos that JPEG's scaled decoding shrinks first. See README.md.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from contestants import CONTESTANTS, CROP_READY, Task
from material import Material, material
from report import show, store
from rounds import Contest, compared, compete, run

CONTESTS = ("plain uint8", "antialiased uint8", "plain float32", "antialiased float32")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of JPEGs; without it the demo's photos are made")
    parser.add_argument("--large", type=Path, help="folder of JPEGs of several megapixels, for the contest `large`")
    parser.add_argument("--contests", nargs="*", default=CONTESTS, choices=[*CONTESTS, "none"])
    parser.add_argument("--only", nargs="*", help="contestants whose names contain one of these, and the first one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=3000, help="images measured, of each contestant in each round")
    parser.add_argument("--warmup", type=int, default=1000, help="images before these, not measured")
    parser.add_argument("--epoch", type=int, default=5000, help="images in an epoch, at least: photos are repeated")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--cpus", help="as 0,1; without it all that this process may use")
    parser.add_argument("--max-workers", type=int, default=3, help="of torch's DataLoader: the best of 1 to this")
    parser.add_argument("--out", type=Path, help="where throughput.json and throughput.png go")
    return parser.parse_args()


def base_task(options: argparse.Namespace, files: Material) -> Task:
    return Task(
        contestant=next(iter(CONTESTANTS)),
        folder=files.folder,
        shards=files.shards,
        crop_ready=files.crop_ready,
        antialias=False,
        floats=False,
        threads=len(os.sched_getaffinity(0)),
        workers=0,
        batch_size=options.batch_size,
        warmup=options.warmup,
        images=options.images,
    )


def tasks_of(base: Task, title: str, only: Iterable[str] | None) -> list[Task]:
    """One for each contestant that can take part, the first one first."""
    resizing, dtype = title.split()
    chosen = [
        name
        for number, (name, contestant) in enumerate(CONTESTANTS.items())
        if contestant.installed
        and (base.crop_ready or name != CROP_READY)
        and resizing in contestant.contests
        and (number == 0 or only is None or any(part in name for part in only))
    ]
    base = base._replace(antialias=resizing == "antialiased", floats=dtype == "float32")
    return [base._replace(contestant=name) for name in chosen]


def large(options: argparse.Namespace, directory: Path, resizing: str) -> Contest:
    """Photos of several megapixels to 224x224, by the Loader from shards: scaled decoding, and crop-ready shards as
    well, against a full decode."""
    files = material(options.large, directory, 500, bool(shutil.which("jpegtran")))
    base = base_task(options, files)._replace(images=max(1, options.images // 5), warmup=options.warmup // 5)
    base = base._replace(antialias=resizing == "antialiased")
    tasks = {"full decode": base._replace(reducing_gap=None), "scaled decoding": base}
    if files.crop_ready:
        tasks["scaled decoding, crop-ready shards"] = base._replace(contestant=CROP_READY)
    speeds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(options.rounds):
        for name, task in tasks.items():
            speeds[name].append(run(task))
    return Contest(f"large {resizing}: {files.about}", compared(speeds), {})


def main() -> None:
    options = arguments()
    if options.cpus:
        os.sched_setaffinity(0, {int(cpu) for cpu in options.cpus.split(",")})
    contests = []
    with tempfile.TemporaryDirectory() as directory:
        if any(title in CONTESTS for title in options.contests):
            files = material(options.data, Path(directory) / "files", options.epoch, bool(shutil.which("jpegtran")))
            base = base_task(options, files)
            print(f"{files.about}; {base.threads} CPUs, batches of {base.batch_size}")
            missing = [name for name, contestant in CONTESTANTS.items() if not contestant.installed]
            print(f"not installed: {', '.join(missing) or 'none'}")
            for title in (title for title in CONTESTS if title in options.contests):
                print(title, flush=True)
                tasks = tasks_of(base, title, options.only)
                contest = compete(f"{title}: {files.about}", tasks, options.rounds, options.max_workers, print)
                show(contest)
                contests.append(contest)
        for resizing in ("plain", "antialiased") if options.large else ():
            contests.append(large(options, Path(directory) / f"large-{resizing}", resizing))
            show(contests[-1])
    if options.out:
        store(contests, vars(options), options.out)


if __name__ == "__main__":
    main()
