"""EpochCursor: the next epoch without a word, another where it is said, and the rest of one after a state."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from multiprocessing.context import set_spawning_popen
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.data import DataLoader

from fastdata.epoch.cursor import EpochCursor
from fastdata.epoch.order import EpochOrder
from fastdata.epoch.plan import Last
from fastdata.epoch.run import Run
from support.cursors import SEED, Numbers, cursor
from support.processes import run_python

pytestmark = [
    pytest.mark.filterwarnings("ignore:the epoch's final step:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),  # torch has threads
]

counts = st.integers(0, 300)
ways_to_share = st.tuples(st.integers(1, 20), st.integers(1, 6))  # batch size and ranks
lasts = st.sampled_from(("partial", "drop", "pad"))


def numbers(run: Run) -> list[int]:
    return [number for batch in run.batches() for number in batch.numbers.tolist()]


def order_of(samples: int, epoch: int) -> list[int]:
    ids: list[int] = EpochOrder(samples, shuffle=True, seed=SEED, epoch=epoch).samples(0, samples).tolist()
    return ids


def ranks(samples: int, batch_size: int, world_size: int, **how: Any) -> list[EpochCursor]:
    return [cursor(samples, batch_size, rank, world_size, **how) for rank in range(world_size)]


# --- in one process


@given(said=st.lists(st.none() | st.integers(0, 9), max_size=12))
def test_an_iteration_is_of_the_epoch_that_was_said_or_else_of_the_one_after_the_last(said: list[int | None]) -> None:
    ours, expected = cursor(20), 0
    for epoch in said:
        if epoch is not None:
            ours.set_epoch(epoch)
            expected = epoch
            assert (ours.epoch, ours.said) == (epoch, True)
        run = ours.begin()
        assert (run.epoch, ours.epoch, ours.said) == (expected, expected, False)
        assert numbers(run) == order_of(20, expected)
        expected += 1


def test_of_epochs_that_are_said_the_last_one_counts() -> None:
    ours = cursor(20)
    for epoch in (4, 9, 2):
        ours.set_epoch(epoch)
    assert [ours.begin().epoch for _ in range(3)] == [2, 3, 4]


@given(taken=st.lists(st.integers(0, 20), max_size=5))
def test_an_iteration_that_is_broken_off_counts_as_one(taken: list[int]) -> None:
    ours = cursor(20, 1)
    for epoch, batches in enumerate(taken):
        run = ours.begin()
        begun = (picks.numbers for picks in run.batches())
        assert [next(begun).tolist() for _ in range(batches)] == [[number] for number in order_of(20, epoch)[:batches]]


def test_what_comes_next_changes_nothing_of_what_runs() -> None:
    ours = cursor(20)
    first = ours.begin()
    batches = (picks.numbers for picks in first.batches())
    begun = [int(next(batches)[0]) for _ in range(5)]
    ours.set_epoch(7)
    second = ours.begin()
    ours.load(cursor(20, 4).state_after(2))
    assert begun + [int(batch[0]) for batch in batches] == order_of(20, 0)
    assert numbers(second) == order_of(20, 7)


@given(samples=counts, parts=st.lists(st.tuples(ways_to_share, st.integers(0, 8)), min_size=1, max_size=4))
def test_resumed_again_and_again_on_other_ranks_each_sample_comes_exactly_once(
    samples: int, parts: Sequence[tuple[tuple[int, int], int]]
) -> None:
    state, delivered = cursor(samples, 1).next_state(), []
    *broken_off, (last_way, _) = parts
    for way, steps in broken_off:
        cursors = ranks(samples, *way)
        for each in cursors:
            each.load(state, said=True)
        runs = [each.begin() for each in cursors]
        taken = min(steps, runs[0].plan.steps(0))
        delivered += [
            number for run in runs for batch in list(run.batches())[:taken] for number in batch.numbers.tolist()
        ]
        states = [json.loads(json.dumps(each.state_of(run, taken))) for each, run in zip(cursors, runs, strict=True)]
        assert all(each == states[0] for each in states)
        state = states[0]
    for each in ranks(samples, *last_way):
        each.load(state, said=True)
        delivered += numbers(each.begin())
    assert sorted(delivered) == list(range(samples))


@pytest.mark.filterwarnings("ignore:last=.drop. leaves nothing")
@given(samples=st.integers(1, 300), way=ways_to_share, last=lasts, epoch=st.integers(0, 5))
def test_after_a_state_at_an_epochs_end_comes_the_next_epoch(
    samples: int, way: tuple[int, int], last: Last, epoch: int
) -> None:
    for ours, resumed in zip(ranks(samples, *way, last=last), ranks(samples, *way, last=last), strict=True):
        ours.set_epoch(epoch)
        run = ours.begin()
        steps = run.plan.steps(0)
        resumed.load(ours.state_of(run, steps))
        following = resumed.begin()
        # Where "drop" leaves no step at all, nothing was begun, and nothing is done.
        assert following.epoch == epoch + (steps > 0)
        assert following.plan.start == 0


@given(samples=st.integers(1, 300), way=ways_to_share, epoch=st.integers(0, 5))
def test_who_says_the_epoch_that_is_done_gets_nothing_of_it_and_then_the_next(
    samples: int, way: tuple[int, int], epoch: int
) -> None:
    for ours, resumed in zip(ranks(samples, *way), ranks(samples, *way), strict=True):
        ours.set_epoch(epoch)
        run = ours.begin()
        resumed.load(ours.state_of(run, run.plan.steps(0)))
        resumed.set_epoch(epoch)
        assert numbers(resumed.begin()) == []
        assert (following := resumed.begin()).epoch == epoch + 1
        assert following.plan.start == 0


@given(samples=st.integers(2, 300), way=ways_to_share, data=st.data())
def test_a_loaded_epoch_that_is_said_again_goes_on_and_another_begins_at_its_start(
    samples: int, way: tuple[int, int], data: st.DataObject
) -> None:
    ours = cursor(samples, 1)
    taken = data.draw(st.integers(0, samples - 1))
    run = ours.begin()
    state = ours.state_of(run, taken)
    for said, start in ((0, taken), (3, 0)):
        resumed = cursor(samples, way[0], 0, way[1])
        resumed.load(state)
        resumed.set_epoch(said)
        resumed.set_epoch(said)
        assert ((begun := resumed.begin()).epoch, begun.plan.start) == (said, start)
        assert ((begun := resumed.begin()).epoch, begun.plan.start) == (said + 1, 0)


@pytest.mark.filterwarnings("ignore:last=.drop. leaves nothing")
@given(samples=st.integers(1, 100), batch_size=st.integers(1, 20), last=lasts, data=st.data())
def test_the_number_of_batches_a_loop_has_received_is_its_state(
    samples: int, batch_size: int, last: Last, data: st.DataObject
) -> None:
    ours = cursor(samples, batch_size, last=last)
    ours.set_epoch(2)
    run = ours.begin()
    batches = [picks.numbers for picks in run.batches()]
    received = data.draw(st.integers(0, len(batches)))
    state = ours.state_after(received)
    assert state == ours.state_of(run, received)
    assert state["position"] == min(samples, sum(map(len, batches[:received])))


# --- in a DataLoader's workers


WORKERS: dict[str, dict[str, Any]] = {
    "none": {},
    "forked": {"num_workers": 2, "multiprocessing_context": "fork"},
    "forked, persistent": {"num_workers": 2, "multiprocessing_context": "fork", "persistent_workers": True},
    "begun anew": {"num_workers": 2, "multiprocessing_context": "forkserver"},
    "begun anew, persistent": {"num_workers": 2, "multiprocessing_context": "forkserver", "persistent_workers": True},
}
COUNT = 30


@pytest.fixture(params=WORKERS)
def loader(ready_forkserver: None, request: pytest.FixtureRequest) -> DataLoader[Any]:
    return DataLoader(Numbers(COUNT), batch_size=None, **WORKERS[request.param])


def cursor_of(loader: DataLoader[Any]) -> EpochCursor:
    dataset = loader.dataset
    assert isinstance(dataset, Numbers)
    return dataset.cursor


def epoch_of(pairs: Iterable[tuple[int, int]]) -> int:
    """The epoch of all of its samples, each of which is there once."""
    pairs = list(pairs)
    assert sorted(number for _, number in pairs) == list(range(COUNT))
    (epoch,) = {epoch for epoch, _ in pairs}
    return epoch


def test_workers_begin_the_same_epoch_and_the_parent_knows_it(loader: DataLoader[Any]) -> None:
    ours = cursor_of(loader)
    for epoch in range(3):
        assert epoch_of(loader) == ours.epoch == epoch
    ours.set_epoch(7)
    assert ours.epoch == 7
    assert epoch_of(loader) == ours.epoch == 7
    next(iter(loader))  # and broken off
    assert epoch_of(loader) == ours.epoch == 9


def test_workers_go_on_where_the_parent_has_loaded_a_state(loader: DataLoader[Any]) -> None:
    ours = cursor_of(loader)
    epoch_of(loader)
    ours.load({**ours.next_state(), "epoch": 4, "position": 11})
    assert sorted(map(tuple, loader)) == [(4, number) for number in sorted(order_of(COUNT, 4)[11:])]
    assert epoch_of(loader) == ours.epoch == 5


def test_seeding_torch_before_each_epoch_repeats_none(loader: DataLoader[Any]) -> None:
    for epoch in range(3):
        torch.manual_seed(0)
        assert epoch_of(loader) == epoch


@pytest.mark.usefixtures("ready_forkserver")
@pytest.mark.parametrize("how", ["none", "forked", "begun anew"])
def test_two_iterators_at_once_run_two_epochs_each_of_them_whole(how: str) -> None:
    loader = DataLoader(Numbers(COUNT), batch_size=None, **WORKERS[how])
    for first in (0, 2):
        iterators = []
        for _ in range(2):
            torch.manual_seed(0)
            iterators.append(iter(loader))
        pairs = list(zip(*iterators, strict=True))
        assert {epoch_of(one for one, _ in pairs), epoch_of(other for _, other in pairs)} == {first, first + 1}


@pytest.mark.usefixtures("ready_forkserver")
@pytest.mark.parametrize("how", ["none", "forked", "begun anew"])
def test_an_epoch_that_is_said_while_workers_start_is_the_next_one(how: str) -> None:
    loader = DataLoader(Numbers(COUNT), batch_size=None, **WORKERS[how])
    ours = cursor_of(loader)
    pairs = iter(loader)
    ours.set_epoch(5)
    assert epoch_of(pairs) == 0
    assert epoch_of(loader) == 5


FORKED_RANKS = """
import json, multiprocessing, os, warnings
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.data import DataLoader
from support.cursors import Numbers
warnings.simplefilter("ignore")  # Python 3.12 warns of every fork of a process with threads
dataset = Numbers(12)
list(dataset)  # so the ranks begin with epoch 1

