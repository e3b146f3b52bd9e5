"""Who delivers which positions of an epoch, and how it ends: splitting and resuming as arithmetic on integers."""

import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from fastdata.epoch.order import LARGEST, Ids, Picks, _check
from fastdata.epoch.orders import OneEpoch, SizedEpoch

Last = Literal["partial", "drop", "pad"]


_SAMPLES_AT_ONCE = 4096


@dataclass(frozen=True)
class Place:
    """Where this process stands: `rank` of `world_size`, and in that rank `worker` of `num_workers`."""

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    num_workers: int = 1

    def __post_init__(self) -> None:
        _check("world_size", self.world_size, 1)
        _check("rank", self.rank, 0, self.world_size - 1)
        _check("num_workers", self.num_workers, 1)  # a process without workers is 0 of 1
        _check("worker", self.worker, 0, self.num_workers - 1)

    @classmethod
    def detect(
        cls,
        rank: int | None = None,
        world_size: int | None = None,
        worker: int | None = None,
        num_workers: int | None = None,
    ) -> "Place":
        """The given arguments, and for the rest what this process can see.

        Ranks come from torch.distributed where it is initialized, else from RANK (where NODE_RANK is 0 LOCAL_RANK) and
        WORLD_SIZE in the environment, else 0 of 1; workers from torch's DataLoader, else 0 of 1. torch is never
        imported for it. ValueError for half a pair, such as a rank without its world_size.
        """
        ranks = _pair("rank", rank, "world_size", world_size) or visible_ranks() or (0, 1)
        workers = _pair("worker", worker, "num_workers", num_workers) or _visible_workers()
        return cls(*ranks, *workers)


def _pair(name: str, value: int | None, of_name: str, of: int | None) -> tuple[int, int] | None:
    if value is None and of is None:
        return None
    if value is None or of is None:
        raise ValueError(f"{name}={value} and {of_name}={of}: give both or neither")
    return value, of


def visible_ranks() -> tuple[int, int] | None:
    """The rank of this process and their number; None where it sees none, as in one that will start them."""
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    rank, world_size = (environment_int(name) for name in ("RANK", "WORLD_SIZE"))
    if rank is None and world_size is not None:
        rank = _lightnings_rank()
    return _pair("environment variable RANK", rank, "WORLD_SIZE", world_size)


def _lightnings_rank() -> int | None:
    """The rank of a process that Lightning has started, where its environment says it: there is no RANK in it, and on
    the second node only its process group, which begins after its loaders are made, knows. Lightning always says
    NODE_RANK; without it nobody knows which node this is.
    """
    return environment_int("LOCAL_RANK") if environment_int("NODE_RANK") == 0 else None


def ranks_for_spawned() -> tuple[int, int] | None:
    """The ranks that a process spawned by this one should be given: this one's, whose process group it can't see.

    None where it had better look for itself. There are none here; or this one is alone, also by its environment, and
    what it spawns may be the ranks.
    """
    ranks = visible_ranks()
    said = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    return None if ranks == (0, 1) and said in ((None, None), ("0", "1")) else ranks


def environment_int(name: str) -> int | None:
    """The value of an environment variable, None where it is not set. ValueError for one that is no integer."""
    text = os.environ.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"environment variable {name} must be an integer, not {text!r}") from None


def _visible_workers() -> tuple[int, int]:
    data: Any = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    return (0, 1) if info is None else (info.id, info.num_workers)


