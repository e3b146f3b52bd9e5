"""Orders other than each sample once: the same samples and pixels whoever loads them, on any ranks, after a resume."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset

from fastdata.datasets.collate import collate
from fastdata.datasets.mixture import Mix
from fastdata.epoch.balanced import Balanced
from fastdata.epoch.buckets import Buckets
from fastdata.epoch.orders import Order
from fastdata.epoch.repeated import Repeated
from fastdata.epoch.sampler import EpochSampler
from fastdata.epoch.weighted import Weighted
from fastdata.epoch.window import Window
from fastdata.errors import StateError
from fastdata.loading.loader import Loader
from fastdata.sample import Batch
from support.batches import assert_same_batches
from support.numbered import COUNT, iterable, map_style

EPOCH, BATCH = 2, 6
CLASSES = np.arange(COUNT) % 3
SIZES = [(16, 24), (20, 20), (30, 20)]
WEIGHTS = np.random.default_rng(1).uniform(0, 4, COUNT)
WINDOW = Window(3, streams=2, window=9, global_batch=12)


def mix(folder: Path, shards: list[str]) -> Mix:
    """Two thirds of a folder, one of some of the shards' samples, which come several times in an epoch."""
    some = map_style(folder).select(numbers=slice(3, 8))
    return Mix({"folder": (iterable(shards), 2), "some": (some, 1)}, num_samples=45)


Make = Callable[[Path, list[str]], tuple[Any, dict[str, Any]]]
KINDS: dict[str, Make] = {
    "window": lambda folder, _: (map_style(folder).select(numbers=slice(36)), {"shuffle": WINDOW}),
    "weighted": lambda folder, _: (map_style(folder), {"order": Weighted(WEIGHTS, 48), "shuffle": True}),
    "balanced": lambda folder, _: (map_style(folder), {"order": Balanced(48, CLASSES), "shuffle": True}),
    "repeated": lambda folder, _: (map_style(folder), {"order": Repeated(2, 72), "shuffle": True}),
    "buckets": lambda folder, _: (
        map_style(folder).select(numbers=slice(36)),
        {"order": Buckets(SIZES), "shuffle": True},
    ),
    "mix": lambda folder, shards: (mix(folder, shards), {"shuffle": True}),
}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, folder: Path, shards: list[str]) -> Callable[[], tuple[Any, dict[str, Any]]]:
    """Makes a dataset anew, and how it is loaded."""
    return lambda: KINDS[request.param](folder, shards)


def loader(make: Any, batch_size: int = BATCH, num_threads: int = 2, **how: Any) -> Loader:
    dataset, order = make()
    made = Loader(dataset, batch_size, num_threads=num_threads, **order, **how)
    made.set_epoch(EPOCH)
    return made


def sampled(make: Any, num_workers: int = 0, **how: Any) -> list[Batch]:
    """The same by a DataLoader."""
    dataset, order = make()
    sampler = EpochSampler(dataset, BATCH, **order)
    sampler.set_epoch(EPOCH)
    return list(DataLoader(dataset, BATCH, sampler=sampler, num_workers=num_workers, collate_fn=collate, **how))


