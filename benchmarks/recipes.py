"""What training recipes cost: colour steps against torchvision's, and several views of an image against one.

"colours": RandomResizedCrop(224), a flip, ColorJitter(0.4, 0.4, 0.4, 0.1) and RandomErasing(0.25), in the Loader's
threads, against torchvision v2 in torch's DataLoader with as many workers: as its ImageFolder has it, on Pillow's
images, and as `map=` of this package's dataset, on tensors. Others are to reach half of the Loader's speed at most.

"views": images a second, whatever the number of their views, of one view, of two, and of DINO's two large and six small
ones; two views are to take at most 1.5 times the time of one, so to reach 0.67 of it.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import fastdata as fd
import real_torchvision
from material import Material, material
from measure import IMAGES_PER_SECOND, Span, look, timed
from options import parser, use_cpus
from ours import torchs_data_loader
from real_torchvision import FORKED
from report import show, store
from rounds import Contest, Measured, compete
from work import SIZE, STEPS, Batches, Work

JITTER, ERASING = (0.4, 0.4, 0.4, 0.1), 0.25
COLOURS = [*STEPS, fd.ColorJitter(*JITTER), fd.RandomErasing(ERASING)]
LARGE, SMALL = [fd.RandomResizedCrop(SIZE, (0.4, 1.0)), STEPS[1]], [fd.RandomResizedCrop(96, (0.05, 0.4)), STEPS[1]]


def loader(steps: Any, work: Work, folder: bool = False) -> Batches:
    """Of several views the first one is given out: the work is done, and batches look alike."""
    dataset: Any = fd.TarImageDataset(work.files.shards, steps)
    if folder:
        dataset = fd.ImageDirectoryDataset(work.files.folder, transform=steps)
    batches = fd.Loader(dataset, work.batch_size, num_threads=work.threads, shuffle=True)
    while True:
        for batch in batches:
            images: Any = batch.images
            yield next(iter(images.values()))[:, 0] if isinstance(images, dict) else images


def data_loader(steps: Any, work: Work) -> Batches:
    dataset = fd.ImageDirectoryDataset(work.files.folder, transform=steps)
    sampler = fd.EpochSampler(dataset, batch_size=work.batch_size)
    return torchs_data_loader(dataset, work, sampler=sampler, collate_fn=fd.collate)


def image_folder(work: Work) -> Batches:
    """torchvision's usual way: Pillow decodes, crops and recolours."""
    torchvision = real_torchvision.torchvision()
    v2 = torchvision.transforms.v2
    steps = [v2.RandomResizedCrop(SIZE), v2.RandomHorizontalFlip(), v2.ColorJitter(*JITTER), v2.PILToTensor()]
    steps.append(v2.RandomErasing(ERASING))
    dataset = torchvision.datasets.ImageFolder(work.files.folder, transform=v2.Compose(steps))
    return torchs_data_loader(dataset, work, shuffle=True, multiprocessing_context=FORKED)


def mapped(work: Work) -> Batches:
    """This package's decoding and crops, torchvision's colours."""
    v2 = real_torchvision.torchvision().transforms.v2
    colours = v2.Compose([v2.ColorJitter(*JITTER), v2.RandomErasing(ERASING)])
    dataset = fd.ImageDirectoryDataset(work.files.folder, transform=STEPS, map=colours)
    sampler = fd.EpochSampler(dataset, batch_size=work.batch_size)
    how: dict[str, Any] = {
        "sampler": sampler,
        "collate_fn": fd.collate,
        "multiprocessing_context": FORKED,
    }
    return torchs_data_loader(dataset, work, **how)


Start = Callable[[Work], Batches]
CONTESTS: Mapping[str, Mapping[str, Start]] = {
    "colours": {
        "Loader, shards": partial(loader, COLOURS),
        "Loader, folder": partial(loader, COLOURS, folder=True),
        "torch's DataLoader, folder": partial(data_loader, COLOURS),
        "torchvision's ImageFolder": image_folder,
        "torchvision's colours by map=": mapped,
        "Loader, shards, without colours": partial(loader, STEPS),
    },
    "views": {
        "one view": partial(loader, STEPS),
        "two views": partial(loader, fd.Views(views=(2, STEPS))),
        "one view with colours": partial(loader, COLOURS),
        "two views with colours": partial(loader, fd.Views(views=(2, COLOURS))),
        "DINO's two and six": partial(loader, fd.Views(global_=(2, LARGE), local=(6, SMALL))),
    },
}
OF_TORCHVISION = (image_folder, mapped)


def speed(start: Start, work: Work, span: Span) -> Measured:
    with closing(start(work)) as batches:
        result = timed(batches, span)
        return Measured({IMAGES_PER_SECOND: result.images / result.seconds}, look(result.last))


def contest(title: str, options: argparse.Namespace, files: Material, threads: int) -> Contest:
    work = Work(files, True, False, options.batch_size, threads, workers=threads)
    span = Span(options.images // 3, options.images)
    entries, missing = {}, real_torchvision.why_not()
    for name, start in CONTESTS[title].items():
        if missing and start in OF_TORCHVISION:
            print(f"without {name}: {missing}")
        else:
            entries[name] = partial(speed, start, work, span)
    return compete(f"{title}: {files.about}", entries, [IMAGES_PER_SECOND], options.rounds)


def main() -> None:
    made = parser(__doc__, rounds=5, images=3000)
    made.add_argument("--contests", nargs="*", choices=CONTESTS, default=[*CONTESTS], help="default: all")
    options = made.parse_args()
    threads = use_cpus(options.cpus)
    with tempfile.TemporaryDirectory() as directory:
        files = material(options.data, Path(directory), options.epoch)
        print(f"{threads} threads or workers, batches of {options.batch_size}")
        held = []
        for title in options.contests:
            held.append(contest(title, options, files, threads))
            show(held[-1])
    if options.out:
        store(held, vars(options), "recipes", options.out)


if __name__ == "__main__":
    main()
