"""An EpochSampler under torchdata's StatefulDataLoader, which counts by itself."""

import json
from typing import Any

import pytest
from torchdata.stateful_dataloader import StatefulDataLoader

from fastdata.epoch.sampler import EpochSampler
from fastdata.errors import StateError
from support.samplers import Numbers, order_of, samplers, samples_from

# StatefulDataLoader calls what newer torch warns of.
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")


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
