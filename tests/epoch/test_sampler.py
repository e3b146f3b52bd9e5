import itertools
import json
import math
import pickle
import tracemalloc
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from torchdata.stateful_dataloader import StatefulDataLoader

from fastdata.epoch.order import EpochOrder
from fastdata.epoch.plan import EpochPlan, Last
from fastdata.epoch.sampler import EpochIndex, EpochSampler
from fastdata.errors import StateError

# StatefulDataLoader calls what newer torch warns of.
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")


class Numbers(Dataset[int]):
    """A map-style dataset whose samples are their own ids."""

    def __init__(self, count: int, fingerprint: str | None = "numbers") -> None:
        self.count, self.fingerprint = count, fingerprint

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


def samplers(n: int, batch_size: int | None, world_size: int, **options: Any) -> list[EpochSampler]:
    """One sampler for each rank."""
    return [
        EpochSampler(Numbers(n), batch_size, rank=rank, world_size=world_size, **options) for rank in range(world_size)
    ]


def order_of(n: int, epoch: int = 0, seed: int = 0) -> list[int]:
    ids: list[int] = EpochOrder(n, shuffle=True, seed=seed, epoch=epoch).samples(0, n).tolist()
    return ids


def samples_from(loader: Any, batches: int | None = None) -> list[int]:
    """The samples of the first batches of a loop over it, or of all; the loop is left where it is."""
    received = itertools.islice(loader, batches) if batches != 0 else []
    return [int(sample) for batch in received for sample in torch.as_tensor(batch).reshape(-1)]


# --- as DistributedSampler


@pytest.mark.filterwarnings("ignore:last=.drop. leaves nothing")
@given(
    n=st.integers(0, 2000),
    batch_size=st.none() | st.integers(1, 40),
    world_size=st.integers(1, 16),
    last=st.sampled_from(["partial", "drop", "pad"]),
)
@pytest.mark.filterwarnings("ignore:the epoch's final step:UserWarning")
def test_each_rank_gets_its_part_of_the_epochs_order_and_its_length_says_how_many(
    n: int, batch_size: int | None, world_size: int, last: Last
) -> None:
    order = order_of(n)
    plan = EpochPlan(n, batch_size or 1, world_size, last)
    for rank, sampler in enumerate(samplers(n, batch_size, world_size, last=last)):
        promised, ids = sampler.remaining, list(sampler)
        assert ids == [order[position] for position in plan.positions(rank, 0, plan.steps(rank))]
        assert promised == len(ids)
        assert all(isinstance(sample, int) for sample in ids)


def test_every_sample_of_an_epoch_comes_exactly_once_over_all_ranks() -> None:
    ids = [sample for sampler in samplers(1003, 8, 4) for sample in sampler]
    assert sorted(ids) == list(range(1003))


def test_without_shuffle_single_samples_are_dealt_to_the_ranks_in_turn() -> None:
    first, second = samplers(8, None, 2, shuffle=False)
    assert (list(first), list(second)) == ([0, 2, 4, 6], [1, 3, 5, 7])


def test_each_iteration_is_the_next_epoch_until_another_is_said() -> None:
    sampler = EpochSampler(Numbers(100))
    first = list(sampler)
    assert list(sampler) == order_of(100, epoch=1) != first
    assert list(sampler) == order_of(100, epoch=2)
    sampler.set_epoch(0)
    assert list(sampler) == first
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(EpochSampler(Numbers(100), seed=5)) == order_of(100, seed=5) != first


def test_anything_with_a_length_can_be_sampled() -> None:
    sampler = EpochSampler(["a", "b", "c"])  # type: ignore[arg-type]
    sampler.set_epoch(1)
    assert sorted(sampler) == [0, 1, 2]
    assert sampler.state_dict()["fingerprint"] is None


@pytest.mark.filterwarnings("error")
def test_ranks_that_end_unevenly_are_warned_of_once() -> None:
    sampler = EpochSampler(Numbers(9), batch_size=2, rank=1, world_size=4)
    with pytest.warns(UserWarning, match="only 1 of 4 ranks.*last='drop' or last='pad'"):
        list(sampler)
    assert list(sampler)


@pytest.mark.parametrize(
    ("n", "world_size", "last"),
    [(9, 4, "drop"), (9, 4, "pad"), (12, 4, "partial"), (8, 4, "partial"), (9, 1, "partial")],
)
def test_ranks_that_end_evenly_are_not_warned_of(n: int, world_size: int, last: Last) -> None:
    assert list(EpochSampler(Numbers(n), batch_size=2, last=last, rank=0, world_size=world_size))


