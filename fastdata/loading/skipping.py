"""Bad samples that were skipped, and how many a run may skip before it stops."""

from typing import NamedTuple

import torch
import torch.distributed as dist

from fastdata.epoch.plan import EpochPlan
from fastdata.errors import SampleError, TooManySkippedError


class Skipped(NamedTuple):
    """A bad sample: its key, where it lies, and what is wrong with it."""

    key: str
    where: str
    cause: str

    @classmethod
    def of(cls, error: SampleError) -> "Skipped":
        """What the error says."""
        return cls(error.key, error.where, error.cause)


class SkipBudget:
    """Counts skipped samples over all ranks, and stops all of them at the same step.

    A rank that stopped by itself would leave the others waiting in their next collective. So each step adds up the
    counts by an all-reduce (on the CPU, by gloo) that has until the next step to finish, where all see the same sum.
    Each epoch has a process group of its own, since ranks may have left the one before at different steps; `previous`
    is the budget whose group ends now. Where there are several ranks, all have to make their budgets together.
    """

    def __init__(self, max_skipped: int, plan: EpochPlan, counting: bool, previous: "SkipBudget | None" = None) -> None:
        self._max_skipped = max_skipped
        self._mine = 0
        self._pending: tuple[torch.Tensor, dist.Work] | None = None
        self._common_steps = 0
        self._group: dist.ProcessGroup | None = None
        if counting and plan.world_size > 1 and dist.is_available() and dist.is_initialized():
            self._group = dist.new_group(backend="gloo")
            self._common_steps = plan.steps(plan.world_size - 1)  # the last rank has the fewest
        if previous is not None:
            previous._end()

    def spend(self, count: int) -> None:
        """Note that `count` samples of this step were skipped. TooManySkippedError once the budget is overdrawn."""
        self._mine += count
        self.settle()
        if self._common_steps:
            self._common_steps -= 1
            counts = torch.tensor(self._mine)
            work = dist.all_reduce(counts, group=self._group, async_op=True)
            self._pending = (counts, work)

    def settle(self) -> None:
        """Count what the step before has left to count; the epoch's end has no next step that would."""
        total = self._mine if self._group is None else self._sum_of_last_step()
        if total > self._max_skipped:
            raise TooManySkippedError(
                f"{total} samples of this epoch could not be used, max_skipped allows {self._max_skipped}: "
                "Loader.skipped lists this rank's"
            )

    def _sum_of_last_step(self) -> int:
        if self._pending is None:
            return 0
        counts, work = self._pending
        work.wait()
        self._pending = None
        return int(counts)

    def _end(self) -> None:
        """Take down the process group, its threads and connections."""
        group, self._group, self._pending = self._group, None, None
        if group is not None and dist.is_initialized():
            dist.destroy_process_group(group)
