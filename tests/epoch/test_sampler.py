"""EpochSampler: torch's DistributedSampler, with an order and an epoch of its own."""

import pickle
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from fastdata.epoch.plan import EpochPlan, Last
from fastdata.epoch.sampler import EpochIndex, EpochSampler
from support.samplers import Numbers, order_of, samplers, samples_from


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
