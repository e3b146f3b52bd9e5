"""The ways to load an epoch of a recipe, each as its batches in the epoch's order."""

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import DataLoader

import fastdata as fd
from support.annotated import plain
from support.recipes import Recipe

EPOCH, BATCH_SIZE = 2, 4


class Shown(NamedTuple):
    """A sample as a training loop sees it; of several views the images have names."""

    key: str
    views: list[fd.View]
    target: Any
    images: dict[str, Tensor]


def shown(batches: Iterable[fd.Batch]) -> list[Shown]:
    """The samples of batches, in their order."""
    return [
        Shown(
            key,
            [view] if isinstance(view, fd.View) else list(view),
            plain(of_row(batch.targets, row)),
            {name: images[row] for name, images in named(batch.images).items()},
        )
        for batch in batches
        for row, (key, view) in enumerate(zip(batch.keys, batch.views, strict=True))
    ]


def named(images: Any) -> dict[str, Tensor]:
    return images if isinstance(images, dict) else {"": images}


def of_row(targets: Any, row: int) -> Any:
    if isinstance(targets, dict):
        return {name: of_row(column, row) for name, column in targets.items()}
    return targets[row]


def by_loader(dataset: Any, recipe: Recipe, batch_size: int = BATCH_SIZE, **how: Any) -> fd.Loader:
    loader = fd.Loader(dataset, batch_size, **{"num_threads": 2, "shuffle": True, "order": recipe.order} | how)
    loader.set_epoch(EPOCH)
    return loader


def by_data_loader(dataset: Any, recipe: Recipe, workers: int) -> "DataLoader[Any]":
    sampler = fd.EpochSampler(dataset, BATCH_SIZE, order=recipe.order)
    sampler.set_epoch(EPOCH)
    return DataLoader(dataset, BATCH_SIZE, sampler=sampler, num_workers=workers, collate_fn=fd.collate)


def by_iterable(dataset: fd.TarImageDataset, workers: int) -> "DataLoader[Any]":
    dataset.set_epoch(EPOCH)
    return DataLoader(dataset, batch_size=None, num_workers=workers)


def joined(ranks: Iterable[Iterable[fd.Batch]]) -> Iterator[fd.Batch]:
    """What ranks get, step by step."""
    yield from (batch for step in zip_longest(*ranks) for batch in step if batch is not None)


def on_two_ranks(dataset: Any, recipe: Recipe) -> Iterator[fd.Batch]:
    yield from joined([by_loader(dataset, recipe, 2, rank=rank, world_size=2) for rank in range(2)])


def resumed_on_three_ranks(dataset: Any, again: Any, recipe: Recipe) -> Iterator[fd.Batch]:
    """In the middle of the epoch, by loaders over another dataset of the same samples."""
    first = by_loader(dataset, recipe)
    yield next(iter(first))
    state = first.state_dict()
    first.close()
    ranks = [by_loader(again, recipe, 1, rank=rank, world_size=3) for rank in range(3)]
    for rank in ranks:
        rank.load_state_dict(state)
    yield from joined(ranks)


def resumed_iterable(recipe: Recipe, shards: list[str]) -> Iterator[fd.Batch]:
    """After its first batch, by another number of workers."""
    first, second = (recipe.iterable(shards, batch_size=BATCH_SIZE) for _ in range(2))
    yield next(iter(by_iterable(first, 0)))
    second.load_state_dict(first.state_dict(batches=1))
    yield from DataLoader(second, batch_size=None, num_workers=1)


Way = Callable[[Recipe, Path, list[str]], Iterable[fd.Batch]]
WAYS: dict[str, Way] = {
    "folder, 3 threads": lambda recipe, folder, _: by_loader(recipe.of_folder(folder), recipe, num_threads=3),
    "shards": lambda recipe, _, shards: by_loader(recipe.of_shards(shards), recipe, num_threads=1),
    "shards, 3 threads": lambda recipe, _, shards: by_loader(recipe.of_shards(shards), recipe, num_threads=3),
    "folder, no workers": lambda recipe, folder, _: by_data_loader(recipe.of_folder(folder), recipe, 0),
    "folder, 2 workers": lambda recipe, folder, _: by_data_loader(recipe.of_folder(folder), recipe, 2),
    "shards, no workers": lambda recipe, _, shards: by_data_loader(recipe.of_shards(shards), recipe, 0),
    "2 ranks": lambda recipe, folder, _: on_two_ranks(recipe.of_folder(folder), recipe),
    "resumed": lambda recipe, folder, _: resumed_on_three_ranks(
        recipe.of_folder(folder), recipe.of_folder(folder), recipe
    ),
}
OF_ITERABLES: dict[str, Way] = {
    "iterable": lambda recipe, _, shards: by_loader(recipe.iterable(shards), recipe),
    "iterable, no workers": lambda recipe, _, shards: by_iterable(recipe.iterable(shards, batch_size=BATCH_SIZE), 0),
    "iterable, resumed": lambda recipe, _, shards: resumed_iterable(recipe, shards),
    "iterable, 2 workers": lambda recipe, _, shards: by_iterable(recipe.iterable(shards, batch_size=BATCH_SIZE), 2),
}
