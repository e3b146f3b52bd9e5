"""The most that a Loader could do: threads that only decode, from memory, what was read and drawn before."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import numpy as np

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.prepared import Prepared, new_rows
from fastdata.errors import SampleError

_SAMPLES = 512


def ceiling(dataset: ImageDataset, threads: int, seconds: float) -> float:
    """Images/s of so many threads, on some of the samples that are good."""
    groups = _prepared(dataset, *some_views(dataset.num_samples))
    if not groups:
        return 0.0
    until = time.perf_counter() + seconds

    def decoded(first: int) -> float:
        """Images/s of one thread, which begins with a group of its own."""
        images, begun = 0, time.perf_counter()
        rows = {id(group): new_rows(group) for group in groups}
        for group in cycle(groups[first % len(groups) :] + groups[: first % len(groups)]):
            dataset.decode_into(group, rows[id(group)])
            images += len(group)
            if time.perf_counter() > until:
                break
        return images / (time.perf_counter() - begun)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(decoded, range(threads)))


def some_views(num_samples: int) -> tuple[list[int], list[int]]:
    """Numbers of samples, evenly spread, and an epoch of each; few samples come in several epochs, since views differ
    in what they cost, and a Loader decodes many."""
    if num_samples >= _SAMPLES:
        return np.linspace(0, num_samples - 1, _SAMPLES).astype(int).tolist(), [0] * _SAMPLES
    return [i % num_samples for i in range(_SAMPLES)], [i // num_samples for i in range(_SAMPLES)]


def _prepared(dataset: ImageDataset, numbers: Sequence[int], epochs: Sequence[int]) -> list[list[Prepared]]:
    """The samples in groups as a Loader's threads have them, in memory."""
    groups = []
    done = 0
    while done < len(numbers):
        samples = dataset.prepare(numbers[done : done + 16], epochs[done : done + 16]).samples
        done += len(samples)
        good = [sample for sample in samples if not isinstance(sample, SampleError)]
        if good:
            groups.append(good)
    return groups
