"""An EpochSampler's run goes on where the loop over torch's DataLoader was broken off."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from fastdata.epoch.sampler import EpochSampler
from fastdata.errors import StateError
from support.samplers import Numbers, order_of, samplers, samples_from


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
