"""`fastdata bench`: how fast this machine loads this data, what limits it, and what would help."""

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from fastdata.commands.measure import images_per_second, seconds_needed
from fastdata.commands.opened import opened
from fastdata.cpus import available_cpus, cpu_model
from fastdata.datasets.base import ImageDataset
from fastdata.datasets.collate import collate
from fastdata.datasets.shards import TarImageDataset
from fastdata.epoch.sampler import EpochSampler
from fastdata.errors import SampleError
from fastdata.images.kernel import kernel_name
from fastdata.loading.dali.options import check_installed
from fastdata.loading.loader import Loader
from fastdata.loading.stats import Stage
from fastdata.packing.convert import Conversion, CropReady, Encode, Keep
from fastdata.packing.crop_ready import can_make_crop_ready
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sample import Batch
from fastdata.sources.folder import scan_pattern
from fastdata.transforms.steps import RandomHorizontalFlip, RandomResizedCrop
from fastdata.transforms.transform import Transform

STEPS = (RandomResizedCrop(224), RandomHorizontalFlip())
_BATCH_SIZE = 64
_SAMPLED = 256  # photos on which changes are tried
_OPERATIONS = 1500  # small ones in a step, as a GPU's training step is to the CPU
_STEPS = 40
_WORTH = 1.05  # what gains less is not advised


class Report(NamedTuple):
    """What was measured, in images/s unless it says otherwise.

    `stages` are the shares of the threads' time, which sum to 1; `changes` are the speeds of what was tried over that
    of the same photos as they are; `step` is how many times as long a step of small operations takes beside a Loader
    of one thread.
    """

    machine: str
    samples: int
    by_threads: dict[int, float]
    against: dict[str, float]
    stages: dict[str, float]
    changes: dict[str, float]
    step: float


def bench(
    what: str,
    threads: Sequence[int] = (),
    against: Sequence[str] = ("torch",),
    seconds: float = 1.0,
    tell: Callable[[str], None] = print,
) -> Report:
    """Measures a folder or shards, by RandomResizedCrop(224) and a flip, antialiased; tells how long that takes.

    `threads` are the numbers of a Loader's threads, by default 1, 2, 4, … and all CPUs. `against` is "torch", a
    DataLoader with a worker for each CPU, or nothing. Raises what datasets raise, ValueError for another contestant.
    """
    if unknown := set(against) - {"torch"}:
        raise ValueError(f"there is no {min(unknown)!r} here to measure against: torch, or benchmarks/throughput.py")
    dataset, counts = opened(what, STEPS), list(threads) or _doubled(available_cpus())
    if not dataset.num_samples:
        raise ValueError(f"{what} has no samples")
    tried = 3 + _has_dali()
    needed = seconds_needed(len(counts) + len(against) + tried + 1, seconds=seconds) + 10
    tell(f"measuring {dataset.num_samples:,} samples for about {needed:.0f} seconds; let nothing else run meanwhile")
    by_threads, of_others = _speeds(dataset, counts, against, seconds)
    return Report(
        f"{available_cpus()} CPUs of {cpu_model()}; compiled kernel: {kernel_name()}",
        dataset.num_samples,
        by_threads,
        of_others,
        _stages(dataset, max(counts)),
        _changes(dataset, max(counts), seconds),
        _slowed_step(dataset),
    )


def _doubled(cpus: int) -> list[int]:
    return sorted({*(2**power for power in range(cpus.bit_length())), cpus} - {0}) if cpus > 1 else [1]


def _has_dali() -> bool:
    try:
        check_installed()
    except ImportError:
        return False
    return True


def _speeds(
    dataset: Any, counts: Sequence[int], against: Sequence[str], seconds: float
) -> tuple[dict[int, float], dict[str, float]]:
    ways: dict[str, Iterable[Batch]] = {str(count): _loader(dataset, count) for count in counts}
    if "torch" in against:
        order, workers = EpochSampler(dataset, _BATCH_SIZE), available_cpus()
        ways["torch"] = DataLoader(
            dataset, _BATCH_SIZE, sampler=order, collate_fn=collate, num_workers=workers, persistent_workers=True
        )
    found = images_per_second(ways, seconds=seconds)
    return {count: found[str(count)] for count in counts}, {name: found[name] for name in against}


def _loader(dataset: Any, threads: int, decoder: Any = "cpu") -> Loader:
    return Loader(dataset, _BATCH_SIZE, shuffle=True, num_threads=threads, decoder=decoder, on_error="skip")


def _stages(dataset: ImageDataset, threads: int) -> dict[str, float]:
    """Shares of the threads' time in an epoch, or in 20 seconds of it."""
    with closing(_loader(dataset, threads)) as loader:
        begun = time.perf_counter()
        for _ in loader:
            if time.perf_counter() - begun > 20:
                break
        stats = loader.stats()
    busy = {stage.value: float(getattr(stats, stage)) for stage in Stage}
    whole = sum(busy.values())
    return {stage: time / whole for stage, time in busy.items() if time}


