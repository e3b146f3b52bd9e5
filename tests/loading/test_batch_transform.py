"""`batch_transform=`: after `normalize`, on the device, with numbers of (seed, epoch, step)."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fastdata.loading.loader import Loader
from fastdata.loading.normalize import Normalize
from support.maps import mixup
from support.numbered import COUNT, map_style

EPOCH = 2


def mixing(folder: Path, seed: int = 5, **options: Any) -> Loader:
    options = {"batch_transform": mixup, "shuffle": True, "num_threads": 2, **options}
    loader = Loader(map_style(folder, seed=seed), 4, **options)
    loader.set_epoch(EPOCH)
    return loader


def contents(batches: Any) -> list[tuple[list[str], list[Any], list[Any]]]:
    return [(batch.keys, batch.images.tolist(), batch.targets.tolist()) for batch in batches]


def test_images_are_normalized_and_targets_numbers_when_it_gets_them(folder: Path) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def look(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((images, targets))
        return images * 2, targets + 1

    normalize = Normalize.imagenet()
    for batch in mixing(folder, batch_transform=look, normalize=normalize, shuffle=False):
        images, targets = seen.pop()
        assert (images.dtype, targets.dtype) == (torch.float32, torch.int64)
        assert [f"{target:03}" for target in targets.tolist()] == batch.keys
        assert torch.equal(batch.images, images * 2)
        assert torch.equal(batch.targets, targets + 1)


def test_the_numbers_are_those_of_seed_epoch_and_step(folder: Path) -> None:
    expected = contents(mixing(folder))
    assert len(expected) == -(-COUNT // 4)
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    loader = mixing(folder, num_threads=1)
    assert contents(loader) == expected
    assert contents(loader) != expected, "another epoch"
    assert contents(mixing(folder, seed=6)) != expected


def test_steps_draw_different_numbers(folder: Path) -> None:
    drawn: list[float] = []

    def draw(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        drawn.extend([random.random(), np.random.rand(), torch.rand(1).item()])
        return images, targets

    for rank in range(2):
        list(mixing(folder, batch_transform=draw, rank=rank, world_size=2))
    assert len(set(drawn)) == len(drawn) == 3 * 10


def test_a_resumed_run_mixes_as_the_one_before_would_have(folder: Path) -> None:
    expected = contents(mixing(folder))
    loader = mixing(folder)
    batches = iter(loader)
    begun = contents([next(batches), next(batches), next(batches)])
    again = mixing(folder)
    again.load_state_dict(loader.state_dict())
    assert begun + contents(again) == expected


def test_the_loop_draws_its_own_numbers(folder: Path) -> None:
    def of_loop(loader: Loader) -> list[Any]:
        random.seed(1)
        np.random.seed(2)
        torch.manual_seed(3)
        return [(random.random(), np.random.rand(), torch.rand(1).item()) for _ in loader]

    assert of_loop(mixing(folder)) == of_loop(mixing(folder, batch_transform=None))


@pytest.mark.parametrize("result", [None, 3, (1, 2, 3), torch.zeros(2, 3)])
def test_what_it_gives_that_is_not_two_is_refused(folder: Path, result: Any) -> None:
    with pytest.raises(TypeError, match=r"batch_transform gives \(images, targets\)"):
        next(iter(mixing(folder, batch_transform=lambda images, targets: result)))


def test_what_is_no_function_is_refused_at_once(folder: Path) -> None:
    with pytest.raises(TypeError, match="batch_transform is a function"):
        mixing(folder, batch_transform=0.5)
