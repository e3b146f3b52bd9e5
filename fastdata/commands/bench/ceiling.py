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
    count = min(_SAMPLES, dataset.num_samples)
    groups = _prepared(dataset, np.linspace(0, dataset.num_samples - 1, count).astype(int).tolist())
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


def _prepared(dataset: ImageDataset, numbers: Sequence[int]) -> list[list[Prepared]]:
    """The samples in groups as a Loader's threads have them, in memory."""
    groups = []
    left = list(numbers)
    while left:
        samples = dataset.prepare(left[:16], 0).samples
        left = left[len(samples) :]
        good = [sample for sample in samples if not isinstance(sample, SampleError)]
        if good:
            groups.append(good)
    return groups
