"""Some samples of a dataset, as a dataset again."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from fastdata.datasets.collate import collate
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.from_torch import as_image_dataset
from fastdata.datasets.selection import Selectable
from fastdata.datasets.store import TarImageMapDataset
from fastdata.epoch.sampler import EpochSampler
from fastdata.loading.loader import Loader
from support.numbered import TRAIN, map_style

EPOCH = 4


@pytest.fixture(params=["folder", "shards", "selected"])
def dataset(request: pytest.FixtureRequest, class_folder: Path, class_shards: list[str]) -> Selectable:
    """13 samples of three classes."""
    if request.param == "shards":
        return TarImageMapDataset(class_shards, TRAIN, seed=5)
    folder = ImageDirectoryDataset(class_folder, transform=TRAIN, seed=5)
    return folder if request.param == "folder" else folder.select(numbers=range(13))


def test_by_predicate_keys_numbers_slice_and_mask(dataset: Any) -> None:
    numbers = [n for n in range(13) if dataset.targets[n] == 1]
    mask = np.array(dataset.targets) == 1
    keys = [dataset.key(number) for number in numbers]
    chosen = [
        dataset.select(lambda key, target: target == 1),
        dataset.select(keys=keys),
        dataset.select(numbers=numbers),
        dataset.select(numbers=mask),
        dataset.select(numbers=[number - 13 for number in numbers]),
        as_image_dataset(Subset(dataset, numbers)),
    ]
    for some in chosen:
        assert [some.key(number) for number in range(some.num_samples)] == keys
    assert len({some.fingerprint for some in chosen}) == 1
    assert dataset.select(numbers=slice(2, 5)).key(0) == dataset.key(2)


def test_keys_are_in_the_order_given(dataset: Any) -> None:
    keys = [dataset.key(number) for number in (7, 2, 11)]
    some = dataset.select(keys=(key for key in keys))
    assert [some.key(number) for number in range(3)] == keys
    assert len(dataset.select(keys=keys[1])) == 1


def test_what_is_selected_is_what_it_was(dataset: Any) -> None:
    numbers = [5, 0, 12]
    some = dataset.select(numbers=numbers)
    assert len(some) == 3
    assert some.samples[:] == [dataset.samples[number] for number in numbers] == list(some.imgs)
    assert np.array_equal(some.targets, [dataset.targets[number] for number in numbers])
    assert (some.classes, some.class_to_idx) == (dataset.classes, dataset.class_to_idx)
    some.set_epoch(EPOCH)
    for place, number in enumerate(numbers):
        (image, target), (expected, same) = some[place], dataset.pair(number, EPOCH)
        assert torch.equal(image, expected)
        assert target == same
    again = pickle.loads(pickle.dumps(some))
    assert torch.equal(again.pair(1, EPOCH)[0], some.pair(1, EPOCH)[0])


def test_it_is_loaded_as_any_other(dataset: Any) -> None:
    some = dataset.select(lambda key, target: target != 1)
    sampler = EpochSampler(some, 3)
    sampled = list(DataLoader(some, 3, sampler=sampler, num_workers=2, collate_fn=collate))
    loaded = list(Loader(some, 3, shuffle=True))
    assert all(torch.equal(one.images, other.images) for one, other in zip(sampled, loaded, strict=True))
    assert 1 not in torch.cat([batch.targets for batch in loaded])
    plain = DataLoader(some, 3, shuffle=True, collate_fn=collate)
    assert not torch.equal(torch.cat([b.images for b in plain]), torch.cat([b.images for b in plain]))


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"keys": ["nobody"]}, ValueError, "no sample has the key 'nobody'; the first one's is"),
        ({"where": lambda key, target: False}, ValueError, "none of 13 samples is selected"),
        ({"keys": []}, ValueError, "none of 13 samples is selected"),
        ({"numbers": [13]}, IndexError, "13"),
        ({"numbers": np.array([True])}, ValueError, "one bool for each of 13 samples"),
        ({"numbers": [[0, 1]]}, TypeError, r"one list of integers, got an array of shape \(1, 2\)"),
        ({"numbers": [[0], [1, 2]]}, TypeError, "one list of integers, or a mask, got lists of several lengths"),
        ({"numbers": 5}, TypeError, r"a list of integers: write numbers=\[5\]"),
        ({}, TypeError, "select by one of"),
        ({"keys": ["a"], "numbers": [1]}, TypeError, "select by one of"),
    ],
)
def test_what_can_not_be_selected_is_an_error(
    dataset: Any, how: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dataset.select(**how)


def test_shards_know_their_targets(class_folder: Path, class_shards: list[str]) -> None:
    folder, shards = ImageDirectoryDataset(class_folder), TarImageMapDataset(class_shards)
    assert sorted(shards.targets) == sorted(folder.targets)
    assert list(shards.targets) == [target for _, target in shards.samples]
    assert TarImageMapDataset(class_shards, target=None).targets == [-1] * 13


def test_a_selection_hears_the_epoch_of_the_whole_dataset(folder: Path) -> None:
    whole = map_style(folder)
    some = whole.select(numbers=[3, 4])
    whole.set_epoch(7)
    assert torch.equal(some[0][0], whole[3][0])
    some.set_epoch(8)
    assert not torch.equal(some[0][0], whole[3][0])
    with pytest.raises(TypeError, match="integers"):
        whole.select(numbers=[1.9, 2.5])  # type: ignore[list-item]
