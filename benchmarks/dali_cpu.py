"""DALI's own CPU pipeline against fastdata with DALI as its decoder, on the same photos, with the same threads.

DALI's own: its file reader (shuffled), `decoders.image_random_crop`, `resize`, `flip`, as a torch tensor by DLPack,
as its iterators have it. fastdata: `Loader(decoder="dali")` from the folder, and from crop-ready shards that are
packed for the occasion. All do RandomResizedCrop(224) and a flip, antialiased or not; uint8, channels last. They run in
turn, round after round; the result is the ratio of their medians to DALI's own.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from nvidia.dali import Pipeline, fn, types
from torch import Tensor
from torch.utils.dlpack import from_dlpack

import fastdata as fd
from fastdata.packing.convert import CropReady
from fastdata.packing.pack import pack
from fastdata.sources.folder import scan_classes

SIZE = 224


def dali_pipeline(data: Path, batch_size: int, threads: int, antialias: bool, gpu: int | None = None) -> Pipeline:
    """As DALI's documentation has it, with its own reader and random numbers; on a GPU if one is given."""
    pipeline = Pipeline(batch_size=batch_size, num_threads=threads, device_id=gpu, seed=0)
    with pipeline:
        encoded, labels = fn.readers.file(file_root=str(data), random_shuffle=True, name="reader")
        images = fn.decoders.image_random_crop(
            encoded,
            device="cpu" if gpu is None else "mixed",
            random_area=(0.08, 1.0),
            random_aspect_ratio=(3 / 4, 4 / 3),
        )
        images = fn.resize(images, size=(SIZE, SIZE), interp_type=types.INTERP_LINEAR, antialias=antialias)
        pipeline.set_outputs(fn.flip(images, horizontal=fn.random.coin_flip()), labels)
    return pipeline


def batches_of_dali(pipeline: Pipeline) -> Iterator[Tensor]:
    pipeline.schedule_run()
    while True:
        images, _ = pipeline.share_outputs()
        tensor = from_dlpack(images.as_tensor())
        pipeline.release_outputs()
        pipeline.schedule_run()
        yield tensor


def batches_of_fastdata(
    dataset: fd.ImageDirectoryDataset | fd.TarImageDataset, batch_size: int, threads: int, **options: Any
) -> Iterator[Tensor]:
    shuffle = True if isinstance(dataset, fd.ImageDirectoryDataset) else None
    loader = fd.Loader(dataset, batch_size, num_threads=threads, shuffle=shuffle, last="drop", **options)
    for epoch in count():
        loader.set_epoch(epoch)
        for images, _ in loader:
            yield images


def images_per_second(batches: Iterator[Tensor], number: int) -> float:
    begun = time.perf_counter()
    images = sum(len(next(batches)) for _ in range(number))
    return images / (time.perf_counter() - begun)


def compare(contestants: dict[str, Callable[[], Iterator[Tensor]]], rounds: int, batches: int) -> None:
    """One after the other, each torn down before the next begins: its prefetching would run on beside the next."""
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for name, start in [*contestants.items()] * rounds:
        running = start()
        images_per_second(running, 5)  # until its queues are full
        speeds[name].append(images_per_second(running, batches))
        del running
    medians = {name: statistics.median(of) for name, of in speeds.items()}
    reference = next(iter(medians.values()))
    for name, median in medians.items():
        spread = f"{min(speeds[name]):.0f} to {max(speeds[name]):.0f}"
        print(f"  {name:34} {median:7.0f} images/s ({spread})   {median / reference:.2f}")


def copies(data: Path, directory: Path, least: int) -> Path:
    """The photos of class folders over and over, to `least` at least: the ends of short epochs would be measured."""
    scan = scan_classes(data)
    for copy in range(-(-least // len(scan))):
        for row in range(len(scan)):
            path = Path(scan.path(row))
            target = directory / f"{copy:03}-{path.parent.name}" / f"{row:06}{path.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return directory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of class folders of JPEGs")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=25, help="of each round")
    parser.add_argument("--photos", type=int, default=2000, help="of an epoch at least: DATA's are repeated")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        data, shards = copies(arguments.data, Path(directory) / "data", arguments.photos), Path(directory) / "shards"
        pack(scan_classes(data), shards, jpeg=CropReady(), jobs=1)
        for antialias in (True, False):
            measure(data, shards, antialias, arguments)


def measure(data: Path, shards: Path, antialias: bool, arguments: argparse.Namespace) -> None:
    size, threads = arguments.batch_size, arguments.threads
    transform = fd.Transform([fd.RandomResizedCrop(SIZE), fd.RandomHorizontalFlip()], antialias=antialias)
    folder = fd.ImageDirectoryDataset(data, transform=transform)
    packed = fd.TarImageDataset(str(shards / "train-*.tar"), transform=transform, shuffle=True)
    average = sum(Path(path).stat().st_size for path, _ in folder.samples) / len(folder)
    print(
        f"{arguments.data}, photos of {average / 1000:.0f} kB, {threads} threads on {os.cpu_count()} CPUs, "
        f"{'antialiased' if antialias else 'plain bilinear'}"
    )
    contestants: dict[str, Callable[[], Iterator[Tensor]]] = {
        "DALI's own pipeline": lambda: batches_of_dali(dali_pipeline(data, size, threads, antialias)),
        "fastdata, DALI, folder": lambda: batches_of_fastdata(folder, size, threads, decoder="dali"),
        "fastdata, DALI, crop-ready shards": lambda: batches_of_fastdata(packed, size, threads, decoder="dali"),
        "fastdata, CPU decoder, folder": lambda: batches_of_fastdata(folder, size, threads),
        "fastdata, CPU, crop-ready shards": lambda: batches_of_fastdata(packed, size, threads),
    }
    compare(contestants, arguments.rounds, arguments.batches)


if __name__ == "__main__":
    main()
