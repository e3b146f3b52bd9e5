"""Datasets of shards, shuffled by blocks: what they know of their bytes, and the same batches whoever loads them."""

import os
import pickle
from pathlib import Path

import pytest
from torch.utils.data import ConcatDataset, DataLoader

from fastdata.datasets.from_torch import as_image_dataset
from fastdata.datasets.mixture import Mix
from fastdata.datasets.shards import TarImageDataset
from fastdata.datasets.store import TarImageMapDataset
from fastdata.epoch.orders import Shuffle
from fastdata.epoch.weighted import Weighted
from fastdata.epoch.window import Window
from fastdata.errors import StateError
from fastdata.loading.loader import Loader
from support.batches import assert_same_batches
from support.classes import order_of
from support.numbered import COUNT, TRAIN, iterable, map_style

BATCH = 6
WINDOW = Window(3, streams=2, window=9, global_batch=12)


def test_a_dataset_of_shards_knows_its_bytes(shards: list[str], folder: Path) -> None:
    size = sum(os.stat(shard).st_size for shard in shards) / COUNT
    packed = TarImageMapDataset(shards, TRAIN)
    assert packed.bytes_per_sample == iterable(shards).bytes_per_sample == size
    assert as_image_dataset(ConcatDataset([packed, packed])).bytes_per_sample == pytest.approx(size)
    for others in (
        map_style(folder),
        packed.select(numbers=[0, 30]),
        as_image_dataset(ConcatDataset([packed, map_style(folder)])),
    ):
        assert as_image_dataset(others).bytes_per_sample is None


def test_blocks_are_of_as_many_samples_as_the_bytes_say(shards: list[str]) -> None:
    dataset = iterable(shards, shuffle="window", batch_size=BATCH)
    assert dataset.shuffle == Window()
    block_size = round(2**20 / dataset.bytes_per_sample)
    assert dataset.state_dict(0)["order"].startswith(f"Window(block_size={block_size}, ")
    with pytest.raises(ValueError, match=r"say it, shuffle=fd.Window\(block_size=...\)"):
        Loader(TarImageMapDataset(shards, TRAIN).select(numbers=[1, 2]), 2, shuffle="window")


def test_the_same_batches_come_from_workers_and_threads(shards: list[str]) -> None:
    batched = iterable(shards, shuffle=WINDOW, batch_size=BATCH)
    expected = list(batched)
    numbers = [target for batch in expected for target in batch.targets.tolist()]
    assert sorted(numbers) == list(range(COUNT))
    assert numbers == order_of(iterable(shards, shuffle=WINDOW)).tolist()
    batched.set_epoch(0)
    assert_same_batches(list(DataLoader(batched, batch_size=None, num_workers=2)), expected)
    assert_same_batches(list(Loader(pickle.loads(pickle.dumps(iterable(shards, shuffle=WINDOW))), BATCH)), expected)
    assert_same_batches(list(Loader(iterable(shards), BATCH, shuffle=WINDOW)), expected)


def test_a_loader_may_shuffle_otherwise_than_its_dataset(shards: list[str]) -> None:
    dataset = iterable(shards, shuffle=WINDOW)
    for shuffle in ("full", False):
        assert_same_batches(
            list(Loader(dataset, BATCH, shuffle=shuffle)), list(Loader(iterable(shards), BATCH, shuffle=shuffle))
        )
    with pytest.raises(ValueError, match="Weighted picks among all samples"):
        Loader(dataset, BATCH, order=Weighted([1.0] * COUNT))


@pytest.mark.parametrize("shuffle", ["window", WINDOW])
def test_a_mix_goes_with_no_window(shards: list[str], shuffle: Shuffle) -> None:
    mix = Mix({"all": (iterable(shards), 1)})
    with pytest.raises(ValueError, match="a Mix picks among all samples"):
        Loader(mix, BATCH, shuffle=shuffle)


def test_a_run_goes_on_with_its_own_shuffle_alone(shards: list[str]) -> None:
    whole = order_of(iterable(shards, shuffle=WINDOW)).tolist()
    state = iterable(shards, shuffle=WINDOW, batch_size=BATCH).state_dict(batches=2)
    rest = TarImageDataset(shards, shuffle=WINDOW, seed=5, batch_size=4)
    rest.load_state_dict(state)
    numbers = [number for picks in iter(rest).run.batches() for number in picks.numbers.tolist()]
    assert numbers == whole[2 * BATCH :]
    with pytest.raises(StateError, match=r"order is 'Window\(block_size=3, .*' in the state, None here"):
        iterable(shards, shuffle=True).load_state_dict(state)
