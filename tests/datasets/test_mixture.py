"""Several datasets, each with its share of every epoch."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from fastdata.datasets import samples, store
from fastdata.datasets.mixture import Mix
from fastdata.datasets.prepared import Prepared
from fastdata.epoch.repeated import Repeated
from fastdata.epoch.sampler import EpochSampler
from fastdata.errors import StateError
from fastdata.loading.loader import Loader
from fastdata.transforms.steps import RandomResizedCrop
from support.numbered import COUNT, iterable, map_style


@pytest.fixture
def mix(folder: Path, shards: list[str]) -> Mix:
    return Mix({"some": (map_style(folder).select(numbers=range(5)), 0.3), "all": (iterable(shards), 0.7)})


def counts(mix: Mix, epoch: int, **how: Any) -> dict[str, int]:
    """How many samples each part has in an epoch."""
    sampler = EpochSampler(mix, **how)
    sampler.set_epoch(epoch)
    return dict(Counter(mix.key(number).partition("/")[0] for number in sampler))


def test_keys_are_of_their_part_and_no_two_are_the_same(mix: Mix) -> None:
    keys = [mix.key(number) for number in range(len(mix))]
    assert len(set(keys)) == len(keys) == COUNT + 5
    assert (keys[0], keys[5]) == ("some/000", "all/000")
    for number in (0, 5):
        sample = mix.read(number)
        assert sample.key == mix.key(number)
        (prepared,) = mix.prepare([number], 3).samples
        assert isinstance(prepared, Prepared)
        assert mix.draw(sample, 3)[1] == prepared.image.view
    assert [sample.key for sample in mix.prepare([5, 0, 6], 0).samples] == ["all/000", "some/000", "all/001"]


@pytest.mark.parametrize("numbers", [[5, 0, 6, 1, 7], [0, 1, 5, 6], [7, 6, 5, 0]], ids=str)
def test_parts_that_prepare_fewer_than_asked_for_leave_the_rest_in_order(
    mix: Mix, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [mix.prepare([number], 3).samples[0] for number in numbers]
    for module in (samples, store):
        monkeypatch.setattr(module, "BYTES_AT_ONCE", 1)  # so that every photo is more than that
    prepared: list[Any] = []
    while len(prepared) < len(numbers):
        some = mix.prepare(numbers[len(prepared) :], 3).samples
        assert some
        prepared += some
    assert [(sample.number, sample.key) for sample in prepared] == [(n, mix.key(n)) for n in numbers]
    assert [sample.image.view for sample in prepared] == [sample.image.view for sample in expected]  # type: ignore[union-attr]
    assert [sample.target for sample in prepared] == [sample.target for sample in expected]  # type: ignore[union-attr]
    assert len(mix.prepare(numbers, 3).samples) < len(numbers)


def test_each_part_has_its_share(folder: Path, shards: list[str]) -> None:
    parts = {"some": (map_style(folder).select(numbers=range(5)), 30), "all": (iterable(shards), 70.0)}
    for epoch in range(3):
        assert counts(Mix(parts, num_samples=100), epoch) == {"some": 30, "all": 70}


def test_a_sample_has_the_views_of_its_parts_own_pass(mix: Mix, folder: Path) -> None:
    part = map_style(folder)
    seen = {}
    for index in EpochSampler(mix):
        if index < 5:
            image, target = mix[index]
            passing = index.epoch
            seen[target, passing] = image
            assert torch.equal(image, part.pair(target, passing)[0])
    assert sorted(seen)[:3] == [(0, 0), (0, 1), (1, 0)]


def test_weights_change_from_an_epoch_on(mix: Mix) -> None:
    mix.set_weights({"some": 0, "all": 1}, from_epoch=2)
    mix.set_weights({"some": 1, "all": 1}, from_epoch=1)
    assert [counts(mix, epoch).get("some", 0) for epoch in (0, 1, 2, 3)] == [13, 21, 0, 0]


def test_a_loader_hears_of_new_weights(mix: Mix) -> None:
    loader = Loader(mix, 42, shuffle=True)
    (first,) = loader
    mix.set_weights({"some": 1, "all": 0}, from_epoch=1)
    (second,) = loader
    assert set(second.targets.tolist()) == set(range(5)) != set(first.targets.tolist())


def test_an_epoch_that_has_begun_keeps_its_weights(mix: Mix) -> None:
    loader = Loader(mix, 7, shuffle=True)
    loader.set_epoch(2)
    mix.set_weights({"some": 1, "all": 1}, from_epoch=2)
    next(iter(loader))
    for epoch in (0, 1, 2):
        with pytest.raises(ValueError, match=r"epoch 2 has begun.* from_epoch=3 on"):
            mix.set_weights({"some": 1, "all": 2}, from_epoch=epoch)
    with pytest.raises(ValueError, match="epoch 2 has begun"):  # the same as from 0 on, but begun anew
        mix.set_weights({"some": 3, "all": 7}, from_epoch=1)
    mix.set_weights({"some": 0.5, "all": 0.5}, from_epoch=2)
    mix.set_weights({"some": 3, "all": 7}, from_epoch=0)
    mix.set_weights({"some": 0, "all": 1}, from_epoch=3)
    assert [counts(mix, epoch).get("some", 0) for epoch in (2, 3)] == [21, 0]


def test_a_state_is_of_its_weights(mix: Mix) -> None:
    state = EpochSampler(mix, 4).state_dict(batches=0)
    other = EpochSampler(mix, 4)
    mix.set_weights({"some": 1, "all": 1}, from_epoch=0)
    with pytest.raises(StateError, match="order is 'Mix"):
        other.load_state_dict(state)


def test_its_own_order_is_not_lost_in_silence(mix: Mix) -> None:
    with pytest.raises(TypeError, match="weights in its order: DataLoader"):
        next(iter(DataLoader(mix, 2, shuffle=True)))
    others: list[Dataset[Any]] = [Subset(mix, [0]), ConcatDataset([mix, mix])]
    for other in others:
        with pytest.raises(ValueError, match="weights of a Mix are lost"):
            EpochSampler(other)
        with pytest.raises(ValueError, match="weights of a Mix are lost"):
            Loader(other, 4)
    with pytest.raises(ValueError, match=r"a Mix has an order of its own: leave out order=Repeated"):
        Loader(mix, 4, order=Repeated(2))


def test_what_can_not_be_mixed_is_an_error(folder: Path, mix: Mix) -> None:
    part = map_style(folder)
    for parts, error, message in [
        ({}, ValueError, "needs a dataset"),
        ({"a": (part, 0)}, ValueError, "all weights are 0"),
        ({"a": (part, -1), "b": (part, 2)}, ValueError, "a weight must be at least 0"),
        ({"a": (part, 1), "b": (map_style(folder, transform=[RandomResizedCrop(8)]), 1)}, ValueError, "sizes"),
        ({"a": (mix, 1)}, TypeError, "mix its parts instead"),
        ({"a/b": (part, 1)}, ValueError, "which 'a/b' can't be"),
        ({"a": ([1, 2], 1)}, TypeError, "got a list"),
    ]:
        with pytest.raises(error, match=message):
            Mix(parts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a weight for each of \['some', 'all'\], got \['some'\]"):
        mix.set_weights({"some": 1}, from_epoch=1)
    with pytest.raises(ValueError, match="from_epoch must be at least 0"):
        mix.set_weights({"some": 1, "all": 1}, from_epoch=-1)
