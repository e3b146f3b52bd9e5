"""Buckets: the same batches whoever loads them, each image the view that a transform of its size has of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset

import fastdata as fd
from support.batches import assert_same_batches
from support.numbered import COUNT, TRAIN, iterable, map_style

SIZES = [(16, 24), (20, 20), (30, 20)]
BUCKETS = fd.Buckets(SIZES)
BATCH = 6
COLOURED = [*TRAIN, fd.ColorJitter(0.4, 0.4, 0.4, 0.1), fd.RandomErasing(0.5)]


def loaded(dataset: Any, batch_size: int = BATCH, **how: Any) -> list[fd.Batch]:
    options: dict[str, Any] = {"shuffle": True, "order": BUCKETS, "num_threads": 2}
    return list(fd.Loader(dataset, batch_size, **options | how))


def sampled(dataset: Any, **how: Any) -> list[fd.Batch]:
    sampler = fd.EpochSampler(dataset, BATCH, order=BUCKETS)
    return list(DataLoader(dataset, BATCH, sampler=sampler, collate_fn=fd.collate, **how))


@pytest.mark.parametrize(
    "steps", [TRAIN, COLOURED, [fd.Resize(40), fd.CenterCrop(24)]], ids=["crops", "colour", "fixed"]
)
def test_a_batch_has_the_views_of_its_size(folder: Path, steps: Sequence[fd.Transform]) -> None:
    batches = loaded(map_style(folder, transform=steps))
    assert {tuple(batch.images.shape[2:]) for batch in batches} == set(SIZES)
    assert sorted(key for batch in batches for key in batch.keys) == [f"{number:03}" for number in range(COUNT)]
    for images, targets in batches:
        height, width = images.shape[2:]
        resized = {24: (height, width)}
        own = [
            type(step)(resized[step.size[0]]) if getattr(step, "size", None) == (24, 24) else step  # type: ignore
            for step in steps
        ]
        alone = map_style(folder, transform=own)
        for image, target in zip(images, targets.tolist(), strict=True):
            assert torch.equal(image, alone.pair(target, 0)[0])


@pytest.mark.parametrize(
    "options",
    [{}, {"transform": COLOURED}, {"map": torch.flip, "transform": TRAIN}],
    ids=["plain", "coloured", "mapped"],
)
def test_folder_shards_threads_and_workers_give_the_same(
    folder: Path, shards: list[str], options: dict[str, Any]
) -> None:
    options = {**options, "map": _flipped} if "map" in options else options
    expected = loaded(map_style(folder, **options))
    assert_same_batches(loaded(iterable(shards, **options), num_threads=3), expected)
    assert_same_batches(loaded(map_style(folder, **options), num_threads=1), expected)
    for workers in (0, 2):
        assert_same_batches(sampled(map_style(folder, **options), num_workers=workers), expected)
        batched = iterable(shards, shuffle=True, order=BUCKETS, batch_size=BATCH, **options)
        assert_same_batches(list(DataLoader(batched, batch_size=None, num_workers=workers)), expected)


def _flipped(image: torch.Tensor) -> torch.Tensor:
    return image.flip(0)


def test_what_torch_makes_of_datasets(folder: Path, shards: list[str]) -> None:
    def both() -> Any:
        return ConcatDataset([Subset(map_style(folder), range(5, 20)), map_style(folder)])

    assert_same_batches(sampled(both()), loaded(both()))
    assert_same_batches(sampled(both(), num_workers=2), loaded(both()))
    packed = fd.TarImageMapDataset(shards, transform=TRAIN, seed=5)
    assert_same_batches(loaded(ConcatDataset([Subset(packed, range(5, 20)), packed])), loaded(both()))


@pytest.mark.parametrize("last", ["drop", "pad"])
def test_ranks_take_the_same_sizes_and_resume(folder: Path, last: Any) -> None:
    whole = loaded(map_style(folder), last=last)
    first = fd.Loader(map_style(folder), BATCH, shuffle=True, order=BUCKETS, last=last)
    batches = iter(first)
    begun = [next(batches), next(batches)]
    assert_same_batches(begun, whole[:2])
    ranks = []
    for rank in range(3):
        other = fd.Loader(map_style(folder), 2, shuffle=True, order=BUCKETS, last=last, rank=rank, world_size=3)
        other.load_state_dict(first.state_dict())
        ranks.append(list(other))
    first.close()
    together = [
        fd.Batch(torch.cat([batch.images for batch in step]), torch.cat([batch.targets for batch in step]))
        for step in zip(*ranks, strict=True)
    ]
    assert_same_batches(together, whole[2:])


def test_other_batches_can_not_go_on_within_an_epoch(folder: Path) -> None:
    first = fd.Loader(map_style(folder), BATCH, order=BUCKETS)
    next(iter(first))
    with pytest.raises(fd.StateError, match=r"of 6 over all ranks' in the state, .* of 5 over all ranks' here"):
        fd.Loader(map_style(folder), 5, order=BUCKETS).load_state_dict(first.state_dict())


def test_batches_that_are_kept_keep_their_pixels(folder: Path) -> None:
    loader = fd.Loader(map_style(folder), BATCH, shuffle=True, order=BUCKETS)
    kept = [batch for _ in range(3) for batch in loader]
    copies = [batch.images.clone() for batch in kept]
    for _ in range(2):
        for _ in loader:
            pass
    assert all(torch.equal(batch.images, copy) for batch, copy in zip(kept, copies, strict=True))


def test_the_error_of_a_bad_image_comes_with_it(tmp_path: Path, folder: Path) -> None:
    for number in range(9):
        data = (folder / "000.jpg").read_bytes()  # of 64 x 48 pixels
        (tmp_path / f"{number:03}.jpg").write_bytes(b"no image" if number == 4 else data)
    with pytest.raises(fd.SampleError, match="004"):
        loaded(map_style(tmp_path), 9)
    loader = fd.Loader(map_style(tmp_path), 8, order=BUCKETS, on_error="skip")
    assert [tuple(batch.images.shape) for batch in loader] == [(8, 3, 16, 24), (1, 3, 16, 24)]
    assert [skipped.key for skipped in loader.skipped] == ["004"]


def test_what_buckets_do_not_go_with(folder: Path, shards: list[str]) -> None:
    for steps in ([fd.Resize(30)], [fd.CenterCrop(30), fd.Pad(1)], fd.Views(two=(2, TRAIN))):
        with pytest.raises(ValueError, match="bucket"):
            fd.EpochSampler(map_style(folder, transform=steps), BATCH, order=BUCKETS)
    parts: Any = ConcatDataset([map_style(folder), map_style(folder, transform=[fd.CenterCrop(20), fd.Pad(2)])])
    with pytest.raises(ValueError, match="bucket"):
        fd.Loader(parts, BATCH, order=BUCKETS)
    with pytest.raises(ValueError, match="say batch_size="):
        next(iter(fd.EpochSampler(map_style(folder), order=BUCKETS)))
    with pytest.raises(ValueError, match="say batch_size="):
        next(iter(iterable(shards, order=BUCKETS)))
    assert_same_batches(
        list(fd.Loader(iterable(shards, order=BUCKETS), BATCH)), loaded(map_style(folder), shuffle=False)
    )
    with pytest.raises(ValueError, match="a Mix has an order of its own"):
        fd.Loader(fd.Mix({"one": (map_style(folder), 1)}), BATCH, order=BUCKETS)
    dataset = map_style(folder)
    sampler = fd.EpochSampler(dataset, BATCH, order=BUCKETS)
    with pytest.raises(ValueError, match="give EpochSampler the DataLoader's batch_size"):
        list(DataLoader(dataset, 2 * BATCH, sampler=sampler, collate_fn=fd.collate))


def test_dali_does_not_take_them(folder: Path) -> None:
    pytest.importorskip("nvidia.dali")
    with pytest.raises(ValueError, match="decoder='cpu' decodes those of Buckets"):
        fd.Loader(map_style(folder), BATCH, order=BUCKETS, decoder="dali")
