"""What scale costs: shards, samples and ranks against time, memory, descriptors and requests.

First the order: to the first batch of one worker among thousands, and after resuming elsewhere. Nothing is read: the
shards are simulated by their counts, all that a dataset knows of them at the start. From there a worker computes the
ids of its first batch's samples and the (shard, row) where each lies.

Then datasets of many shards, simulated, too: they are opened and read from by the first and the last rank (opening.py).
"""

import argparse
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

import opening
from fastdata.epoch.order import EpochOrder
from fastdata.epoch.plan import EpochPlan, Place
from fastdata.epoch.state import EpochState
from opening import memory

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


def order_costs(options: argparse.Namespace) -> None:
    before = memory("VmHWM")
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
    print(f"memory grew by {(memory('VmHWM') - before) / MEGABYTE:.1f} MB beyond interpreter and imports\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5 * 10**9, help="of the order; default: 5,000 million")
    parser.add_argument("--shards", type=int, default=10**6, help="of the order; default: a million")
    parser.add_argument("--ranks", type=int, default=4096, help="default: 4096")
    parser.add_argument("--resumed-ranks", type=int, default=3000, help="that resume in mid-epoch; default: 3000")
    parser.add_argument("--workers", type=int, default=8, help="of each rank; default: 8")
    parser.add_argument("--batch-size", type=int, default=256, help="of the order; default: 256")
    parser.add_argument(
        "--datasets", type=int, nargs="*", default=[100, 10_000, 100_000], help="shards of each dataset"
    )
    parser.add_argument("--in-shard", type=int, default=1000, help="samples in each of their shards; default: 1000")
    options = parser.parse_args()
    order_costs(options)
    print(opening.HEADING)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # nginx's workers are another user's
        for shards in options.datasets:
            opening.costs(shards, options.in_shard, options.ranks, Path(folder) / str(shards))


if __name__ == "__main__":
    main()
