"""`fastdata bench`: how fast this machine loads this data, and what would change that."""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from fastdata.commands.bench.ceiling import ceiling
from fastdata.commands.bench.changes import changes, how_many
from fastdata.commands.bench.peers import PEERS, check_peers
from fastdata.commands.bench.sampled import Sampled
from fastdata.commands.bench.step import slowed_step
from fastdata.commands.bench.ways import DECODERS, STEPS, loader
from fastdata.commands.measure import images_per_second, seconds_needed
from fastdata.commands.opened import opened
from fastdata.cpus import available_cpus, cpu_model
from fastdata.datasets.base import ImageDataset
from fastdata.datasets.shards import TarImageDataset
from fastdata.images.kernel import kernel_name
from fastdata.loading.dali.options import check_installed
from fastdata.loading.stats import Stage
from fastdata.sample import Batch

_STAGES_SECONDS = 10  # at most, in which stages are measured
_BESIDES = 15  # seconds, about, of everything that takes no turns: stages, ceiling, steps, packing


class Report(NamedTuple):
    """What was measured, in images/s unless it says otherwise.

    `by_threads` is by decoder and number of threads, `ceiling` what the most threads only decode, from memory. On some
    of the photos: `sampled` is the Loader's speed as they are, `against` the speeds of others, `changes` the Loader's
    gains by what was tried, as ratios. `stages` are the shares of the threads' time, which sum to 1; `step` is how many
    times as long a step of small operations takes beside a Loader of one thread. `far`: samples come by network.
    Of the `tried` photos that were to be among "some of the photos" `left_out` can't be decoded.
    """

    machine: str
    samples: int
    far: bool
    by_threads: dict[str, dict[int, float]]
    ceiling: float
    sampled: float
    against: dict[str, float]
    stages: dict[str, float]
    changes: dict[str, float]
    step: float
    tried: int
    left_out: int


def bench(
    what: str,
    threads: Sequence[int] = (),
    against: Sequence[str] = ("torch",),
    seconds: float = 1.0,
    tell: Callable[[str], None] = print,
    decoders: Sequence[str] = ("cpu",),
) -> Report:
    """Measures a folder or shards, by RandomResizedCrop(224) and a flip, antialiased; tells how long that takes.

    `threads` are the numbers of a Loader's threads, by default 1, 2, 4, … and all CPUs; `against` names "torch",
    "webdataset" or "dali". Raises what datasets raise, ValueError for another contestant or decoder, ImportError for
    one that is not installed.
    """
    check_peers(against)
    check_decoders(decoders)
    dataset, counts = opened(what, STEPS), sorted(set(threads)) or doubled(available_cpus())
    if not dataset.num_samples:
        raise ValueError(f"{what} has no samples")
    ways = len(decoders) * len(counts) + 1 + len(against) + how_many()
    needed = seconds_needed(ways, seconds=seconds) + _BESIDES
    tell(f"measuring {dataset.num_samples:,} samples for about {needed:.0f} seconds; let nothing else run meanwhile")
    with tempfile.TemporaryDirectory() as directory:
        some = Sampled(dataset, Path(directory))  # first: who loads forever must not wait for a photo that is good
        by_threads = _by_threads(dataset, decoders, counts, seconds)
        tell(f"on some of the photos: what would help{', and ' if against else ''}{', '.join(against)}")
        sampled, others, gains = _on_some(some, max(counts), against, seconds)
    return Report(
        f"{available_cpus()} CPUs of {cpu_model()}; compiled kernel: {kernel_name()}",
        dataset.num_samples,
        dataset.is_far,
        by_threads,
        ceiling(dataset, max(counts), seconds),
        sampled,
        others,
        _stages(dataset, max(counts)),
        gains,
        slowed_step(dataset),
        some.tried,
        some.left_out,
    )


def doubled(cpus: int) -> list[int]:
    """1, 2, 4, … and all of them."""
    return sorted({*(2**power for power in range(cpus.bit_length())), cpus} - {0}) if cpus > 1 else [1]


def check_decoders(decoders: Sequence[str]) -> None:
    """ValueError for none, or one that is not known here; ImportError, with what to install, without DALI."""
    if not decoders or (unknown := set(decoders) - set(DECODERS)):
        raise ValueError(f"there is no decoder {min(unknown, default='') if decoders else ''!r}: {', '.join(DECODERS)}")
    if "dali" in decoders:
        check_installed()


def _by_threads(
    dataset: Any, decoders: Sequence[str], counts: Sequence[int], seconds: float
) -> dict[str, dict[int, float]]:
    each = [(decoder, count) for decoder in decoders for count in counts]
    ways: dict[str, Iterable[Batch]] = {f"{name} {count}": loader(dataset, count, name) for name, count in each}
    found = images_per_second(ways, seconds=seconds)
    return {name: {count: found[f"{name} {count}"] for count in counts} for name in decoders}


def _on_some(
    sampled: Sampled, threads: int, against: Sequence[str], seconds: float
) -> tuple[float, dict[str, float], dict[str, float]]:
    """The Loader's speed on some of the photos, those of others, and the gains of changes."""
    tried = changes(sampled, threads)
    peers = {f"against {name}": PEERS[name](sampled) for name in against}
    base = loader(TarImageDataset(sampled.shards, STEPS, target=None), threads)
    found = images_per_second({"": base, **tried, **peers}, seconds=seconds)
    others = {name: found[f"against {name}"] for name in against}
    return found[""], others, {change: found[change] / found[""] for change in tried}


def _stages(dataset: ImageDataset, threads: int) -> dict[str, float]:
    """Shares of the threads' time in an epoch, or in the first seconds of it."""
    with closing(loader(dataset, threads)) as batches:
        begun = time.perf_counter()
        for _ in batches:
            if time.perf_counter() - begun > _STAGES_SECONDS:
                break
        stats = batches.stats()
    busy = {stage.value: float(getattr(stats, stage)) for stage in Stage}
    whole = sum(busy.values())
    return {stage: time / whole for stage, time in busy.items() if time}
