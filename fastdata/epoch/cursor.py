"""An epoch and how far it has been delivered: the one owner of both, whatever iterates.

Whoever begins an iteration without having said the epoch gets the next one, so that no epoch is repeated in silence.
"""

import operator
from collections.abc import Callable, Mapping
from copy import deepcopy
from multiprocessing.context import get_spawning_popen
from typing import Any

from fastdata.epoch.orders import OneEpoch, Orders, OrdersOfBatches
from fastdata.epoch.plan import EpochPlan, Last, Place, ranks_for_spawned
from fastdata.epoch.run import Run
from fastdata.epoch.shared import in_worker
from fastdata.epoch.shared_epochs import SharedEpochs, Start
from fastdata.epoch.state import EpochState
from fastdata.errors import StateError

# Marks a state that means nothing without the state of its iterator: torchdata's StatefulDataLoader saves both.
_PARTNER = "needs_iterator"


class EpochCursor:
    """Which epoch runs, and which comes next; how its samples are shared, and the state to go on from.

    `begin` runs the epoch after the last one that was begun, finished or broken off; the first is 0, or that of a
    loaded state, which is gone on with once (and if it is at its epoch's end, with the next one); `set_epoch` says
    another. Each worker of a DataLoader has a copy. It begins the same epoch as its siblings and hears of each
    `set_epoch` here, since all of them share a few numbers.
    """

    def __init__(
        self,
        orders: Orders,
        batch_size: int | None,
        last: Last,
        ranks: tuple[int | None, int | None],
        fingerprint: Callable[[], str | None],
    ) -> None:
        self.batch_size = batch_size
        self.last: Last = last
        self.ranks = ranks
        self._declared = orders
        self._fingerprint = fingerprint  # asked only for a state: it may take a look at all shards
        self._shared = SharedEpochs()
        self._loaded: Start | None = None  # in a worker
        self._needs_partner = False
        self._warned = False
        self._order(0)  # raises for what is out of range, as do place and plan
        self.plan(0).steps(self.place().rank)

    def place(self) -> Place:
        """Where this process stands now."""
        return Place.detect(*self.ranks)

    def plan(self, position: int) -> EpochPlan:
        """How the ranks share what is left of an epoch at a position."""
        return EpochPlan(
            self._declared.num_positions,
            1 if self.batch_size is None else self.batch_size,
            self.place().world_size,
            self.last,
            position,
        )

    def next_plan(self) -> EpochPlan:
        """How the ranks share what the next iteration runs."""
        return self.plan(self._next()[1])

    @property
    def said(self) -> bool:
        """Whether somebody has said, since the last iteration was begun, which epoch comes next."""
        return self._shared.next.said

    @property
    def epoch(self) -> int:
        """The epoch that was begun last, or the one that was said or loaded since."""
        epoch, _ = self._shared.begun or self._next()
        return epoch

    def set_epoch(self, epoch: int) -> None:
        """Run this epoch next, from its first sample on, or from where a loaded state of this very epoch goes on."""
        epoch = operator.index(epoch)
        self._order(epoch)  # raises for a bad epoch
        following, position, _ = self._loaded or self._shared.next
        begun = self._shared.begun
        if begun is not None or epoch != following:
            position, self._needs_partner = 0, False
        # Lightning says the epoch when it has begun it already: its state is still that of what runs.
        keep_begun = begun is not None and begun[0] == epoch
        self._go_to(Start(epoch, position, said=True), keep_begun)

    def begin(self) -> Run:
        """The next iteration begins. ValueError where its order needs batches, and nobody has said how large."""
        if self.batch_size is None and isinstance(self._declared, OrdersOfBatches):
            raise ValueError("this order picks whole batches: say batch_size=, which is then that of the DataLoader")
        epoch, position = self._shared.begin(self._loaded, self._settled)
        self._loaded = None
        needs_partner, self._needs_partner = self._needs_partner, False
        run = self._run(epoch, position, needs_partner)
        ends_badly = run.plan.uneven or run.plan.drops_all
        if run.place.worker == 0 and self.batch_size is not None and ends_badly and not self._warned:
            self._warned = True
            run.plan.warn_of_end()
        return run

    def begun(self) -> Run | None:
        """The iteration that was begun last, here or in workers; None where an epoch was said or loaded since."""
        begun = self._shared.begun
        return None if begun is None else self._run(*begun)

    def _run(self, epoch: int, position: int, needs_partner: bool = False) -> Run:
        return Run(self._order(epoch), self.plan(position), self.place(), needs_partner)

    @property
    def _orders(self) -> Orders:
        """Those of the batches that all ranks together take now."""
        declared = self._declared
        return declared.of_batches(self.plan(0).global_batch) if isinstance(declared, OrdersOfBatches) else declared

    def _order(self, epoch: int) -> OneEpoch:
        return self._orders.of(epoch)

    def next_state(self, needs_partner: bool = False) -> dict[str, Any]:
        """The state from which the next iteration goes on, or, if its iterator is needed, the one that runs."""
        run = self.begun() if needs_partner else None
        state = self.state_of(run, 0) if run else self._state(*self._next()).to_dict()
        return {**state, _PARTNER: True} if needs_partner else state

    def state_of(self, run: Run, steps: int) -> dict[str, Any]:
        """The state once every rank has taken that many steps of a run."""
        return self.state_at(*self.reached(run, steps))

    def state_at(self, epoch: int, position: int) -> dict[str, Any]:
        """The state at a position of an epoch."""
        return self._state(epoch, position).to_dict()

    def reached(self, run: Run, steps: int) -> tuple[int, int]:
        """Epoch and position once every rank has taken that many steps of a run."""
        position = run.plan.position_after(steps)
        if isinstance(self._declared, OrdersOfBatches) and steps >= run.plan.steps(0):
            position = run.plan.num_samples  # what "drop" leaves is no batch of another size either
        return run.epoch, position

    def copy_at(self, reached: tuple[int, int] | None) -> "EpochCursor":
        """One of its own, which goes on there; or, with None, as this one."""
        copy = EpochCursor.__new__(EpochCursor)
        copy.__dict__ |= {**self.__dict__, "_shared": deepcopy(self._shared)}
        if reached is not None:
            copy._go_to(Start(*reached, said=False), keep_begun=False)
        return copy

    def state_after(self, batches: int) -> dict[str, Any]:
        """The state once the training loop has received that many batches of the iteration that was begun last,
        or if none was, of the next one. StateError where that can't be.
        """
        if self.batch_size is None:
            raise StateError("without a batch_size batches can't be counted: say it here, not to the DataLoader alone")
        run = self.begun() or self._run(*self._next())
        if not 0 <= batches <= run.plan.steps(0):
            raise StateError(f"the loop can't have received batches={batches}: there are {run.plan.steps(0)}")
        return self.state_of(run, batches)

    def load(self, state: Mapping[str, Any], said: bool = False) -> None:
        """Go on where the state was taken. StateError if it is not one of this dataset, seed, shuffle and order.

        With `said` that is where the next iteration begins, even if nothing is left of the epoch there.
        """
        loaded = self.checked(state)
        self._needs_partner = _PARTNER in state
        if in_worker():  # as do its siblings, some of which may have begun: what they share is for `begin` to say
            self._loaded = Start(loaded.epoch, loaded.position, said=True)
        else:
            self._go_to(Start(loaded.epoch, loaded.position, said), keep_begun=False)

    def checked(self, state: Mapping[str, Any]) -> EpochState:
        """The state in a dict. StateError, which says what differs, if it is not one of this dataset and order."""
        loaded = EpochState.from_dict({name: value for name, value in state.items() if name != _PARTNER})
        loaded.check(self._state(loaded.epoch, loaded.position))
        return loaded

    def _state(self, epoch: int, position: int) -> EpochState:
        orders = self._orders
        name = orders.name(epoch, position)
        return EpochState(
            epoch, position, orders.seed, orders.shuffle, orders.num_positions, self._fingerprint(), order=name
        )

    def _next(self) -> tuple[int, int]:
        """Epoch and position of the next iteration."""
        return self._settled(self._loaded or self._shared.next)

    def _settled(self, start: Start) -> tuple[int, int]:
        """Epoch and position of an iteration that starts there: of the next epoch, if nobody said so and nothing is
        left of this one.
        """
        epoch, position, said = start
        is_at_end = position and not said and not self.plan(position).steps(0)
        return (epoch + 1, 0) if is_at_end else (epoch, position)

    def _go_to(self, start: Start, keep_begun: bool) -> None:
        self._loaded = None
        self._shared.go_to(start, keep_begun)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "ranks": self.ranks_elsewhere()}

    def ranks_elsewhere(self) -> tuple[int | None, int | None]:
        """The ranks for a copy of this: those that were given. Where none were, and the copy is for a process that a
        rank spawns, a worker say, that rank's. Where there are no ranks yet, none: what is spawned may be the ranks.
        """
        if get_spawning_popen() is None or self.ranks != (None, None):
            return self.ranks
        return ranks_for_spawned() or self.ranks
