"""`EpochSampler`: the order of an epoch for map-style datasets in torch's own DataLoader."""

from collections.abc import Iterator, Mapping, Sized
from typing import Any

from torch.utils.data import Sampler

from fastdata.order import EpochOrder, EpochPlan, Last, Place, batches_of_samples
from fastdata.state import EpochState, StateError

# Marks a sampler's state that means nothing without the state of its iterator, as StatefulDataLoader saves both.
_PARTNER = "needs_iterator"


class EpochSampler(Sampler[int]):
    """This rank's sample ids of one epoch; stands in for torch's DistributedSampler.

    `batch_size` is the DataLoader's, so that ranks share batches as `EpochPlan` says; None deals single samples
    to the ranks in turn. `last` says how the epoch ends (see `EpochPlan`). `rank` and `world_size` are detected
    where not given; `seed` is the dataset's own, or 0. Each iteration runs the same rest of the epoch again, until
    `set_epoch` names another.

    Resuming needs to know what the training loop has received, which a DataLoader's workers run ahead of. With
    torch's DataLoader the loop says it: `sampler.state_dict(batches=received)`. torchdata's StatefulDataLoader
    knows it, and saves the sampler with its own state. Where some ranks had a batch less in the epoch's final
    step (`last="partial"`), rank 0's state is the one to keep.
    """

    def __init__(
        self,
        dataset: Sized,
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        last: Last = "partial",
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__()
        self.place = Place.detect(rank=rank, world_size=world_size)
        self.batch_size = batch_size
        self._dataset = dataset
        fingerprint = getattr(dataset, "fingerprint", None)
        self._start = EpochState(
            epoch=0,
            position=0,
            seed=getattr(dataset, "seed", 0) if seed is None else seed,
            shuffle=shuffle,
            samples=len(dataset),
            fingerprint=fingerprint if isinstance(fingerprint, str) else None,
        )
        self._last: Last = last
        self._iteration: _Iteration | None = None
        self._partnered = False
        self._warned = False
        EpochOrder(self._start.samples, shuffle, self._start.seed)  # raises for what is out of range, as does the plan
        self.plan(self._start)

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration runs."""
        return self._start.epoch

    def set_epoch(self, epoch: int) -> None:
        """Make this the epoch that is run, from its first sample on, and tell a dataset that has `set_epoch`.

        Naming the epoch of a loaded state again keeps the position from which it goes on.
        """
        if epoch == self._start.epoch:
            self._begin(self._start, self._partnered)
        else:
            self._begin(self._start._replace(epoch=epoch, position=0), partnered=False)

    def _begin(self, start: EpochState, partnered: bool) -> None:
        EpochOrder(start.samples, start.shuffle, start.seed, start.epoch)  # raises for a bad epoch
        self._start, self._iteration, self._partnered = start, None, partnered
        for dataset in _inside(self._dataset):
            if hasattr(dataset, "set_epoch"):
                dataset.set_epoch(start.epoch)

    def plan(self, start: EpochState) -> EpochPlan:
        """How the ranks share what `start` leaves of its epoch."""
        batch_size = 1 if self.batch_size is None else self.batch_size
        return EpochPlan(start.samples, batch_size, self.place.world_size, self._last, start.position)

    def __len__(self) -> int:
        """The number of samples that an iteration gives this rank: the rest of the epoch."""
        return self.plan(self._start).samples_of(self.place.rank)

    def __iter__(self) -> "_Iteration":
        self._iteration = _Iteration(self, self._start, self._partnered)
        return self._iteration

    def warn_once_if_uneven(self, plan: EpochPlan) -> None:
        """Warn of ranks that take a step fewer, unless that is said already."""
        if plan.uneven and not self._warned:
            self._warned = True
            plan.warn_if_uneven()

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Where to go on once the loop has received that many batches of the current iteration.

        Without `batches`, the epoch's start, or what was loaded. In the middle of an iteration such a state
        serves StatefulDataLoader, which adds the iterator's; StateError, as soon as it can be told, where
        nobody does, or where `batches` can't be right.
        """
        if batches is None:
            state = self._start.to_dict()
            if self._iteration is None:
                return state
            self._iteration.expect_partner()
            return {**state, _PARTNER: True}
        if self.batch_size is None:
            raise StateError("EpochSampler without a batch_size can't count batches: give it the DataLoader's")
        handed_out = 0 if self._iteration is None else -(-self._iteration.handed_out // self.batch_size)
        if not 0 <= batches <= handed_out:
            raise StateError(f"the loop can't have received batches={batches}: {handed_out} were handed out")
        return (self._start if self._iteration is None else self._iteration.after(batches)).to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken, with any number of ranks and workers and any batch size.

        StateError if it is not one of this dataset, seed and shuffle; it says what differs.
        """
        loaded = EpochState.from_dict({name: value for name, value in state.items() if name != _PARTNER})
        loaded.check(self._start)
        self._begin(loaded, partnered=_PARTNER in state)

    def partner_loaded(self) -> None:
        """Hear from an iterator that it has loaded the state which the sampler's own was waiting for."""
        self._partnered = False


def _inside(dataset: Any) -> Iterator[Any]:
    """A dataset and those that it is made of, as torch's Subset and ConcatDataset are."""
    yield dataset
    parts = [dataset.dataset] if hasattr(dataset, "dataset") else getattr(dataset, "datasets", ())
    for part in parts:
        yield from _inside(part)


class _Iteration(Iterator[int]):
    """One pass over what `start` leaves of the epoch. StatefulDataLoader saves and loads its state."""

    def __init__(self, sampler: EpochSampler, start: EpochState, partnered: bool) -> None:
        self._sampler = sampler
        self._partnered = partnered
        self._go_on_from(start)

    def _go_on_from(self, start: EpochState) -> None:
        self._start = start
        self.plan = self._sampler.plan(start)
        self.handed_out = 0
        self._asked = self._answered = -1
        self._ids = self._computed_ids()
        self._sampler.warn_once_if_uneven(self.plan)

    def _computed_ids(self) -> Iterator[int]:
        order = EpochOrder(self._start.samples, self._start.shuffle, self._start.seed, self._start.epoch)
        rank = self._sampler.place.rank
        for batch in batches_of_samples(order, self.plan, rank, range(self.plan.steps(rank))):
            yield from batch.tolist()

    def __next__(self) -> int:
        if self._partnered:
            raise StateError(
                "the sampler's state was taken in the middle of an iteration, without the number of batches that "
                "the loop had received (take it by state_dict(batches=...)); set_epoch begins another epoch"
            )
        if self._asked == self.handed_out != self._answered:
            raise StateError(
                "state_dict() in the middle of an iteration can't tell what of the handed out samples the loop "
                "has received: call state_dict(batches=...), or use torchdata's StatefulDataLoader"
            )
        sample = next(self._ids)
        self.handed_out += 1
        return sample

    def expect_partner(self) -> None:
        """Note that the sampler's state was asked for: at this point the iterator's has to be, too."""
        self._asked = self.handed_out

    def after(self, batches: int) -> EpochState:
        """The state once that many of this iteration's batches are delivered."""
        return self._start._replace(position=self.plan.position_after(batches))

    def state_dict(self) -> dict[str, Any]:
        """The state once all that was handed out is delivered."""
        self._answered = self.handed_out
        batches, rest = divmod(self.handed_out, self.plan.batch_size)
        if rest and self.handed_out < self.plan.samples_of(self._sampler.place.rank):
            raise StateError(
                f"{self.handed_out} samples are not whole batches of {self.plan.batch_size}: give EpochSampler "
                "the DataLoader's batch_size"
            )
        return self.after(batches + (rest > 0)).to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken; StateError as of the sampler's."""
        loaded = EpochState.from_dict(state)
        loaded.check(self._start)
        self._go_on_from(loaded)
        self._partnered = False
        self._sampler.partner_loaded()
