"""What a DataLoader calls its options, where a `Loader` has the same under another name, or none."""

from collections.abc import Mapping
from typing import Any, TypedDict

from fastdata.epoch.plan import Last


class TorchNames(TypedDict, total=False):
    """Options of torch's DataLoader that a `Loader` takes."""

    drop_last: bool
    num_workers: int


_INSTEAD = {
    "sampler": "say order=..., or use EpochSampler in a DataLoader",
    "batch_sampler": "say batch_size and order=..., or use EpochSampler in a DataLoader",
    "collate_fn": "leave it out: batches are collated already",
    "pin_memory": "leave it out: with device='cuda' batches come through pinned memory",
    "pin_memory_device": "say device='cuda'",
    "prefetch_factor": "say prefetch, the number of batches under way",
    "persistent_workers": "leave it out: there are threads, not workers",
    "worker_init_fn": "leave it out: there are threads, not workers, and samples are drawn by seed, epoch and key",
    "multiprocessing_context": "leave it out: there are threads, not workers",
    "generator": "say the dataset's seed",
    "seed": "say the dataset's",
    "transform": "say the dataset's",
    "timeout": "leave it out: there are threads, not workers",
}


def last_of(last: Last | None, names: Mapping[str, Any]) -> Last:
    """How the epoch ends, by `last` or torch's `drop_last`. ValueError where they contradict each other."""
    _check(names)
    drop = names.get("drop_last")
    if drop is None or (last is not None and drop == (last == "drop")):
        return "partial" if last is None else last
    if last is not None:
        raise ValueError(f"drop_last={drop} and last={last!r} contradict each other: leave out drop_last")
    return "drop" if drop else "partial"


def num_threads_of(num_threads: int | None, names: Mapping[str, Any]) -> int | None:
    """The number of threads, by `num_threads` or torch's `num_workers`. ValueError where they contradict each other."""
    _check(names)
    workers: int | None = names.get("num_workers")
    if workers is None or workers == num_threads:
        return num_threads
    if num_threads is not None:
        raise ValueError(f"num_workers={workers} and num_threads={num_threads}: leave out num_workers")
    if workers < 1:
        raise ValueError(
            f"num_workers={workers}: a Loader always has threads; num_threads=1 is the least, and without it there are "
            "as many as CPUs"
        )
    return workers


def _check(names: Mapping[str, Any]) -> None:
    for name in names:
        if name in _INSTEAD:
            raise TypeError(f"a Loader has no {name}: {_INSTEAD[name]}")
        if name not in TorchNames.__annotations__:
            raise TypeError(f"a Loader has no {name}")
