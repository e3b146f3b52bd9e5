"""Images a second of fastdata and its peers: the same work on the same files, on the same CPUs, in turn.

Contests are "plain" and "antialiased" (how the crop is resized), each with batches of uint8 and of normalized float32;
"DALI", fastdata with DALI as its decoder against DALI's own pipeline; "large", of photos that JPEG's scaled decoding
shrinks first; and "GPU". See README.md.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from contestants import CONTESTANTS
from contests import KINDS, LARGE, USUAL, Kind
from material import Material, material
from measure import IMAGES_PER_SECOND, Span, throughput
from options import parser, use_cpus
from report import show, store
from rounds import Contest, Measure, compete, in_fresh_process
from work import Work

GPU = 0


def arguments() -> argparse.Namespace:
    made = parser(__doc__, rounds=5, images=3000)
    made.add_argument(
        "--contests", nargs="*", choices=KINDS, help="default: those of uint8 and float32, and of --large"
    )
    made.add_argument("--only", nargs="*", help="contestants whose names contain one of these, and the first one")
    made.add_argument("--first", help="the contestant that the others are compared with, instead of a contest's own")
    made.add_argument("--warmup", type=int, help="images before those measured; default: a third as many")
    made.add_argument("--large", type=Path, help="folder of JPEGs of several megapixels, for the contests of such")
    made.add_argument("--large-images", type=int, default=600, help="--images of these contests; default: 600")
    made.add_argument("--gpu-seconds", type=float, default=8, help="at least: dmon looks once a second; default: 8")
    made.add_argument("--max-workers", type=int, default=3, help="of a DataLoader: the best of 1 to this; default: 3")
    options = made.parse_args()
    options.contests = options.contests or [*USUAL, *(LARGE if options.large else ())]
    if options.first not in (None, *CONTESTANTS):
        made.error(f"--first must be one of {', '.join(CONTESTANTS)}")
    if any(KINDS[title].large for title in options.contests) and not options.large:
        made.error("the contests of large photos need --large")
    return options


def asked(kind: Kind, options: argparse.Namespace) -> list[str]:
    """The first one first."""
    first = options.first or kind.contestants[0]
    wanted = [name for name in kind.contestants if not options.only or any(part in name for part in options.only)]
    return list(dict.fromkeys([first, *wanted]))


def those_here(wanted: Sequence[str], files: Material) -> list[str]:
    """Who can take part; says who can't, and the versions of those who can."""
    names = []
    for name in wanted:
        why_not = CONTESTANTS[name].why_not(files)
        if why_not is None:
            names.append(name)
        else:
            print(f"without {name}: {why_not}")
    print("with", ", ".join(sorted({CONTESTANTS[name].version for name in names})))
    return names


def entry(name: str, work: Work, span: Span, upto: int) -> tuple[str, Measure]:
    """A contestant in processes tries 1 to `upto` workers, and takes part with the best number of them."""
    if not CONTESTANTS[name].in_workers:
        return name, partial(throughput, name, work, span)
    short = span._replace(images=span.images // 2)
    tried = {number: partial(throughput, name, replace(work, workers=number), short) for number in range(1, upto + 1)}
    best = max(tried, key=lambda number: speed_or_none(tried[number]))
    title = f"{name}, {best} worker{'s' * (best > 1)}"
    return title, partial(throughput, name, replace(work, workers=best), span)


def speed_or_none(measure: Measure) -> float:
    """Images/s; 0 where it fails: it will fail again in the contest, which says so."""
    try:
        return in_fresh_process(measure).figures[IMAGES_PER_SECOND]
    except Exception:  # noqa: BLE001 - as above
        return 0.0


def contest(title: str, options: argparse.Namespace, files: Material, threads: int) -> Contest:
    kind = KINDS[title]
    gpu = GPU if kind.on_gpu else None
    work = Work(files, kind.antialias, kind.floats, options.batch_size, threads, workers=0, gpu=gpu)
    images = options.large_images if kind.large else options.images
    warmup = images // 3 if options.warmup is None else options.warmup
    span = Span(warmup, images, options.gpu_seconds if kind.on_gpu else 0.0)
    entries = dict(entry(name, work, span, options.max_workers) for name in those_here(asked(kind, options), files))
    return compete(f"{title}: {files.about}", entries, [IMAGES_PER_SECOND], options.rounds)


def all_contests(options: argparse.Namespace, files: Mapping[bool, Material], threads: int) -> list[Contest]:
    """`files` are the large photos (True) and the others."""
    held = []
    for title in options.contests:
        if KINDS[title].on_gpu and not torch.cuda.is_available():
            print("No CUDA device here: nothing to measure. The contests of DALI measure it on the CPU.")
            continue
        held.append(contest(title, options, files[KINDS[title].large], threads))
        show(held[-1])
    return held


def main() -> None:
    options = arguments()
    threads = use_cpus(options.cpus)
    with tempfile.TemporaryDirectory() as directory:
        files = {
            large: material(options.large if large else options.data, Path(directory) / f"{large}", epoch)
            for large, epoch in ((False, options.epoch), (True, options.large_images))
            if any(KINDS[title].large is large for title in options.contests)
        }
        print(f"{threads} CPUs, batches of {options.batch_size}")
        held = all_contests(options, files, threads)
    if options.out:
        store(held, vars(options), "throughput", options.out)


if __name__ == "__main__":
    main()
