"""Map-style datasets in torch's own DataLoader, where nobody says an epoch, and where somebody does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from fastdata.datasets.collate import collate
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.transforms.steps import CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize

TRAIN = [RandomResizedCrop(24), RandomHorizontalFlip()]
WORKERS: dict[str, dict[str, Any]] = {
    "none": {},
    "workers": {"num_workers": 2},
    "persistent workers": {"num_workers": 2, "persistent_workers": True},
}


@pytest.fixture(params=WORKERS)
def workers(request: pytest.FixtureRequest) -> dict[str, Any]:
    return WORKERS[request.param]


def views(loader: DataLoader[Any]) -> list[bytes]:
    """The images of an epoch in their order, as something to compare."""
    return [image.numpy().tobytes() for images, _ in loader for image in images]


def test_views_are_new_in_each_epoch(class_folder: Path, workers: dict[str, Any]) -> None:
    loader = DataLoader(
        ImageDirectoryDataset(class_folder, transform=TRAIN), 4, shuffle=True, collate_fn=collate, **workers
    )
    epochs = [views(loader) for _ in range(3)]
    assert len({view for epoch in epochs for view in epoch}) == 3 * len(epochs[0]) == 39


def test_torchs_seed_makes_them_the_same_again(class_folder: Path, workers: dict[str, Any]) -> None:
    def run(seed: int) -> list[list[bytes]]:
        torch.manual_seed(seed)
        dataset = ImageDirectoryDataset(class_folder, transform=TRAIN)
        loader = DataLoader(dataset, 4, shuffle=True, collate_fn=collate, **workers)
        return [views(loader) for _ in range(2)]

    assert run(3) == run(3) != run(4)


def test_an_epoch_that_is_said_reaches_all_workers(class_folder: Path, workers: dict[str, Any]) -> None:
    dataset = ImageDirectoryDataset(class_folder, transform=TRAIN)
    loader = DataLoader(dataset, 4, collate_fn=collate, **workers)
    for epoch in (5, 0, 5):
        dataset.set_epoch(epoch)
        assert views(loader) == [dataset.pair(i, epoch)[0].numpy().tobytes() for i in range(len(dataset))]
    dataset.set_epoch(None)
    assert views(loader) != views(loader)


def test_a_sample_that_is_in_a_batch_twice_is_seen_in_two_ways(class_folder: Path) -> None:
    dataset = ImageDirectoryDataset(class_folder, transform=TRAIN)
    (images, _) = next(iter(DataLoader(dataset, 3, sampler=[2, 2, 2], collate_fn=collate)))
    assert len({image.numpy().tobytes() for image in images}) == 3


def test_without_chance_no_random_number_is_taken(class_folder: Path) -> None:
    dataset = ImageDirectoryDataset(class_folder, transform=[Resize(30), CenterCrop(24)])
    before = torch.get_rng_state()
    assert torch.equal(dataset[3][0], dataset[3][0])
    assert torch.equal(torch.get_rng_state(), before)