def test_ranks_come_from_the_launcher_where_they_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert list(EpochSampler(Numbers(4), shuffle=False)) == [1, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"last": "all"}, "last must be one of"),
        ({"rank": 2}, "give both or neither"),
        ({"rank": 2, "world_size": 2}, "rank must be from 0 to 1, not 2"),
    ],
)
def test_bad_arguments_are_errors_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpochSampler(Numbers(4), **options)


def test_a_negative_epoch_is_an_error() -> None:
    with pytest.raises(ValueError, match="epoch must be at least 0, not -1"):
        EpochSampler(Numbers(4)).set_epoch(-1)


def test_a_hundred_million_samples_are_never_a_list() -> None:
    tracemalloc.start()
    try:
        iteration = iter(EpochSampler(Numbers(10**8), batch_size=256, rank=3, world_size=8))
        ids = [next(iteration) for _ in range(10_000)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(set(ids)) == 10_000
    assert peak < 3_000_000


# --- resuming with torch's DataLoader


@settings(max_examples=200)
@given(
    n=st.integers(0, 600),
    before=st.tuples(st.integers(1, 40), st.integers(1, 16)),
    after=st.tuples(st.none() | st.integers(1, 40), st.integers(1, 16)),
    data=st.data(),
)
@pytest.mark.filterwarnings("ignore:the epoch's final step:UserWarning")
def test_resumed_with_other_ranks_and_batches_every_sample_comes_exactly_once(
    n: int, before: tuple[int, int], after: tuple[int | None, int], data: st.DataObject
) -> None:
    batch_size, world_size = before
    runs = samplers(n, batch_size, world_size, seed=3)
    for sampler in runs:
        sampler.set_epoch(2)
    received = data.draw(st.integers(0, math.ceil(len(runs[0]) / batch_size)))
    trained = [sample for sampler in runs for sample in list(sampler)[: received * batch_size]]
    state = json.loads(json.dumps(runs[0].state_dict(batches=received)))

    resumed = samplers(n, *after, seed=3)
    for sampler in resumed:
        sampler.load_state_dict(state)
        sampler.set_epoch(2)
        promised, ids = sampler.remaining, list(sampler)
        assert promised == len(ids)
        trained += ids
    assert sorted(trained) == list(range(n))


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("received", [1, 3, 6])
def test_a_loop_over_torchs_dataloader_resumes_after_what_it_received(num_workers: int, received: int) -> None:
    sampler = EpochSampler(Numbers(50), batch_size=8)
    loader = DataLoader(Numbers(50), batch_size=8, sampler=sampler, num_workers=num_workers)
    trained = samples_from(loader, received)
    state = sampler.state_dict(batches=received)  # two workers have run ahead by up to four batches

    resumed = EpochSampler(Numbers(50), batch_size=8)
    resumed.load_state_dict(state)
    loader = DataLoader(Numbers(50), batch_size=8, sampler=resumed, num_workers=num_workers)
    assert len(loader) == 7
    assert resumed.remaining == 50 - 8 * received
    assert trained + samples_from(loader) == order_of(50)


def test_the_usual_loop_over_epochs_resumes_in_the_middle_of_one() -> None:
    def train(sampler: EpochSampler, first_epoch: int, stop_in: tuple[int, int]) -> list[int]:
        trained: list[int] = []
        for epoch in range(first_epoch, 4):
            sampler.set_epoch(epoch)
            for step, batch in enumerate(DataLoader(Numbers(20), batch_size=4, sampler=sampler)):
                if (epoch, step) == stop_in:
                    state.update(sampler.state_dict(batches=step))
                    return trained
                trained += batch.tolist()
        return trained

    state: dict[str, Any] = {}
    before = train(EpochSampler(Numbers(20), batch_size=4), 0, stop_in=(2, 3))
    sampler = EpochSampler(Numbers(20), batch_size=4)
    sampler.load_state_dict(state)
    after = train(sampler, sampler.epoch, stop_in=(9, 9))
    assert before + after == [sample for epoch in range(4) for sample in order_of(20, epoch)]


def test_a_resumed_run_that_is_interrupted_again_resumes_again() -> None:
    trained: list[int] = []
    state = EpochSampler(Numbers(30), batch_size=4).state_dict()
    for _ in range(4):
        sampler = EpochSampler(Numbers(30), batch_size=4)
        sampler.load_state_dict(state)
        trained += samples_from(DataLoader(Numbers(30), batch_size=4, sampler=sampler), 2)
        state = sampler.state_dict(batches=2)
    assert trained == order_of(30)
    assert state["position"] == 30
    sampler.load_state_dict(state)
    assert sampler.epoch == 1
    assert list(sampler) == order_of(30, epoch=1)
    sampler.load_state_dict(state)
    sampler.set_epoch(0)  # who says the epoch that is done gets what is left of it
    assert list(sampler) == []
    assert list(sampler) == order_of(30, epoch=1)


def test_before_a_run_the_state_is_its_start() -> None:
    sampler = EpochSampler(Numbers(10), batch_size=2, seed=7)
    list(sampler)
    sampler.set_epoch(3)
    assert sampler.state_dict() == sampler.state_dict(batches=0)
    assert sampler.state_dict() == {
        "version": 1,
        "epoch": 3,
        "position": 0,
        "seed": 7,
        "shuffle": True,
        "samples": 10,
        "fingerprint": "numbers",
    }


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (Numbers(11), {}, "samples is 10 in the state, 11 here"),
        (Numbers(10, "others"), {}, "fingerprint is 'numbers' in the state, 'others' here"),
        (Numbers(10), {"seed": 1}, "seed is 0 in the state, 1 here"),
        (Numbers(10), {"shuffle": False}, "shuffle is True in the state, False here"),
    ],
)
def test_a_state_of_another_dataset_seed_or_shuffle_is_an_error_that_says_what_differs(
    dataset: Numbers, options: dict[str, Any], message: str
) -> None:
    state = EpochSampler(Numbers(10)).state_dict()
    with pytest.raises(StateError, match=message):
        EpochSampler(dataset, **options).load_state_dict(state)


