"""Keys, views, colour steps and `map=`: the same for each sample, wherever it lies and whoever loads it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader

import fastdata as fd
from fastdata.sample import Batch
from support.maps import jitter, with_target
from support.numbered import COUNT, TRAIN, iterable, map_style

EPOCH, BATCH_SIZE = 2, 5
COLOURED = [*TRAIN, fd.ColorJitter(0.4, 0.4, 0.4, 0.1), fd.RandomGrayscale(0.3), fd.RandomErasing(0.5, value="random")]
OPTIONS: dict[str, dict[str, Any]] = {
    "map": {"map": jitter},
    "map of image and target": {"map": with_target},
    "colour": {"transform": COLOURED},
    "colour, then map": {"transform": COLOURED, "map": jitter},
}

Content = dict[str, tuple[Any, ...]]


def by_key(batches: Iterable[Batch]) -> Content:
    """Of each sample: its view, its target and its pixels."""
    found: Content = {}
    for batch in batches:
        images, targets = batch
        labels = targets.tolist() if isinstance(targets, torch.Tensor) else targets
        for key, view, image, target in zip(batch.keys, batch.views, images, labels, strict=True):
            assert key not in found
            found[key] = (view, target, image.shape, image.dtype, image.flatten().tolist())
    return found


def loaded(dataset: Any, **options: Any) -> fd.Loader:
    loader = fd.Loader(dataset, BATCH_SIZE, **{"num_threads": 2, "shuffle": True} | options)
    loader.set_epoch(EPOCH)
    return loader


def by_data_loader(dataset: Any, workers: int) -> Iterator[Batch]:
    dataset.set_epoch(EPOCH)
    if isinstance(dataset, fd.TarImageDataset):
        return iter(DataLoader(dataset, batch_size=None, num_workers=workers))
    return iter(DataLoader(dataset, BATCH_SIZE, num_workers=workers, collate_fn=fd.collate, shuffle=True))


def resumed(dataset: Any) -> Iterator[Batch]:
    first = loaded(dataset)
    batches = iter(first)
    yield from (next(batches), next(batches))
    state = first.state_dict()
    first.close()
    second = fd.Loader(dataset, 4, num_threads=1, shuffle=True)
    second.load_state_dict(state)
    yield from second


def on_two_ranks(dataset: Any) -> Iterator[Batch]:
    for rank in range(2):
        yield from loaded(dataset, rank=rank, world_size=2)


WAYS: dict[str, Callable[[Path, list[str], dict[str, Any]], Iterable[Batch]]] = {
    "shards": lambda folder, shards, how: loaded(iterable(shards, **how)),
    "1 thread": lambda folder, shards, how: loaded(map_style(folder, **how), num_threads=1),
    "3 threads": lambda folder, shards, how: loaded(map_style(folder, **how), num_threads=3),
    "no workers": lambda folder, shards, how: by_data_loader(map_style(folder, **how), 0),
    "2 workers": lambda folder, shards, how: by_data_loader(map_style(folder, **how), 2),
    "shards, no workers": lambda folder, shards, how: by_data_loader(iterable(shards, **how, batch_size=4), 0),
    "shards, 2 workers": lambda folder, shards, how: by_data_loader(iterable(shards, **how, batch_size=4), 2),
    "2 ranks": lambda folder, shards, how: on_two_ranks(iterable(shards, **how)),
    "resumed": lambda folder, shards, how: resumed(map_style(folder, **how)),
}


# Python 3.12 warns of forking a process with threads, which torch has.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("options", OPTIONS)
def test_each_sample_is_the_same_whoever_loads_it(folder: Path, shards: list[str], options: str) -> None:
    expected = by_key(loaded(map_style(folder, **OPTIONS[options])))
    assert sorted(expected) == [f"{number:03}" for number in range(COUNT)]
    plain = by_key(loaded(map_style(folder)))
    assert sum(expected[key][-1] != plain[key][-1] for key in plain) > COUNT // 2
    assert all(expected[key][0] == plain[key][0] for key in plain)
    for name, way in WAYS.items():
        assert by_key(way(folder, shards, OPTIONS[options])) == expected, name


@pytest.mark.parametrize("options", OPTIONS)
def test_another_epoch_is_another_draw(folder: Path, options: str) -> None:
    loader = loaded(map_style(folder, **OPTIONS[options]))
    first, second = by_key(loader), by_key(loader)
    assert sum(first[key][-1] != second[key][-1] for key in first) > COUNT // 2


@pytest.mark.parametrize("threads", [1, 3])
def test_the_loop_draws_its_own_numbers_beside_a_loaders_threads(folder: Path, threads: int) -> None:
    torch.manual_seed(3)
    drawn = [torch.rand(1).item() for _ in loaded(map_style(folder, map=jitter), num_threads=threads)]
    generator = torch.Generator().manual_seed(3)
    assert drawn == [torch.rand(1, generator=generator).item() for _ in drawn]


def test_colour_steps_of_two_datasets_are_each_ones_own(folder: Path, shards: list[str]) -> None:
    parts: list[Any] = [map_style(folder, transform=COLOURED), fd.TarImageMapDataset(shards, TRAIN, seed=6)]
    joined: ConcatDataset[Any] = ConcatDataset(parts)
    together = [row for batch in loaded(joined) for row in zip(batch.keys, batch.images, strict=True)]
    alone = [by_key(loaded(part)) for part in parts]
    assert len(together) == 2 * COUNT
    for key, image in together:
        assert image.flatten().tolist() in [found[key][-1] for found in alone]


def test_a_batch_of_two_datasets_that_dali_decodes_has_each_ones_own_colours(folder: Path, shards: list[str]) -> None:
    pytest.importorskip("nvidia.dali")
    parts: list[Any] = [map_style(folder, transform=COLOURED), fd.TarImageMapDataset(shards, TRAIN, seed=6)]
    joined: ConcatDataset[Any] = ConcatDataset(parts)
    for our, dali in zip(loaded(joined), loaded(joined, decoder="dali"), strict=True):
        assert our.keys == dali.keys
        assert (our.images.float() - dali.images.float()).abs().mean() < 4


def test_a_bad_sample_is_replaced_with_the_others_own_key_and_colours(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes() if file.stem != "002" else b"no image")
    expected = by_key(loaded(map_style(folder, transform=COLOURED)))
    for decoder in ("cpu", "dali"):
        if decoder == "dali":
            pytest.importorskip("nvidia.dali")
        loader = loaded(
            map_style(tmp_path, transform=COLOURED), shuffle=False, on_error="skip", decoder=decoder, num_threads=1
        )
        batch = next(iter(loader))
        loader.close()
        assert batch.keys == ["000", "001", "003", "003", "004"]
        assert torch.equal(batch.images[2], batch.images[3])
        if decoder == "cpu":
            assert batch.images[2].flatten().tolist() == expected["003"][-1]


def test_dalis_batches_have_keys_and_views_and_their_colours(folder: Path) -> None:
    pytest.importorskip("nvidia.dali")
    ours, dalis = (loaded(map_style(folder, transform=COLOURED), decoder=decoder) for decoder in ("cpu", "dali"))
    for our, dali in zip(ours, dalis, strict=True):
        assert (our.keys, our.views) == (dali.keys, dali.views)
        assert (our.images.float() - dali.images.float()).abs().mean() < 4
    plain = loaded(map_style(folder), decoder="dali")
    assert not torch.equal(next(iter(plain)).images, next(iter(dalis)).images)


def test_a_batch_that_is_mapped_goes_to_its_device(folder: Path) -> None:
    batch = next(iter(fd.Loader(map_style(folder, map=jitter), 4, device="meta")))
    assert (batch.images.device.type, batch.targets.device.type) == ("meta", "meta")
