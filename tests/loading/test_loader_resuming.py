"""A Loader's epochs: each iteration the next one, or another that is said, or the rest of one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fastdata.epoch.order import EpochOrder
from fastdata.errors import StateError
from fastdata.loading.loader import Loader
from fastdata.sample import Batch
from fastdata.transforms.steps import CenterCrop, Resize, Step
from support.batches import assert_same_batches, targets
from support.numbered import COUNT, iterable, map_style

EVALUATE: list[Step] = [Resize(30), CenterCrop(24)]


class TestEpochs:
    @pytest.mark.parametrize("last", ["partial", "drop", "pad"])
    def test_len_is_the_number_of_batches(self, folder: Path, last: Any) -> None:
        loader = Loader(map_style(folder), 5, last=last)
        assert len(loader) == len(list(loader)) == (7 if last == "drop" else 8)

    def test_set_epoch_changes_order_and_views(self, folder: Path) -> None:
        loader = Loader(map_style(folder), COUNT, shuffle=True)
        first = next(iter(loader))
        loader.set_epoch(1)
        second = next(iter(loader))
        assert first.targets.tolist() != second.targets.tolist()
        assert sorted(first.targets.tolist()) == sorted(second.targets.tolist()) == list(range(COUNT))
        in_first, in_second = (batch.images[batch.targets.argsort()] for batch in (first, second))
        assert not torch.equal(in_first, in_second)

    def test_set_epoch_back_gives_the_same_again(self, folder: Path) -> None:
        loader = Loader(map_style(folder), 8, shuffle=True)
        first = list(loader)
        for epoch in (1, 0):
            loader.set_epoch(epoch)
            again = list(loader)
        assert_same_batches(again, first)

    def test_each_iteration_is_the_next_epoch(self, folder: Path) -> None:
        loader, told = (Loader(map_style(folder), 8, shuffle=True) for _ in range(2))
        assert loader.epoch == 0
        for epoch in range(3):
            told.set_epoch(epoch)
            assert_same_batches(list(loader), list(told))
            assert loader.epoch == told.epoch == epoch

    def test_an_iterator_that_is_never_asked_begins_nothing(self, folder: Path) -> None:
        loader = Loader(map_style(folder), COUNT, shuffle=True)
        iter(loader)
        assert targets(loader) == [EpochOrder(COUNT, True, 5, 0).samples(0, COUNT).tolist()]

    def test_what_lightning_calls_says_the_epoch(self, folder: Path) -> None:
        loader, told = (Loader(map_style(folder), 8, shuffle=True) for _ in range(2))
        loader.sampler.set_epoch(3)
        told.set_epoch(3)
        assert_same_batches(list(loader), list(told))

    def test_evaluation_needs_no_set_epoch(self, folder: Path) -> None:
        loader = Loader(map_style(folder, transform=EVALUATE), 8)
        assert_same_batches(list(loader), list(loader))

    def test_after_a_break_comes_the_next_epoch(self, folder: Path) -> None:
        loader, told = (Loader(map_style(folder), 8, shuffle=True) for _ in range(2))
        next(iter(loader))
        told.set_epoch(1)
        assert_same_batches(list(loader), list(told))

    def test_the_running_epoch_that_is_said_again_keeps_its_state(self, folder: Path) -> None:
        loader = Loader(map_style(folder), 4, shuffle=True)
        batches = iter(loader)
        next(batches)
        loader.sampler.set_epoch(0)  # Lightning says it when it has begun
        next(batches)
        assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (0, 8)

    def test_set_epoch_is_for_the_next_iteration_and_not_for_the_running_one(self, folder: Path) -> None:
        loader, undisturbed = Loader(map_style(folder), 4), list(Loader(map_style(folder), 4))
        batches = iter(loader)
        first = next(batches)
        loader.set_epoch(5)
        assert_same_batches([first, *batches], undisturbed)
        next(iter(loader))
        assert loader.epoch == 5

    def test_ranks_that_would_wait_for_others_for_ever_are_warned(self, folder: Path) -> None:
        with pytest.warns(UserWarning, match="one step fewer"):
            next(iter(Loader(map_style(folder), 9, rank=1, world_size=4)))  # 37 = 4 * 9 + 1


class TestResuming:
    @pytest.mark.parametrize("shuffle", [True, False])
    @pytest.mark.parametrize("received", [0, 1, 3, 10])
    def test_a_new_loader_goes_on_at_the_very_next_sample(self, folder: Path, shuffle: bool, received: int) -> None:
        loader = Loader(map_style(folder), 4, shuffle=shuffle)
        loader.set_epoch(3)
        batches = iter(loader)
        seen = [number for _ in range(received) for number in next(batches).targets.tolist()]
        state = json.loads(json.dumps(loader.state_dict()))
        resumed = Loader(map_style(folder), 7, shuffle=shuffle, num_threads=3)
        resumed.load_state_dict(state)
        resumed.set_epoch(3)
        rest = list(resumed)
        order = EpochOrder(COUNT, shuffle, 5, 3).samples(0, COUNT).tolist()
        assert seen + [number for batch in rest for number in batch.targets.tolist()] == order
        assert [len(batch.images) for batch in rest[:-1]] == [7] * (len(rest) - 1)
        expected = {number: image for batch in list(full_epoch(folder, 3)) for number, image in by_number(batch)}
        assert all(torch.equal(image, expected[number]) for batch in rest for number, image in by_number(batch))

    @pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2), (2, 1)])
    def test_other_ranks_go_on_at_the_very_next_sample(self, shards: list[str], before: int, after: int) -> None:
        def loaders(world_size: int, batch_size: int) -> list[Loader]:
            return [
                Loader(iterable(shards, shuffle=True), batch_size, rank=rank, world_size=world_size)
                for rank in range(world_size)
            ]

        first, seen, states = loaders(before, 5), [], []
        for loader in first:
            batches = iter(loader)
            seen += [number for _ in range(2) for number in next(batches).targets.tolist()]
            states.append(loader.state_dict())
        assert all(state == states[0] for state in states)
        second = loaders(after, 4)
        for loader in second:
            loader.load_state_dict(states[0])
        rest = [number for loader in second for batch in loader for number in batch.targets.tolist()]
        assert sorted(seen + rest) == list(range(COUNT))
        order = EpochOrder(COUNT, True, 5, 0).samples(0, COUNT).tolist()
        assert sorted(seen) == sorted(order[: 10 * before])

    def test_the_usual_training_loop_goes_on_in_mid_epoch(self, folder: Path) -> None:
        def train(loader: Loader, epochs: range, stop_after: int) -> tuple[list[list[int]], dict[str, Any]]:
            seen: list[list[int]] = []
            for epoch in epochs:
                loader.set_epoch(epoch)
                for batch in loader:
                    seen.append(batch.targets.tolist())
                    if len(seen) == stop_after:
                        return seen, loader.state_dict()
            return seen, loader.state_dict()

        whole, _ = train(Loader(map_style(folder), 6, shuffle=True), range(4), 1000)
        for stop_after in (3, 7, 14, 21):
            first, state = train(Loader(map_style(folder), 6, shuffle=True), range(4), stop_after)
            resumed = Loader(map_style(folder), 6, shuffle=True)
            resumed.load_state_dict(state)
            second, _ = train(resumed, range(state["epoch"], 4), 1000)
            assert first + second == whole

    def test_the_state_of_a_resumed_iteration_counts_from_the_epochs_start(self, folder: Path) -> None:
        loader = Loader(map_style(folder), 4)
        for expected in (4, 8, 12):
            batches = iter(loader)
            next(batches)
            state = loader.state_dict()
            assert state["position"] == expected
            loader.load_state_dict(state)

    def test_what_remains_is_the_rest_of_the_epoch(self, folder: Path) -> None:
        loader = Loader(map_style(folder), 4)
        batches = iter(loader)
        for _ in range(4):
            next(batches)
        loader.load_state_dict(loader.state_dict())
        assert loader.remaining == len(list(loader)) == 6
        assert loader.remaining == len(loader) == 10

    def test_after_a_resumed_epoch_the_next_one_is_whole_without_set_epoch_too(self, folder: Path) -> None:
        loader = Loader(map_style(folder, transform=EVALUATE), 4)
        loader.load_state_dict({**loader.state_dict(), "position": 30})
        assert targets(loader) == [[30, 31, 32, 33], [34, 35, 36]]
        assert loader.state_dict()["position"] == COUNT
        assert len(loader) == 10
        assert [number for batch in targets(loader) for number in batch] == list(range(COUNT))

    def test_a_state_taken_after_the_last_batch_is_gone_on_with_in_the_next_epoch(self, folder: Path) -> None:
        loader = Loader(map_style(folder), 4, last="pad", rank=0, world_size=3)
        assert len(list(loader)) == 4
        assert loader.state_dict()["position"] == COUNT
        resumed = Loader(map_style(folder), 4)
        resumed.load_state_dict(loader.state_dict())
        assert resumed.epoch == 1
        assert_same_batches(list(resumed), list(full_epoch(folder, 1, 4)))
        resumed.load_state_dict(loader.state_dict())
        resumed.set_epoch(0)  # who says the epoch that is done gets what is left of it
        assert list(resumed) == []

    def test_another_datasets_state_is_refused(self, folder: Path, shards: list[str]) -> None:
        state = Loader(map_style(folder), 4, shuffle=True).state_dict()
        for other in (
            Loader(map_style(folder), 4),
            Loader(map_style(folder, seed=6), 4, shuffle=True),
            Loader(iterable(shards, shuffle=True), 4),
        ):
            with pytest.raises(
                StateError, match=r"the state is another dataset's or order's: (shuffle|seed|fingerprint)"
            ):
                other.load_state_dict(state)


def full_epoch(folder: Path, epoch: int, batch_size: int = 16) -> Loader:
    loader = Loader(map_style(folder), batch_size)
    loader.set_epoch(epoch)
    return loader


def by_number(batch: Batch) -> Iterator[tuple[int, Tensor]]:
    return zip(batch.targets.tolist(), batch.images, strict=True)
