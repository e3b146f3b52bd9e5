"""A dataset of shards goes on at the very next sample."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdata.datasets.shards import TarImageDataset
from fastdata.errors import StateError
from fastdata.sources.tars.writer import ShardWriter
from support.classes import TRAIN, order_of
from support.pictures import jpeg


class TestResuming:
    @given(batches=st.integers(0, 7), batch_size=st.integers(1, 6), world_size=st.integers(1, 3), shuffle=st.booleans())
    @settings(max_examples=25)
    @pytest.mark.filterwarnings("ignore:the epoch's final step:UserWarning")
    def test_the_rest_of_an_epoch_follows_on_any_number_of_ranks(
        self, class_shards: list[str], batches: int, batch_size: int, world_size: int, shuffle: bool
    ) -> None:
        first = TarImageDataset(class_shards, shuffle=shuffle, batch_size=2)
        batches = min(batches, len(first))
        first.set_epoch(3)
        state = json.loads(json.dumps(first.state_dict(batches)))
        rest = []
        for rank in range(world_size):
            resumed = TarImageDataset(
                class_shards, shuffle=shuffle, batch_size=batch_size, rank=rank, world_size=world_size
            )
            resumed.load_state_dict(state)
            resumed.set_epoch(3)
            rest += [number for picks in iter(resumed).run.batches() for number in picks.numbers.tolist()]
        assert sorted(rest) == sorted(order_of(first)[2 * batches :].tolist())

    def test_a_state_of_something_else_says_what_differs(self, class_shards: list[str]) -> None:
        state = TarImageDataset(class_shards, shuffle=True, seed=1, batch_size=1).state_dict(0)
        for other, message in (
            (TarImageDataset(class_shards[:1], shuffle=True, seed=1), "samples is 13 in the state, 5 here"),
            (TarImageDataset(class_shards, shuffle=True), "seed is 1 in the state, 0 here"),
            (TarImageDataset(class_shards, seed=1), "shuffle is True in the state, False here"),
        ):
            with pytest.raises(StateError, match=message):
                other.load_state_dict(state)

    def test_a_state_without_the_number_of_batches_is_refused(self, class_shards: list[str]) -> None:
        with pytest.raises(StateError, match="say how many batches the loop has received"):
            TarImageDataset(class_shards).state_dict()

    def test_a_state_that_nobody_completes_is_refused_at_the_next_batch(self, class_shards: list[str]) -> None:
        dataset = TarImageDataset(class_shards)
        iterator = iter(dataset)
        next(iterator)
        dataset.state_dict()
        with pytest.raises(StateError, match="can't tell what of the handed out samples"):
            next(iterator)

    @pytest.mark.parametrize("made", [0, 1, 2])
    def test_nor_is_it_completed_by_having_been_loaded(self, class_shards: list[str], made: int) -> None:
        dataset = TarImageDataset(class_shards, transform=TRAIN)
        iterator: Any = iter(dataset)
        iterator.load_state_dict({**iterator.state_dict(), "made": made})
        dataset.state_dict()
        with pytest.raises(StateError, match="can't tell what of the handed out samples"):
            next(iterator)

    def test_batches_are_only_counted_where_the_dataset_makes_them(self, class_shards: list[str]) -> None:
        with pytest.raises(StateError, match="without a batch_size batches can't be counted"):
            TarImageDataset(class_shards).state_dict(batches=4)
        with pytest.raises(StateError, match=r"batches=8: there are 7"):
            TarImageDataset(class_shards, batch_size=2).state_dict(batches=8)

    def test_a_state_of_other_samples_in_shards_of_the_same_name_is_refused(self, tmp_path: Path) -> None:
        for name, key in (("a", "one"), ("b", "two")):
            (tmp_path / name).mkdir()
            with ShardWriter(tmp_path / name / "s-000000.tar") as shard:
                shard.write(key, {"jpg": jpeg(8, 8), "cls": b"0"})
        a, b = (TarImageDataset(tmp_path / name / "s-000000.tar", batch_size=1) for name in "ab")
        shutil.copy(tmp_path / "a/s-000000.tar", tmp_path / "other.tar")
        TarImageDataset(tmp_path / "other.tar", batch_size=1).load_state_dict(a.state_dict(0))
        with pytest.raises(StateError, match="fingerprint is"):
            b.load_state_dict(a.state_dict(0))

    def test_each_iteration_is_the_next_epoch(self, class_shards: list[str]) -> None:
        dataset = TarImageDataset(class_shards, shuffle=True)
        assert len(list(dataset)) == 13
        assert len(list(dataset)) == 13
        assert dataset.epoch == 1

    def test_another_epoch_starts_at_its_start(self, class_shards: list[str]) -> None:
        dataset = TarImageDataset(class_shards, batch_size=1)
        dataset.load_state_dict(dataset.state_dict(6))
        assert dataset.remaining == 7
        dataset.set_epoch(0)
        assert dataset.remaining == 7
        dataset.set_epoch(1)
        assert dataset.remaining == len(dataset) == 13

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("batch_size", [None, 2])
    def test_torchdatas_stateful_dataloader_resumes_it(
        self, class_shards: list[str], workers: int, batch_size: int
    ) -> None:
        from torchdata.stateful_dataloader import StatefulDataLoader

        def loader() -> Any:
            dataset = TarImageDataset(class_shards, transform=TRAIN, shuffle=True, batch_size=batch_size)
            dataset.set_epoch(1)
            return StatefulDataLoader(dataset, batch_size=None, num_workers=workers)

        whole = [images for images, _ in loader()]
        interrupted = loader()
        iterator = iter(interrupted)
        received = [next(iterator)[0] for _ in range(3)]
        state = pickle.loads(pickle.dumps(interrupted.state_dict()))
        resumed = loader()
        resumed.load_state_dict(state)
        rest = [images for images, _ in resumed]
        assert len(received) + len(rest) == len(whole)
        assert all(torch.equal(a, b) for a, b in zip([*received, *rest], whole, strict=True))

    @pytest.mark.parametrize("other", [{"rank": 0}, {"world_size": 3}, {"batch_size": 1}, {"last": "drop"}])
    def test_an_iterators_state_is_refused_by_one_of_another_share(
        self, class_shards: list[str], other: dict[str, Any]
    ) -> None:
        how: dict[str, Any] = {"transform": TRAIN, "rank": 1, "world_size": 2, "batch_size": 2, "last": "pad"}
        iterator: Any = iter(TarImageDataset(class_shards, **how))
        next(iterator)
        state = iterator.state_dict()
        same: Any = iter(TarImageDataset(class_shards, **how))
        same.load_state_dict(state)
        assert torch.equal(next(same)[0], next(iterator)[0])
        another: Any = iter(TarImageDataset(class_shards, **{**how, **other}))
        with pytest.raises(StateError, match=r"iterator's state is of .* use the same"):
            another.load_state_dict(state)
        with pytest.raises(StateError, match=r"'worker': 1, 'num_workers': 2.* use the same"):
            same.load_state_dict({**state, "worker": 1, "num_workers": 2})

    def test_a_state_that_needs_its_iterators_is_refused_without_it(self, class_shards: list[str]) -> None:
        dataset = TarImageDataset(class_shards)
        iterator = iter(dataset)
        next(iterator)
        state = dataset.state_dict()
        resumed = TarImageDataset(class_shards)
        resumed.load_state_dict(state)
        with pytest.raises(StateError, match=r"state_dict\(batches=\.\.\.\)"):
            next(iter(resumed))
