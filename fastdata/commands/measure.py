"""Images/s of several ways to load, measured in turns: what slows the machine for a while then slows all of them."""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from statistics import median

from fastdata.sample import Batch

_WARM = 0.3  # seconds of each turn that don't count: what was ready beforehand, and whoever slept


def images_per_second(ways: Mapping[str, Iterable[Batch]], rounds: int = 3, seconds: float = 1.0) -> dict[str, float]:
    """Of each way the median of its turns, each of so many seconds. Epochs follow each other as long as it takes."""
    measured: dict[str, list[float]] = {way: [] for way in ways}
    with ExitStack() as stack:
        running = {way: stack.enter_context(closing(_forever(batches))) for way, batches in ways.items()}
        for batches in running.values():
            next(batches)  # workers have started, memory is there
        for _ in range(rounds):
            for way, batches in running.items():
                _turn(batches, _WARM)
                measured[way].append(_turn(batches, seconds))
    return {way: median(turns) for way, turns in measured.items()}


def seconds_needed(ways: int, rounds: int = 3, seconds: float = 1.0) -> float:
    """About how long that takes."""
    return ways * rounds * (seconds + _WARM)


def _forever(batches: Iterable[Batch]) -> Generator[Batch, None, None]:
    while True:
        yield from batches


def _turn(batches: Iterator[Batch], seconds: float) -> float:
    begun, images, passed = time.perf_counter(), 0, 0.0
    while passed < seconds:
        images += len(next(batches).keys)
        passed = time.perf_counter() - begun
    return images / passed
