"""An epoch and how far it has been delivered: the one owner of both, whatever iterates.

Whoever begins an iteration without having said the epoch gets the next one, so that no epoch is repeated in silence.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import current_process
from multiprocessing.context import get_spawning_popen
from typing import Any

from fastdata.epoch.order import Picks
from fastdata.epoch.orders import OneEpoch, Orders, OrdersOfBatches
from fastdata.epoch.plan import EpochPlan, Last, Place, batches_of_samples, visible_ranks
from fastdata.epoch.shared import Numbers, SharedNumbers, in_worker, worker_info
from fastdata.epoch.state import EpochState
from fastdata.errors import StateError

# Marks a state that means nothing without the state of its iterator: torchdata's StatefulDataLoader saves both.
_PARTNER = "needs_iterator"

# The shared numbers: the epoch and position that come next, and whether somebody has said so; those begun last (an
# epoch of -1: none); how often an epoch was said or a state loaded; and a ring of iterations that workers have begun,
# each as (base seed, number of its first process, how often such a worker has iterated, epoch, position).
_NEXT, _BEGUN, _TOLD, _COUNT, _RING = slice(0, 3), slice(3, 5), 5, 6, 7
_ENTRY, _ENTRIES = 5, 64


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
        self._numbers = SharedNumbers([0, 0, 0, -1, 0, 0, 0] + [-1] * (_ENTRY * _ENTRIES))
        self._loaded: EpochState | None = None
        self._needs_partner = False
        self._iterated: dict[tuple[int, int], int] = {}
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
        return bool(self._numbers.values[_NEXT][2])

    @property
    def epoch(self) -> int:
        """The epoch that was begun last, or the one that was said or loaded since."""
        begun = int(self._numbers.values[_BEGUN][0])
        return self._next()[0] if begun < 0 else begun

    def set_epoch(self, epoch: int) -> None:
        """Run this epoch next, from its first sample on, or from where a loaded state of this very epoch goes on."""
        epoch = operator.index(epoch)
        self._order(epoch)  # raises for a bad epoch
        following, position = self._stored()
        begun = int(self._numbers.values[_BEGUN][0])
        if begun >= 0 or epoch != following:
            position, self._needs_partner = 0, False
        # Lightning says the epoch when it has begun it already: its state is still that of what runs.
        self._go_to(epoch, position, said=True, keep_begun=begun == epoch)

    def begin(self) -> Run:
        """The next iteration begins. ValueError where its order needs batches, and nobody has said how large."""
        if self.batch_size is None and isinstance(self._declared, OrdersOfBatches):
            raise ValueError("this order picks whole batches: say batch_size=, which is then that of the DataLoader")
        key = self._key()
        with self._numbers.lock() as values:
            found = self._found(key) if key is not None else None
            before = self._told_since_start(key, values)
            epoch, position = found or before or self._next()
            if found is None:
                if before is None:
                    values[_NEXT], values[_BEGUN] = (epoch + 1, 0, 0), (epoch, position)
                if key is not None:
                    at = _RING + _ENTRY * (int(values[_COUNT]) % _ENTRIES)
                    values[at : at + _ENTRY] = (*key, epoch, position)
                    values[_COUNT] += 1
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
        epoch, position = (int(number) for number in self._numbers.values[_BEGUN])
        return None if epoch < 0 else self._run(epoch, position)

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
        position = run.plan.position_after(steps)
        if isinstance(self._declared, OrdersOfBatches) and steps >= run.plan.steps(0):
            position = run.plan.num_samples  # what "drop" leaves is no batch of another size either
        return self._state(run.epoch, position).to_dict()

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
            self._loaded = loaded
        else:
            self._go_to(loaded.epoch, loaded.position, said, keep_begun=False)

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
        """Epoch and position of the next iteration: if nothing is left there, and nobody said it, of the next epoch."""
        epoch, position = self._stored()
        said = self._loaded is not None or self.said
        return (epoch + 1, 0) if self._is_at_end(position, said) else (epoch, position)

    def _is_at_end(self, position: int, said: bool) -> bool:
        """Whether nothing is left of a loaded epoch, and nobody has said it nevertheless."""
        return bool(position) and not said and not self.plan(position).steps(0)

    def _stored(self) -> tuple[int, int]:
        if self._loaded is not None:
            return self._loaded.epoch, self._loaded.position
        epoch, position, _ = (int(number) for number in self._numbers.values[_NEXT])
        return epoch, position

    def _go_to(self, epoch: int, position: int, said: bool, keep_begun: bool) -> None:
        self._loaded = None
        with self._numbers.lock() as values:
            values[_NEXT] = (epoch, position, said)
            values[_TOLD] += 1
            if not keep_begun:
                values[_BEGUN] = (-1, 0)

    def _key(self) -> tuple[int, int, int] | None:
        """What the workers of one iteration of a DataLoader have in common, and those of no other; None elsewhere.

        Their base seed is random, unless somebody seeds torch in each epoch: so the number of the first worker's
        process, too. A persistent worker keeps both, and counts.
        """
        info = worker_info()
        if info is None:
            return None
        first = current_process()._identity[-1] - info.id
        worker = (info.seed - info.id, first)
        self._iterated[worker] = self._iterated.get(worker, 0) + 1
        return (*worker, self._iterated[worker])

    def _told_since_start(self, key: tuple[int, int, int] | None, values: Numbers) -> tuple[int, int] | None:
        """What came next when this worker was started, where another epoch was said before it got to run.

        That one is for the iteration after this, which was begun before.
        """
        start = self._numbers.at_start
        if key is None or key[2] > 1 or self._loaded is not None or start is None or start[_TOLD] == values[_TOLD]:
            return None
        epoch, position, said = (int(number) for number in start[_NEXT])
        return (epoch + 1, 0) if self._is_at_end(position, bool(said)) else (epoch, position)

    def _found(self, key: tuple[int, int, int]) -> tuple[int, int] | None:
        """Epoch and position of the iteration, where a sibling has begun it."""
        entries = self._numbers.values[_RING:].reshape(_ENTRIES, _ENTRY)
        rows = (entries[:, :3] == key).all(axis=1).nonzero()[0]
        return (int(entries[rows[0], 3]), int(entries[rows[0], 4])) if rows.size else None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_iterated": {}, "ranks": self.ranks_elsewhere()}

    def ranks_elsewhere(self) -> tuple[int | None, int | None]:
        """The ranks for a copy of this: for a process that a rank spawns, a worker say, that rank's, since it can't see
        its process group. Where there are no ranks yet, those that were said, if any: what is spawned may be the ranks.
        """
        if get_spawning_popen() is None or visible_ranks() is None:
            return self.ranks
        place = self.place()
        return place.rank, place.world_size


class RunIterator(Iterator[Any]):
    """One pass over a run, which torchdata's StatefulDataLoader can save and load: what that needs to be safe.

    Only who iterates knows what of it the training loop has received. StatefulDataLoader does, and asks for the state
    of both, what is iterated over and its iterator; a state of one without the other is an error as soon as it shows.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._needs_partner = False
        self._asked = self._answered = -1
        self._given = 0

    def expect_partner(self) -> None:
        """Note that the state of what is iterated over was asked for: at this point its iterator's has to be, too."""
        self._asked = self._given

    def _answer(self) -> None:
        self._answered = self._given

    def _go_on(self, given: int) -> None:
        """Its own state is loaded."""
        self._given, self._asked, self._answered, self._needs_partner = given, -1, -1, False

    def _check(self) -> None:
        """StateError where what comes next would be a guess."""
        if self._needs_partner:
            raise StateError(
                f"the {self._what}'s state was taken in the middle of an iteration, without the number of batches that "
                "the loop had received (take it by state_dict(batches=...)); set_epoch begins another epoch"
            )
        if self._asked == self._given != self._answered:
            raise StateError(
                "state_dict() in the middle of an iteration can't tell what of the handed out samples the loop "
                "has received: call state_dict(batches=...), or use torchdata's StatefulDataLoader"
            )