def test_more_batches_than_were_handed_out_are_an_error() -> None:
    sampler = EpochSampler(Numbers(10), batch_size=4)
    with pytest.raises(StateError, match="batches=1: 0 were handed out"):
        sampler.state_dict(batches=1)
    list(sampler)
    assert sampler.state_dict(batches=3)["position"] == 10
    with pytest.raises(StateError, match="batches=4: 3 were handed out"):
        sampler.state_dict(batches=4)
    with pytest.raises(StateError, match="batches=-1"):
        sampler.state_dict(batches=-1)


def test_batches_can_not_be_counted_without_their_size() -> None:
    with pytest.raises(StateError, match="without a batch_size batches can't be counted"):
        EpochSampler(Numbers(10)).state_dict(batches=2)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_state_asked_for_within_a_loop_without_batches_is_an_error_at_the_next_batch(num_workers: int) -> None:
    sampler = EpochSampler(Numbers(80), batch_size=4)
    batches = iter(DataLoader(Numbers(80), batch_size=4, sampler=sampler, num_workers=num_workers))
    next(batches)
    sampler.state_dict()
    with pytest.raises(StateError, match=r"call state_dict\(batches=...\)"):
        next(batches)


def test_a_state_from_within_a_loop_without_batches_is_not_resumed_from() -> None:
    sampler = EpochSampler(Numbers(10), batch_size=4)
    samples_from(DataLoader(Numbers(10), batch_size=4, sampler=sampler), 1)
    resumed = EpochSampler(Numbers(10), batch_size=4)
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_epoch(0)
    with pytest.raises(StateError, match=r"take it by state_dict\(batches=...\)"):
        list(resumed)
    resumed.set_epoch(1)
    assert list(resumed) == order_of(10, epoch=1)


# --- resuming with torchdata's StatefulDataLoader


def stateful(sampler: EpochSampler, n: int, batch_size: int | None, num_workers: int, **options: Any) -> Any:
    return StatefulDataLoader(Numbers(n), batch_size=batch_size, sampler=sampler, num_workers=num_workers, **options)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("received", [0, 1, 4, 7, 8])
@pytest.mark.parametrize("batch_size", [8, None])
def test_a_stateful_dataloader_resumes_after_what_it_delivered(
    num_workers: int, received: int, batch_size: int | None
) -> None:
    loader = stateful(EpochSampler(Numbers(60), batch_size), 60, batch_size, num_workers)
    trained = samples_from(loader, received)
    state = loader.state_dict()

    resumed = stateful(EpochSampler(Numbers(60), batch_size), 60, batch_size, num_workers)
    resumed.load_state_dict(state)
    assert trained + samples_from(resumed) == order_of(60)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stateful_dataloader_takes_states_along_the_way_and_over_epochs(num_workers: int) -> None:
    sampler = EpochSampler(Numbers(20), batch_size=4)
    loader = stateful(sampler, 20, 4, num_workers, snapshot_every_n_steps=2)
    sampler.set_epoch(1)
    states = [json.loads(json.dumps(loader.state_dict())) for _ in loader]
    for step, state in enumerate(states, start=1):
        again = EpochSampler(Numbers(20), batch_size=4)
        resumed = stateful(again, 20, 4, num_workers, snapshot_every_n_steps=2)
        resumed.load_state_dict(state)
        assert samples_from(resumed) == order_of(20, epoch=1)[step * 4 :]
        assert samples_from(resumed) == order_of(20, epoch=2)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stateful_dataloader_saved_after_an_epoch_goes_on_with_the_next(num_workers: int) -> None:
    loader = stateful(EpochSampler(Numbers(20), batch_size=4), 20, 4, num_workers)
    samples_from(loader)
    sampler = EpochSampler(Numbers(20), batch_size=4)
    resumed = stateful(sampler, 20, 4, num_workers)
    resumed.load_state_dict(loader.state_dict())
    assert samples_from(resumed) == order_of(20, epoch=1)
    assert samples_from(resumed) == order_of(20, epoch=2)
    assert sampler.epoch == 2


