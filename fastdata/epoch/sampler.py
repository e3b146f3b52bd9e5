"""`EpochSampler`: the order of an epoch for map-style datasets in torch's own DataLoader."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from torch.utils.data import Dataset, DistributedSampler, Subset

from fastdata.epoch.cursor import EpochCursor
from fastdata.epoch.frameworks import refuse_second_split
from fastdata.epoch.identity import identity_of
from fastdata.epoch.orders import Order, Shuffle, orders_of
from fastdata.epoch.plan import Last
from fastdata.epoch.run import Run
from fastdata.epoch.run_iterator import RunIterator
from fastdata.errors import StateError
from fastdata.sample import Size


class EpochIndex(int):
    """A sample's number that carries the epoch for which it is asked, so that workers, persistent or not, know it.

    And the size in which its image comes out, where that is not the transform's own.
    """

    epoch: int
    size: Size | None

    def __new__(cls, number: int, epoch: int, size: Size | None = None) -> "EpochIndex":
        made = super().__new__(cls, number)
        made.epoch, made.size = epoch, size
        return made

    # ConcatDataset subtracts the numbers of the datasets before.
    def __sub__(self, other: int) -> "EpochIndex":
        return self.renumbered(int(self) - int(other))

    def __add__(self, other: int) -> "EpochIndex":
        return self.renumbered(int(self) + int(other))

    def renumbered(self, number: int) -> "EpochIndex":
        """The same of another number."""
        return EpochIndex(number, self.epoch, self.size)

    def __reduce__(self) -> tuple[type["EpochIndex"], tuple[int, int, Size | None]]:
        return EpochIndex, (int(self), self.epoch, self.size)


class EpochSampler(DistributedSampler[int]):
    """This rank's sample ids of an epoch; stands in for torch's DistributedSampler.

    `batch_size` is the DataLoader's, so that ranks share batches as `EpochPlan` says; None deals single samples
    to the ranks in turn. `shuffle` is of all samples (True or "full"), or by blocks ("window" or a `Window`). `last`
    says how the epoch ends (see `EpochPlan`). `rank` and `world_size` are detected where not given; `seed` is the
    dataset's own, or 0. `order` is another than the plain one: `Weighted`, `Balanced`, `Repeated` or `Buckets`; a `Mix`
    has its own. Each iteration runs the epoch after the last one, or that which `set_epoch` says.

    Resuming needs to know what the training loop has received, which a DataLoader's workers run ahead of. With
    torch's DataLoader the loop says it: `sampler.state_dict(batches=received)`. torchdata's StatefulDataLoader
    knows it, and saves the sampler with its own state. Where some ranks had a batch less in the epoch's final
    step (`last="partial"`), rank 0's state is the one to keep.

    It is a DistributedSampler by its type, so that Lightning sees that the ranks share the samples already, and it is
    an error where accelerate would split them again.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int | None = None,
        shuffle: Shuffle = True,
        seed: int | None = None,
        last: Last = "partial",
        rank: int | None = None,
        world_size: int | None = None,
        order: Order | None = None,
    ) -> None:
        number = len(dataset)  # type: ignore[arg-type]
        identity = identity_of(dataset)
        seed = identity.seed if seed is None else seed
        fingerprint = partial(getattr, identity, "fingerprint")
        orders = orders_of(dataset, number, order, shuffle, seed)
        self._cursor = EpochCursor(orders, batch_size, last, (rank, world_size), fingerprint)
        place = self._cursor.place()
        super().__init__(dataset, place.world_size, place.rank, orders.shuffle, seed, drop_last=last == "drop")
        self.batch_size = batch_size
        self._iteration: _SampleIds | None = None
        _hand_on_epochs(dataset)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_iteration": None}

    def __repr__(self) -> str:
        place = self._cursor.place()
        return (
            f"<EpochSampler: {len(self):,} samples of rank {place.rank} of {place.world_size}, epoch {self.epoch}, "
            f"batch_size={self.batch_size}, shuffle={self.shuffle}, seed={self.seed}>"
        )

    @property
    def epoch(self) -> int:
        """The epoch that was begun last, or the one that was said or loaded since."""
        return self._cursor.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:  # DistributedSampler sets it to 0 when it is made
        self._cursor.set_epoch(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Run this epoch next, from its first sample on.

        Naming the epoch of a loaded state again keeps the position from which it goes on.
        """
        refuse_second_split(self._cursor.place(), "EpochSampler")
        self._cursor.set_epoch(epoch)
        if self._cursor.begun() is None:
            self._iteration = None

    def __len__(self) -> int:
        """The number of samples of an epoch that are this rank's."""
        return self._cursor.plan(0).samples_of(self._cursor.place().rank)

    @property
    def remaining(self) -> int:
        """The number of samples that the next iteration gives this rank: the epoch, or the rest of a loaded one."""
        return self._cursor.next_plan().samples_of(self._cursor.place().rank)

    def __iter__(self) -> "_SampleIds":
        refuse_second_split(self._cursor.place(), "EpochSampler")
        self._iteration = _SampleIds(self._cursor)
        return self._iteration

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Where to go on once the loop has received that many batches of the iteration that was begun last.

        Without `batches`, where the next iteration begins. In the middle of an iteration such a state serves
        StatefulDataLoader, which adds the iterator's; StateError, as soon as it can be told, where nobody does, or
        where `batches` can't be right.
        """
        if batches is None:
            if self._iteration is None:
                return self._cursor.next_state()
            self._iteration.expect_partner()
            return self._cursor.next_state(needs_partner=True)
        handed_out = 0 if self._iteration is None else self._iteration.batches_handed_out
        if self.batch_size is not None and batches > handed_out:
            raise StateError(f"the loop can't have received batches={batches}: {handed_out} were handed out")
        return self._cursor.state_after(batches)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken, with any number of ranks and workers and any batch size.

        StateError if it is not one of this dataset, seed and shuffle; it says what differs.
        """
        self._iteration = None
        self._cursor.load(state)


class _SampleIds(RunIterator):
    """One pass over what is left of an epoch. StatefulDataLoader saves and loads its state."""

    def __init__(self, cursor: EpochCursor) -> None:
        super().__init__("sampler")
        self._cursor = cursor
        self._run: Run | None = None  # begun when it is asked for a sample: a DataLoader makes an iterator in vain
        self._ids: Iterator[EpochIndex] = iter(())

    @property
    def batches_handed_out(self) -> int:
        return -(-self._given // (self._cursor.batch_size or 1))

    def _computed_ids(self, run: Run) -> Iterator[EpochIndex]:
        for numbers, epochs, size in run.batches():
            views = [epochs] * len(numbers) if isinstance(epochs, int) else epochs.tolist()
            yield from map(EpochIndex, numbers.tolist(), views, repeat(size))

    def __next__(self) -> EpochIndex:
        if self._run is None:
            self._run = self._cursor.begin()
            self._needs_partner = self._run.needs_partner
            self._ids = self._computed_ids(self._run)
        self._check()
        sample = next(self._ids)
        self._given += 1
        return sample

    def state_dict(self) -> dict[str, Any]:
        """The state once all that was handed out is delivered."""
        self._answer()
        if self._run is None:
            return self._cursor.next_state()
        plan = self._run.plan
        if self._given % plan.batch_size and self._given < plan.samples_of(self._run.place.rank):
            raise StateError(
                f"{self._given} samples are not whole batches of {plan.batch_size}: give EpochSampler the DataLoader's "
                "batch_size"
            )
        return self._cursor.state_of(self._run, self.batches_handed_out)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken, and not into the next epoch; StateError as of the sampler's."""
        self._cursor.load(state, said=True)
        self._run = self._cursor.begin()
        self._ids = self._computed_ids(self._run)
        self._go_on(0)


class _HandedOn(Sequence[int]):
    """The indices of a Subset, which keep the epoch that an index carries."""

    def __init__(self, indices: Sequence[int]) -> None:
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        found = self.indices[index]
        return index.renumbered(int(found)) if isinstance(index, EpochIndex) else found


def _hand_on_epochs(dataset: Any) -> None:
    """Have torch's Subsets in a dataset hand on the epoch that an index carries; ConcatDataset does by itself."""
    if isinstance(dataset, Subset) and not isinstance(dataset.indices, _HandedOn):
        dataset.indices = _HandedOn(dataset.indices)
    parts = [dataset.dataset] if hasattr(dataset, "dataset") else getattr(dataset, "datasets", ())
    for part in parts:
        _hand_on_epochs(part)
