"""Keys, colour steps and `map=` of batches: of several datasets, of DALI, in place of bad samples, on a device."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset

import fastdata as fd
from fastdata.sample import Batch
from support.maps import jitter
from support.numbered import COUNT, TRAIN, map_style

EPOCH, BATCH_SIZE = 2, 5
COLOURED = [*TRAIN, fd.ColorJitter(0.4, 0.4, 0.4, 0.1), fd.RandomGrayscale(0.3), fd.RandomErasing(0.5, value="random")]

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


@pytest.mark.parametrize("other", [fd.Transform(TRAIN, antialias=False), [fd.Resize((24, 32), "bicubic")]])
def test_parts_that_resize_otherwise_are_each_resized_their_own_way_by_dali(folder: Path, other: Any) -> None:
    first = [fd.Resize((24, 32))] if isinstance(other, list) else TRAIN
    mix: ConcatDataset[Any] = ConcatDataset([map_style(folder, transform=first), map_style(folder, transform=other)])
    by_cpu, by_dali = (next(iter(fd.Loader(mix, 74, decoder=decoder))).images for decoder in ("cpu", "dali"))
    assert (by_cpu[37:].int() - by_dali[37:].int()).abs().max() <= 2