@dataclass(frozen=True)
class EpochPlan:
    """Who delivers which positions of an epoch, from global position `start` (of a resumed run) to its end.

    Step t covers the global batch of positions start + [t*B*R, (t+1)*B*R), with batch size B and R ranks; rank r
    takes the r-th B of them. When fewer, k, are left for the final step, `last` decides:

    - "partial" spreads them over the ranks, consecutively and as evenly as possible. With k < R that leaves
      ranks k and beyond one step short: the plan is `uneven`, and ranks that meet in collectives would hang;
    - "drop" takes no such step, on any rank;
    - "pad" fills it up, on all ranks, with the epoch's positions from 0 on (round and round when n is tiny).
    """

    num_samples: int
    batch_size: int
    world_size: int = 1
    last: Last = "partial"
    start: int = 0

    def __post_init__(self) -> None:
        _check("num_samples", self.num_samples, 0, LARGEST)
        _check("batch_size", self.batch_size, 1)
        _check("world_size", self.world_size, 1)
        if self.last not in get_args(Last):
            raise ValueError(f"last must be one of {', '.join(map(repr, get_args(Last)))}, not {self.last!r}")
        _check("start", self.start, 0, self.num_samples)

    @property
    def global_batch(self) -> int:
        """The number of positions that all ranks together deliver in a step."""
        return self.batch_size * self.world_size

    @property
    def _full_steps(self) -> int:
        remaining = self.num_samples - self.start
        return -(-remaining // self.global_batch) if self.last == "pad" else remaining // self.global_batch

    @property
    def _leftover(self) -> int:
        """The positions of an incomplete final step; "drop" and "pad" leave none to share."""
        return (self.num_samples - self.start) % self.global_batch if self.last == "partial" else 0

    def _share(self, rank: int) -> range:
        """The positions of the incomplete final step that are this rank's."""
        each, more = divmod(self._leftover, self.world_size)
        first = self.num_samples - self._leftover + rank * each + min(rank, more)
        return range(first, first + each + (rank < more))

    @property
    def uneven(self) -> bool:
        """Whether some ranks have one step fewer than others; only with "partial"."""
        return 0 < self._leftover < self.world_size

    @property
    def drops_all(self) -> bool:
        """Whether a whole epoch has samples, but no step; only with "drop"."""
        return self.last == "drop" and 0 == self.start < self.num_samples < self.batch_size * self.world_size

    def warn_of_end(self) -> None:
        """Warn where ranks that meet in collectives would wait for ever for those that are a step short.

        Also where nothing is left of an epoch.
        """
        if self.drops_all:
            warnings.warn(
                f"last='drop' leaves nothing of an epoch of {self.num_samples} samples, fewer than {self.batch_size} "
                f"on each of {self.world_size} ranks: choose last='partial' or 'pad', or smaller batches",
                stacklevel=3,
            )
        if self.uneven:
            warnings.warn(
                f"the epoch's final step has samples for only {self._leftover} of {self.world_size} ranks, the others "
                "take one step fewer and collectives would hang: choose last='drop' or last='pad'",
                stacklevel=3,
            )

    def steps(self, rank: int) -> int:
        """The number of steps, and so of batches, that this rank takes."""
        _check("rank", rank, 0, self.world_size - 1)
        return self._full_steps + (len(self._share(rank)) > 0)

    def steps_of(self, rank: int, worker: int, num_workers: int) -> range:
        """The steps whose batches this worker of the rank makes: `worker`, `worker + num_workers`, …"""
        return range(worker, self.steps(rank), num_workers)

    def samples_of(self, rank: int) -> int:
        """The number of samples that this rank delivers."""
        _check("rank", rank, 0, self.world_size - 1)
        return self._full_steps * self.batch_size + len(self._share(rank))

    def positions(self, rank: int, step: int, stop: int | None = None, stride: int = 1) -> Ids:
        """The global positions of the rank's batch at `step`, or of those at range(step, stop, stride) in turn.

        Shape (N,), int64; ValueError unless 0 <= step <= stop <= steps(rank).
        """
        stop = step + 1 if stop is None else stop
        if not 0 <= step <= stop <= self.steps(rank):
            raise ValueError(f"steps [{step}, {stop}) are not within rank {rank}'s [0, {self.steps(rank)})")
        firsts = np.arange(step, min(stop, self._full_steps), stride, dtype=np.int64) * self.global_batch
        firsts += self.start + rank * self.batch_size
        positions = (firsts[:, None] + np.arange(self.batch_size, dtype=np.int64)).ravel()
        if self._full_steps in range(step, stop, stride):
            share = self._share(rank)
            positions = np.concatenate([positions, np.arange(share.start, share.stop, dtype=np.int64)])
        return positions % self.num_samples if self.last == "pad" and positions.size else positions

    def position_after(self, steps: int) -> int:
        """The global position reached once every rank has taken that many steps."""
        _check("steps", steps, 0, self.steps(0))
        return min(self.start + steps * self.global_batch, self.num_samples)


def batches_of_samples(order: OneEpoch, plan: EpochPlan, rank: int, steps: range) -> Iterator[Picks]:
    """What an order picks for a rank's batches at `steps`, step by step.

    Computed for some thousand samples at a time: enough to hide numpy's cost per call, few enough to cost nothing.
    """
    at_once = max(1, _SAMPLES_AT_ONCE // plan.batch_size)
    size_at = order.size_at if isinstance(order, SizedEpoch) else None
    for first in range(0, len(steps), at_once):
        chunk = steps[first : first + at_once]
        picks = order.picks(plan.positions(rank, chunk[0], chunk[-1] + 1, chunk.step))
        for step, begin in zip(chunk, range(0, len(picks.numbers), plan.batch_size), strict=True):
            batch = picks.part(begin, begin + plan.batch_size)
            yield batch if size_at is None else batch._replace(size=size_at(plan.position_after(step)))