@pytest.mark.parametrize("num_workers", [0, 2])
def test_stateful_dataloaders_of_two_ranks_go_on_as_four(num_workers: int) -> None:
    order, states, trained = order_of(60), [], []
    for sampler in samplers(60, 6, 2):
        loader = stateful(sampler, 60, 6, num_workers)
        trained += samples_from(loader, 2)
        states.append(loader.state_dict())
    for sampler in samplers(60, 3, 4):
        resumed = stateful(sampler, 60, 3, num_workers)
        resumed.load_state_dict(states[0])
        trained += samples_from(resumed)
    assert sorted(trained) == sorted(order)


def test_a_stateful_dataloader_with_batches_of_another_size_than_the_samplers_is_an_error() -> None:
    loader = stateful(EpochSampler(Numbers(60), batch_size=8), 60, 12, num_workers=0)
    next(iter(loader))
    with pytest.raises(StateError, match="12 samples are not whole batches of 8"):
        loader.state_dict()


def test_a_stateful_dataloaders_state_of_another_seed_is_an_error() -> None:
    loader = stateful(EpochSampler(Numbers(60), batch_size=8), 60, 8, num_workers=0)
    next(iter(loader))
    other = stateful(EpochSampler(Numbers(60), batch_size=8, seed=1), 60, 8, num_workers=0)
    other.load_state_dict(loader.state_dict())
    with pytest.raises(StateError, match="seed is 0 in the state, 1 here"):
        iter(other)


def test_the_seed_is_the_datasets_where_none_is_given() -> None:
    class Seeded(Numbers):
        seed = 5

    plain = Numbers(50)
    assert list(EpochSampler(Seeded(50))) == list(EpochSampler(plain, seed=5)) != list(EpochSampler(plain))


def test_indices_carry_their_epoch_through_torchs_subsets_and_concatenations() -> None:
    class Epochs(Dataset[int]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            assert isinstance(index, EpochIndex)
            return index.epoch * 10 + index

    whole: ConcatDataset[int] = ConcatDataset([Subset(Epochs(), [3, 1]), Epochs()])
    loader = DataLoader(whole, 2, sampler=EpochSampler(whole, 2, shuffle=False), num_workers=1, persistent_workers=True)
    assert samples_from(loader) == [3, 1, 0, 1, 2, 3]
    assert samples_from(loader) == [13, 11, 10, 11, 12, 13]


@pytest.mark.parametrize("index", [-5, 4])
def test_an_index_that_a_subsets_dataset_does_not_have_is_an_error(index: int) -> None:
    with pytest.raises(IndexError, match=f"index {index} of a Subset is not one of its dataset's 4"):
        EpochSampler(Subset(Numbers(4), [3, index]))


@pytest.mark.parametrize("last", ["partial", "drop", "pad"])
def test_torchs_drop_last_says_whether_the_rest_is_dropped(last: Last) -> None:
    assert EpochSampler(Numbers(8), 2, last=last).drop_last == (last == "drop")


def test_a_sampler_that_was_pickled_goes_on_by_itself() -> None:
    sampler = EpochSampler(Numbers(20), batch_size=4)
    list(sampler)
    other = pickle.loads(pickle.dumps(sampler))
    assert list(other) == list(sampler) == order_of(20, epoch=1)
    assert list(other) == order_of(20, epoch=2)
    assert sampler.epoch == 1


def test_the_running_epoch_that_is_said_again_keeps_its_state() -> None:
    sampler = EpochSampler(Numbers(20), batch_size=4)
    batches = iter(DataLoader(Numbers(20), batch_size=4, sampler=sampler))
    next(batches)
    sampler.set_epoch(0)  # Lightning says it when it has begun
    next(batches)
    assert sampler.state_dict(batches=2)["position"] == 8
