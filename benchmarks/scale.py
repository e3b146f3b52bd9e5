"""What the order costs at scale: to the first batch of one worker among thousands, and after resuming elsewhere.

Nothing is read: the shards are simulated by their counts, all that a dataset knows of them at the start. From
there a worker computes the ids of its first batch's samples and the (shard, row) where each lies.
"""

import argparse
import resource
import time
import tracemalloc
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from fastdata.epoch.order import EpochOrder
from fastdata.epoch.plan import EpochPlan, Place
from fastdata.epoch.state import EpochState

Ints = npt.NDArray[np.int64]
MEGABYTE = 10**6


class Located(NamedTuple):
    """A batch's sample ids, and where they lie; int64, shape (batch size,)."""

    ids: Ints
    shards: Ints
    rows: Ints


class Cost(NamedTuple):
    seconds: float
    peak: int


def uneven_counts(samples: int, shards: int) -> Ints:
    """Samples of each shard: up to a fifth more or fewer than on average."""
    average = samples // shards
    more = np.random.default_rng(0).integers(0, average // 5 + 1, shards // 2)
    counts = np.full(shards, average, dtype=np.int64)
    counts[: len(more)] += more
    counts[-len(more) :] -= more
    counts[-1] += samples - counts.sum()
    return counts


def first_batch(counts: Ints, state: EpochState, place: Place, batch_size: int) -> Located:
    """All that this worker computes before it reads its first sample."""
    ends = np.cumsum(counts)
    order = EpochOrder(state.samples, state.shuffle, state.seed, state.epoch)
    plan = EpochPlan(state.samples, batch_size, place.world_size, start=state.position)
    step = plan.steps_of(place.rank, place.worker, place.num_workers)[0]
    ids = order.at(plan.positions(place.rank, step))
    shards = np.searchsorted(ends, ids, side="right")
    return Located(ids, shards, ids - (ends[shards] - counts[shards]))


def measure(counts: Ints, state: EpochState, place: Place, batch_size: int) -> Cost:
    """Seconds, and the most bytes at a time, the counts included."""
    begun = time.perf_counter()
    batch = first_batch(counts, state, place, batch_size)
    seconds = time.perf_counter() - begun
    assert np.array_equal(counts.cumsum()[batch.shards] - counts[batch.shards] + batch.rows, batch.ids)
    assert np.all((batch.rows >= 0) & (batch.rows < counts[batch.shards]))
    tracemalloc.start()
    first_batch(counts, state, place, batch_size)
    peak = tracemalloc.get_traced_memory()[1] + counts.nbytes
    tracemalloc.stop()
    return Cost(seconds, peak)


def resident() -> int:
    """The most bytes that this process ever had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--samples", type=int, default=5 * 10**9)
    parser.add_argument("--shards", type=int, default=10**6)
    parser.add_argument("--ranks", type=int, default=4096)
    parser.add_argument("--resumed-ranks", type=int, default=3000, help="the ranks that resume in mid-epoch")
    parser.add_argument("--workers", type=int, default=8, help="workers of each rank")
    parser.add_argument("--batch-size", type=int, default=256)
    options = parser.parse_args()

    before = resident()
    counts = uneven_counts(options.samples, options.shards)
    start = EpochState(epoch=3, position=0, seed=0, shuffle=True, samples=options.samples, fingerprint=None)
    plan = EpochPlan(options.samples, options.batch_size, options.ranks)
    middle = replace(start, position=plan.position_after(plan.steps(0) // 2))

    print(f"{options.samples:,} samples in {options.shards:,} shards, batches of {options.batch_size}")
    print(f"{'the last worker of the last rank':<34}{'steps':>10}{'seconds':>10}{'MB':>8}   (target: 1 s, 200 MB)")
    for title, state, ranks in (
        ("from the start", start, options.ranks),
        ("resumed in mid-epoch", middle, options.resumed_ranks),
    ):
        place = Place(ranks - 1, ranks, options.workers - 1, options.workers)
        cost = measure(counts, state, place, options.batch_size)
        steps = EpochPlan(options.samples, options.batch_size, ranks, start=state.position).steps(place.rank)
        named = f"{title}, {ranks:,} x {options.workers}"
        print(f"{named:<34}{steps:>10,}{cost.seconds:>10.4f}{cost.peak / MEGABYTE:>8.1f}")
    print(f"resident memory grew by {(resident() - before) / MEGABYTE:.1f} MB beyond interpreter and imports")


if __name__ == "__main__":
    main()