def _changes(dataset: ImageDataset, threads: int, seconds: float) -> dict[str, float]:
    """The speeds of some of the photos, changed, over their speed as they are."""
    with tempfile.TemporaryDirectory() as directory:
        photos = Path(directory) / "photos"
        _copy_some(dataset, photos)
        kept = _packed(photos, "keep", Keep())
        ways: dict[str, Iterable[Batch]] = {"": _loader(TarImageDataset(kept, STEPS, target=None), threads)}
        plain = TarImageDataset(kept, Transform(STEPS, antialias=False), target=None)
        ways["antialias=False"] = _loader(plain, threads)
        if can_make_crop_ready():
            ready = TarImageDataset(_packed(photos, "ready", CropReady()), STEPS, target=None)
            ways["fastdata shard --jpeg crop-ready"] = _loader(ready, threads)
        small = TarImageDataset(_packed(photos, "small", Encode(max_side=320)), STEPS, target=None)
        ways["fastdata shard --jpeg encode --max-side 320"] = _loader(small, threads)
        if _has_dali():
            ways["decoder='dali'"] = _loader(TarImageDataset(kept, STEPS, target=None), threads, "dali")
        found = images_per_second(ways, seconds=seconds)
    base = found.pop("")
    return {change: speed / base for change, speed in found.items()}


def _copy_some(dataset: ImageDataset, photos: Path) -> None:
    """Some of the images that can be read, evenly spread, as files of numbers."""
    photos.mkdir()
    count = min(_SAMPLED, dataset.num_samples)
    for place, number in enumerate(np.linspace(0, dataset.num_samples - 1, count).astype(int).tolist()):
        try:
            (photos / f"{place}.jpg").write_bytes(dataset.read(number).image)
        except SampleError:
            continue


def _packed(photos: Path, name: str, jpeg: Conversion) -> list[Path]:
    """The shards of the photos, changed so."""
    directory = photos.parent / name
    pack(scan_pattern(photos), directory, division=ShardCount(1), jpeg=jpeg, jobs=1, check=False)
    return sorted(directory.glob("*.tar"))


def _slowed_step(dataset: ImageDataset) -> float:
    """How many times as long a step takes beside a Loader of one thread at full speed."""
    step, before = _Step(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(_STEPS // 4):
            step()
        alone = fmean(step() for _ in range(_STEPS))
        with closing(_loader(dataset, 1)) as loader:
            beside: list[float] = []
            while len(beside) < _STEPS:
                for _ in loader:
                    beside.append(step())
                    if len(beside) == _STEPS:
                        break
    finally:
        torch.set_num_threads(before)
    return fmean(beside) / alone


class _Step:
    """Many small operations of torch, each of which gives the interpreter's lock away and takes it back."""

    def __init__(self) -> None:
        self._values = torch.ones(64, 64)

    def __call__(self) -> float:
        """The seconds that it takes."""
        begun = time.perf_counter()
        for _ in range(_OPERATIONS):
            self._values = self._values.mul(1.0)
        return time.perf_counter() - begun


def verdict(report: Report, model_rate: float | None = None) -> list[str]:
    """What limits, what would help most, and whether a model of so many images/s would be fed, in words."""
    stage, share = max(report.stages.items(), key=lambda each: each[1])
    said = [f"{_IN_WORDS[stage]} takes most of the threads' time, {share:.0%} of it."]
    threads, best = max(report.by_threads.items(), key=lambda each: each[1])
    least, slowest = min(report.by_threads.items())
    if threads > least:
        gain = best / slowest / (threads / least)
        said.append(
            f"{threads} threads are {best / slowest:.2f} times as fast as {least}: {gain:.0%} of what they could be."
        )
    helps = {change: gain for change, gain in report.changes.items() if gain > _WORTH}
    for change, gain in sorted(helps.items(), key=lambda each: -each[1]):
        said.append(f"{change} makes it {gain:.2f} times as fast, on some of the photos.")
    if not helps:
        said.append("Of what was tried nothing makes it faster: more CPUs will.")
    if model_rate is not None:
        said.append(_fed(report, model_rate, best, threads))
    return said


def _fed(report: Report, model_rate: float, best: float, threads: int) -> str:
    if best >= model_rate:
        enough = min(count for count, speed in report.by_threads.items() if speed >= model_rate)
        return f"A model of {model_rate:,.0f} images/s is fed, by {enough} threads."
    wanted = math.ceil(model_rate / (best / threads))
    return f"A model of {model_rate:,.0f} images/s waits: it needs some {wanted} CPUs like these."


_IN_WORDS = {
    Stage.READ.value: "Reading",
    Stage.DRAW.value: "Drawing views",
    Stage.DECODE.value: "Decoding JPEGs",
    Stage.RESIZE.value: "Resizing",
    Stage.MAP.value: "Colour, or map=,",
}


def show(report: Report, said: Iterable[str]) -> None:
    """Prints tables and the verdict."""
    console = Console()
    console.print(report.machine, markup=False)
    table = Table("images/s", "RandomResizedCrop(224), flip, batches of 64")
    for threads, speed in report.by_threads.items():
        table.add_row(f"{speed:,.0f}", f"Loader, threads: {threads}")
    for name, speed in report.against.items():
        table.add_row(f"{speed:,.0f}", f"{name}'s DataLoader, workers: {available_cpus()}")
    console.print(table)
    stages = Table("share", "of the threads' time")
    for stage, share in report.stages.items():
        stages.add_row(f"{share:.0%}", stage)
    console.print(stages)
    console.print(f"a step of small operations takes {report.step:.2f} times as long beside a Loader of one thread")
    for line in said:
        console.print(line, markup=False)
