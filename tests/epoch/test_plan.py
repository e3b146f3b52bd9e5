"""EpochPlan: what is left of an epoch is delivered once, over any ranks, workers and steps."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.epoch.order import EpochOrder
from fastdata.epoch.plan import EpochPlan, Last, batches_of_samples

LASTS: tuple[Last, ...] = ("partial", "drop", "pad")

samples = st.integers(0, 2000)
batch_sizes = st.integers(1, 70)
ranks = st.integers(1, 16)
workers = st.integers(0, 8).map(lambda count: max(count, 1))  # 0 workers: the process alone, 0 of 1
lasts = st.sampled_from(LASTS)


@st.composite
def plans(draw: st.DrawFn) -> EpochPlan:
    n = draw(samples)
    start = draw(st.integers(0, n))
    return EpochPlan(n, draw(batch_sizes), draw(ranks), draw(lasts), start)


def batches_of(plan: EpochPlan, rank: int) -> list[list[int]]:
    return [plan.positions(rank, step).tolist() for step in range(plan.steps(rank))]


def global_batches(plan: EpochPlan) -> list[list[int]]:
    """The ranks' batches of each step, side by side."""
    by_rank = [batches_of(plan, rank) for rank in range(plan.world_size)]
    return [
        [position for batches in by_rank if step < len(batches) for position in batches[step]]
        for step in range(max(map(len, by_rank)))
    ]


def delivered(plan: EpochPlan) -> list[int]:
    return [position for batch in global_batches(plan) for position in batch]


@given(plan=plans())
def test_what_is_left_of_an_epoch_is_delivered_exactly_once_and_only_the_choice_of_last_differs(
    plan: EpochPlan,
) -> None:
    left = list(range(plan.start, plan.num_samples))
    over = len(left) % plan.global_batch
    match plan.last:
        case "partial":
            assert delivered(plan) == left
        case "drop":
            assert delivered(plan) == left[: len(left) - over]
        case "pad":
            missing = plan.global_batch - over if over else 0
            from_the_start = [position % plan.num_samples for position in range(missing)]
            assert delivered(plan) == left + from_the_start


@given(plan=plans())
def test_steps_and_samples_of_a_rank_are_those_it_delivers(plan: EpochPlan) -> None:
    for rank in range(plan.world_size):
        batches = batches_of(plan, rank)
        assert plan.samples_of(rank) == sum(map(len, batches))
        assert all(batches)
        assert all(len(batch) == plan.batch_size for batch in batches[:-1])
        assert plan.positions(rank, 0, plan.steps(rank)).tolist() == [p for batch in batches for p in batch]


@given(plan=plans())
def test_ranks_take_equally_many_steps_unless_the_plan_says_it_is_uneven(plan: EpochPlan) -> None:
    steps = [plan.steps(rank) for rank in range(plan.world_size)]
    sizes = [plan.samples_of(rank) for rank in range(plan.world_size)]
    left = (plan.num_samples - plan.start) % plan.global_batch
    assert plan.uneven == (len(set(steps)) > 1) == (plan.last == "partial" and 0 < left < plan.world_size)
    assert max(steps) - min(steps) <= 1
    assert max(sizes) - min(sizes) <= 1
    if plan.last != "partial":
        assert len(set(sizes)) == 1