@pytest.mark.usefixtures("ready_forkserver")
def test_workers_that_begin_anew_do_too(make: Any) -> None:
    assert_same_batches(sampled(make, num_workers=2, multiprocessing_context="forkserver"), list(loader(make)))


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_a_global_batch(make: Any, world_size: int) -> None:
    ranks = [list(loader(make, BATCH // world_size, rank=rank, world_size=world_size)) for rank in range(world_size)]
    together = [
        Batch(torch.cat([batch.images for batch in step]), torch.cat([batch.targets for batch in step]))
        for step in zip(*ranks, strict=True)
    ]
    assert_same_batches(together, list(loader(make)))


@pytest.mark.parametrize("received", [0, 1, 5])
def test_a_run_goes_on_at_the_very_next_sample_on_other_ranks(make: Any, received: int) -> None:
    whole = list(loader(make))
    first = loader(make)
    batches = iter(first)
    begun = [next(batches) for _ in range(received)]
    state = first.state_dict()
    rests = []
    for rank in range(3):
        rest = loader(make, 2, rank=rank, world_size=3)
        rest.load_state_dict(state)
        rests.append(list(rest))
    shown = [image for batch in begun for image in batch.images]
    shown += [image for step in zip(*rests, strict=True) for batch in step for image in batch.images]
    expected = [image for batch in whole for image in batch.images]
    assert len(shown) == len(expected)
    assert all(torch.equal(one, other) for one, other in zip(shown, expected, strict=True))


@pytest.mark.parametrize(
    "order",
    [Weighted(WEIGHTS), Balanced(48), Repeated(2), Buckets(SIZES)],
    ids=["weighted", "balanced", "repeated", "buckets"],
)
def test_shards_that_are_iterated_over_have_an_order(shards: list[str], order: Order) -> None:
    expected = list(Loader(iterable(shards), BATCH, order=order))
    batched = iterable(shards, order=order, batch_size=BATCH)
    assert len(batched) == len(expected)
    assert_same_batches(list(DataLoader(batched, batch_size=None, num_workers=2)), expected)
    assert_same_batches(list(Loader(iterable(shards, order=order), BATCH)), expected)
    resumed = iterable(shards, order=order, batch_size=BATCH)
    resumed.load_state_dict(iterable(shards, order=order, batch_size=BATCH).state_dict(batches=3))
    assert_same_batches(list(resumed), expected[3:])


def test_a_sample_comes_in_new_views(make: Any) -> None:
    views: Counter[tuple[int, bytes]] = Counter()
    made = loader(make)
    for batch in [*made, *made, *made]:
        images = [image.numpy().tobytes() for image in batch.images]
        views.update(zip(batch.targets.tolist(), images, strict=True))
    assert Counter(target for target, _ in views).most_common(1)[0][1] > 2
    assert max(views.values()) == 1


def test_a_state_is_of_its_order(make: Any, folder: Path) -> None:
    state = loader(make).state_dict()
    with pytest.raises(StateError, match=r"order is '.*' in the state, None here"):
        Loader(map_style(folder), BATCH, shuffle=True).load_state_dict(state)


def test_shards_and_folder_have_the_same_order(folder: Path, shards: list[str]) -> None:
    for order in (Weighted(WEIGHTS), Balanced(targets=CLASSES), Repeated(2), Buckets(SIZES)):
        of_folder = Loader(map_style(folder), BATCH, shuffle=True, order=order)
        of_shards = Loader(iterable(shards), BATCH, shuffle=True, order=order)
        assert_same_batches(list(of_folder), list(of_shards))


def test_classes_are_found_in_folders_shards_and_what_torch_makes_of_them(folder: Path, shards: list[str]) -> None:
    both: ConcatDataset[Any] = ConcatDataset([Subset(map_style(folder), [0, 1, 2, 2, 2, 2]), map_style(folder)])
    batches = list(Loader(both, 37, order=Balanced(37 * 6)))
    counts = Counter(target for batch in batches for target in batch.targets.tolist())
    assert counts == dict.fromkeys(range(COUNT), 6)
    of_shards = list(Loader(iterable(shards), 37, order=Balanced(37)))
    assert sorted(of_shards[0].targets.tolist()) == list(range(COUNT))


def test_an_epochs_length_is_that_of_its_order(folder: Path) -> None:
    made = Loader(map_style(folder), 5, order=Repeated(3, num_samples=COUNT), last="drop")
    assert len(made) == len(list(made)) == 7
    sampler = EpochSampler(map_style(folder), 5, order=Repeated(3))
    assert len(sampler) == len(list(sampler)) == 3 * COUNT


def test_a_bad_sample_is_skipped_in_a_mix(tmp_path: Path, folder: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number:03}.jpg").write_bytes(b"no image" if number == 2 else (folder / "000.jpg").read_bytes())
    parts = Mix({"bad": (map_style(tmp_path), 1), "good": (map_style(folder), 1)}, num_samples=8)
    made = Loader(parts, 8, on_error="skip")
    (batch,) = made
    assert len(batch.targets) == 8
    assert [(skipped.key, Path(skipped.where).name) for skipped in made.skipped] == [("bad/002", "002.jpg")]
