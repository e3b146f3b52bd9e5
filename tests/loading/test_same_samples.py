"""The contract of the whole line: a sample is the same wherever it lies, whoever loads it and on however many ranks.

Each recipe uses one more part than a plain one (a field, a step, a function, several views, an order).
"""

from pathlib import Path

import pytest
import torch

from support import annotated
from support.annotated import COUNT, Annotated
from support.recipes import RECIPES, Recipe, fields, write_tables
from support.ways import OF_ITERABLES, WAYS, Shown, by_data_loader, by_loader, shown

FIELDS = fields(Path())


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Annotated:
    folder = annotated.write_folder(tmp_path_factory.mktemp("folder"))
    return Annotated(folder, annotated.write_shards(tmp_path_factory.mktemp("shards")))


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return annotated.write_parquet(tmp_path_factory.mktemp("parquet"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture(params=[*RECIPES, *FIELDS])
def recipe(request: pytest.FixtureRequest, tables: Path) -> Recipe:
    recipes = {**RECIPES, **fields(tables)}
    return recipes[str(request.param)]


def expected(recipe: Recipe, samples: Annotated) -> list[Shown]:
    return shown(by_loader(recipe.of_folder(samples.folder), recipe, num_threads=1))


def assert_same(ours: list[Shown], theirs: list[Shown], way: str) -> None:
    assert [each[:3] for each in ours] == [each[:3] for each in theirs], way
    for our, their in zip(ours, theirs, strict=True):
        assert our.images.keys() == their.images.keys(), way
        for name, image in our.images.items():
            other = their.images[name]
            assert (image.dtype, image.shape) == (other.dtype, other.shape), f"{way}: {our.key}"
            assert torch.equal(image, other), f"{way}: {our.key}"


@pytest.mark.filterwarnings("ignore:the epoch's final step has samples for only")
# Python 3.12 warns of forking a process with threads, which torch has.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_each_sample_is_the_same_whoever_loads_it(recipe: Recipe, samples: Annotated) -> None:
    wanted = expected(recipe, samples)
    assert len(wanted) == (14 if recipe.mixed else recipe.order.num_samples or COUNT if recipe.order else COUNT)
    for name, way in WAYS.items() if recipe.mixed else (WAYS | OF_ITERABLES).items():
        assert_same(shown(way(recipe, *samples)), wanted, name)


# Python 3.12 warns of forking a process with threads, which torch has.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_each_sample_is_the_same_from_parquet(recipe: Recipe, samples: Annotated, parquet: list[str]) -> None:
    dataset, wanted = recipe.of_parquet(parquet), expected(recipe, samples)
    assert_same(shown(by_loader(dataset, recipe, num_threads=3)), wanted, "3 threads")
    assert_same(shown(by_data_loader(dataset, recipe, 0)), wanted, "no workers, after that")
    assert_same(shown(by_data_loader(recipe.of_parquet(parquet), recipe, 2)), wanted, "2 workers")


def test_without_the_kernel_it_is_the_same_within_a_few_levels(
    recipe: Recipe, samples: Annotated, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = expected(recipe, samples)
    monkeypatch.setattr("fastdata.images.kernel.KERNEL", None)
    ours = expected(recipe, samples)
    assert [each[:3] for each in ours] == [each[:3] for each in wanted]
    for our, other in zip(ours, wanted, strict=True):
        for name, image in our.images.items():
            difference = (image.float() - other.images[name].float()).abs()
            if recipe.levels is None:
                assert difference.mean() < 2
            else:
                assert difference.max() <= recipe.levels
    by_python = shown(by_data_loader(recipe.of_shards(samples.shards), recipe, 0))
    assert_same(by_python, ours, "shards, no workers, no kernel")


def test_another_epoch_is_another_draw(recipe: Recipe, samples: Annotated) -> None:
    loader = by_loader(recipe.of_folder(samples.folder), recipe)
    first, second = (
        {(each.key, *(image.numpy().tobytes() for image in each.images.values())) for each in shown(loader)}
        for _ in range(2)
    )
    assert len(first & second) < len(second) / 2