def rank(number, answers):
    loader = DataLoader(dataset, batch_size=None, num_workers=workers)
    answers.put([sorted({epoch for epoch, _ in loader}) for _ in range(3)])

for workers in (0, 2):
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    ranks = [fork.Process(target=rank, args=(number, answers)) for number in range(3)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    print(json.dumps([answers.get() for _ in ranks]))
print(dataset.cursor.epoch)
"""


def test_ranks_that_are_forked_from_one_process_share_no_epochs() -> None:
    *found, own = run_python(FORKED_RANKS).splitlines()
    assert [json.loads(line) for line in found] == [[[[1], [2], [3]]] * 3] * 2
    assert own == "0"


# --- ranks of a process that is spawned


@contextmanager
def spawning() -> Iterator[None]:
    """As while multiprocessing pickles what a spawned process gets."""
    set_spawning_popen(object())  # type: ignore[arg-type]
    try:
        yield
    finally:
        set_spawning_popen(None)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@contextmanager
def process_group(rank: int, world_size: int) -> Iterator[None]:
    distributed: Any = torch.distributed
    distributed.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world_size)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def test_ranks_that_were_given_are_those_of_what_is_spawned(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("RANK", "0")  # without WORLD_SIZE, which nobody asks for
    with spawning():
        assert cursor(20, None, 1, 2).ranks_elsewhere() == (1, 2)


def test_what_a_rank_spawns_is_of_that_rank(environment: pytest.MonkeyPatch) -> None:
    ours = cursor(20, None, None, None)
    with process_group(1, 2):
        assert ours.ranks_elsewhere() == (None, None)  # a copy here sees the group
        with spawning():
            assert ours.ranks_elsewhere() == (1, 2)
    environment.setenv("RANK", "2")
    environment.setenv("WORLD_SIZE", "3")
    with spawning():
        assert ours.ranks_elsewhere() == (2, 3)


@pytest.mark.parametrize("said", [{}, {"RANK": "0", "WORLD_SIZE": "1"}])
@pytest.mark.parametrize("has_group", [False, True])
def test_what_a_process_alone_spawns_looks_for_its_ranks(
    environment: pytest.MonkeyPatch, said: dict[str, str], has_group: bool
) -> None:
    for name, value in said.items():
        environment.setenv(name, value)
    with process_group(0, 1) if has_group else nullcontext(), spawning():
        assert cursor(20, None, None, None).ranks_elsewhere() == (None, None)


@pytest.mark.parametrize("said", [{"RANK": "1", "WORLD_SIZE": "2"}, {"WORLD_SIZE": "1"}])
def test_a_process_group_of_one_is_that_of_what_is_spawned_where_the_environment_says_another(
    environment: pytest.MonkeyPatch, said: dict[str, str]
) -> None:
    for name, value in said.items():
        environment.setenv(name, value)
    with process_group(0, 1), spawning():
        assert cursor(20, None, None, None).ranks_elsewhere() == (0, 1)
