"""One iteration: the order of an epoch, and whose part of it this is."""

from collections.abc import Iterator
from dataclasses import dataclass

from fastdata.epoch.order import Picks
from fastdata.epoch.orders import OneEpoch
from fastdata.epoch.plan import EpochPlan, Place, batches_of_samples


@dataclass(frozen=True)
class Run:
    """One iteration: the order of an epoch, how the ranks share what is left of it, and whose part this is."""

    order: OneEpoch
    plan: EpochPlan
    place: Place
    needs_partner: bool = False

    @property
    def epoch(self) -> int:
        return self.order.epoch

    def batches(self, made: int = 0) -> Iterator[Picks]:
        """What this place's batches are made of, after those that are made."""
        steps = self.plan.steps_of(self.place.rank, self.place.worker, self.place.num_workers)
        return batches_of_samples(self.order, self.plan, self.place.rank, steps[made:])