@given(n=samples, start=st.integers(0, 2000), each=st.integers(1, 8), last=lasts)
def test_full_global_batches_do_not_depend_on_the_number_of_ranks(n: int, start: int, each: int, last: Last) -> None:
    whole = each * 24
    seen = [
        global_batches(EpochPlan(n, whole // world_size, world_size, last, min(start, n)))
        for world_size in (1, 2, 3, 4, 8, 12)
    ]
    assert all(batches == seen[0] for batches in seen)


@given(plan=plans(), num_workers=workers, data=st.data())
def test_workers_in_turn_make_the_steps_of_their_rank(plan: EpochPlan, num_workers: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, plan.world_size - 1))
    by_worker = [list(plan.steps_of(rank, worker, num_workers)) for worker in range(num_workers)]
    in_turn = [by_worker[step % num_workers][step // num_workers] for step in range(plan.steps(rank))]
    assert in_turn == list(range(plan.steps(rank)))
    assert sum(map(len, by_worker)) == plan.steps(rank)


@given(plan=plans(), num_workers=workers, data=st.data())
def test_a_worker_computes_the_samples_of_its_batches_many_at_a_time(
    plan: EpochPlan, num_workers: int, data: st.DataObject
) -> None:
    order = EpochOrder(plan.num_samples, shuffle=True, seed=1, epoch=2)
    rank = data.draw(st.integers(0, plan.world_size - 1))
    worker = data.draw(st.integers(0, num_workers - 1))
    steps = plan.steps_of(rank, worker, num_workers)
    batches = [picks.numbers.tolist() for picks in batches_of_samples(order, plan, rank, steps)]
    assert batches == [order.at(plan.positions(rank, step)).tolist() for step in steps]


def test_samples_of_many_chunks_follow_each_other() -> None:
    order, plan = EpochOrder(30_001), EpochPlan(30_001, batch_size=2, world_size=1)
    ids = np.concatenate([picks.numbers for picks in batches_of_samples(order, plan, 0, range(plan.steps(0)))])
    assert np.array_equal(ids, order.samples(0, 30_001))


@given(plan=plans(), data=st.data(), batch_size=batch_sizes, world_size=ranks)
def test_a_run_resumed_anywhere_with_other_ranks_and_batches_goes_on_exactly(
    plan: EpochPlan, data: st.DataObject, batch_size: int, world_size: int
) -> None:
    taken = data.draw(st.integers(0, plan.steps(0)))
    position = plan.position_after(taken)
    before = [p for batch in global_batches(plan)[:taken] for p in batch]
    assert before[: position - plan.start] == list(range(plan.start, position))  # all else is padding
    resumed = EpochPlan(plan.num_samples, batch_size, world_size, "partial", position)
    assert delivered(resumed) == list(range(position, plan.num_samples))


@given(plan=plans(), data=st.data())
def test_a_run_resumed_as_it_was_takes_the_steps_that_it_would_have_taken(plan: EpochPlan, data: st.DataObject) -> None:
    taken = data.draw(st.integers(0, plan.steps(0)))
    start = plan.position_after(taken)
    resumed = EpochPlan(plan.num_samples, plan.batch_size, plan.world_size, plan.last, start)
    assert global_batches(resumed) == global_batches(plan)[taken:]


def test_padding_goes_round_and_round_a_tiny_dataset() -> None:
    plan = EpochPlan(2, batch_size=3, world_size=2, last="pad")
    assert [batches_of(plan, rank) for rank in range(2)] == [[[0, 1, 0]], [[1, 0, 1]]]


def test_a_resumed_run_is_padded_from_the_start_of_the_epoch() -> None:
    assert delivered(EpochPlan(10, batch_size=2, world_size=2, last="pad", start=7)) == [7, 8, 9, 0]


@pytest.mark.parametrize("last", LASTS)
def test_a_dataset_without_samples_has_no_steps(last: Last) -> None:
    assert [EpochPlan(0, 4, 3, last).steps(rank) for rank in range(3)] == [0, 0, 0]


def test_trillions_of_samples_on_thousands_of_ranks_are_no_more_work() -> None:
    plan = EpochPlan(2**48, batch_size=256, world_size=4096, start=2**47)
    assert plan.steps(4095) == 2**27
    assert plan.positions(4095, 2**27 - 1)[-1] == 2**48 - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": -1}, "num_samples .* not -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"world_size": 0}, "world_size must be at least 1, not 0"),
        ({"last": "all"}, "last must be one of 'partial', 'drop', 'pad', not 'all'"),
        ({"start": 11}, "start must be from 0 to 10, not 11"),
    ],
)
def test_a_plan_out_of_range_is_an_error_with_the_value(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpochPlan(**{"num_samples": 10, "batch_size": 2, **arguments})


def test_asking_a_plan_for_ranks_or_steps_it_does_not_have_is_an_error() -> None:
    plan = EpochPlan(10, batch_size=2, world_size=2)
    with pytest.raises(ValueError, match="rank must be from 0 to 1, not 2"):
        plan.steps(2)
    with pytest.raises(ValueError, match="rank must be from 0 to 1, not -1"):
        plan.samples_of(-1)
    with pytest.raises(ValueError, match=r"steps \[3, 4\) are not within rank 1's \[0, 3\)"):
        plan.positions(1, 3)
    with pytest.raises(ValueError, match="steps must be from 0 to 3, not 4"):
        plan.position_after(4)
