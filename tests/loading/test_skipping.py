"""Bad samples: errors that say which and why, or another of the batch in their place, as long as the budget lasts."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from fastdata.datasets.collate import collate
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.epoch.plan import EpochPlan
from fastdata.errors import DecodeError, SampleError, TooManySkippedError
from fastdata.loading.loader import Loader
from fastdata.loading.skipping import SkipBudget, Skipped
from fastdata.sample import Batch
from fastdata.sources.shard import Shard
from fastdata.sources.tars.writer import ShardWriter
from fastdata.transforms.steps import CenterCrop, Resize
from support.numbered import iterable as in_shards
from support.numbered import map_style, write_folder
from support.pictures import encoded, jpeg, photo
from support.processes import run_python

BAD = (2, 8, 9, 16)
COUNT = 18
CAUSES = {2: "", 8: "neither JPEG", 9: "", 16: "no regular file"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 photos: number 2 is cut short, 8 is text, 9 is empty and 16 can't be read at all."""
    root = write_folder(tmp_path_factory.mktemp("folder"), COUNT)
    (root / "002.jpg").write_bytes((root / "002.jpg").read_bytes()[:200])
    (root / "008.jpg").write_bytes(b"this is no image")
    (root / "009.jpg").write_bytes(b"")
    return root


@pytest.fixture
def dataset(folder: Path, tmp_path: Path) -> Any:
    """Its samples, the files being scanned before one of them becomes a directory."""
    root = shutil.copytree(folder, tmp_path / "photos")
    dataset = map_style(root)
    (root / "016.jpg").unlink()
    (root / "016.jpg").mkdir()
    return dataset


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """18 samples, of which 2, 8, 9 and 16 hold no image."""
    path = tmp_path / "bad.tar"
    with ShardWriter(path) as writer:
        for number in range(COUNT):
            data = b"no image" if number in BAD else jpeg(40, 30, number)
            writer.write(f"class/{number:03}", {"jpg": data, "cls": b"%d" % number})
    return path


def received(batches: Iterable[Batch]) -> tuple[list[list[int]], SampleError | None]:
    """The targets of the batches until one raises, and what it raises."""
    targets: list[list[int]] = []
    try:
        targets.extend(batch.targets.tolist() for batch in batches)
    except SampleError as error:
        return targets, error
    return targets, None


class TestRaising:
    @pytest.mark.parametrize("num_threads", [1, 4])
    def test_the_error_comes_in_its_turn_and_names_key_file_and_cause(self, dataset: Any, num_threads: int) -> None:
        for position, number in ((0, 2), (3, 8), (10, 16)):
            loader = Loader(dataset, 2, num_threads=num_threads)
            loader.load_state_dict({**loader.state_dict(), "position": position})
            targets, error = received(loader)
            assert error is not None
            assert [target for batch in targets for target in batch] == list(
                range(position, number - (number - position) % 2)
            )
            assert error.key == f"{number:03}"
            assert error.where == str(dataset.root / f"{number:03}.jpg")
            assert CAUSES[number] in error.cause
            assert str(error) == f"sample '{number:03}' in {error.where}: {error.cause}"

    def test_the_batches_before_it_are_whole(self, folder: Path) -> None:
        targets, error = received(Loader(map_style(folder), 2))
        assert targets == [[0, 1]]
        assert error is not None
        assert error.key == "002"

    def test_of_several_in_a_batch_it_is_the_first(self, folder: Path) -> None:
        _, error = received(Loader(map_style(folder), COUNT, num_threads=5))
        assert error is not None
        assert error.key == "002"

    def test_it_is_the_decoders_error(self, folder: Path) -> None:
        _, error = received(Loader(map_style(folder), 2))
        assert isinstance(error, DecodeError)

    def test_in_a_shard_it_names_the_offset(self, shard: Path) -> None:
        _, error = received(Loader(in_shards([str(shard)]), 4))
        assert error is not None
        assert error.key == "class/002"
        start = Shard(shard).rows["start"][2]
        assert error.where == f"{shard}, offset {start}"

    def test_a_file_that_is_gone(self, dataset: Any) -> None:
        (dataset.root / "000.jpg").unlink()
        _, error = received(Loader(dataset, 4))
        assert error is not None
        assert error.key == "000"
        assert "No such file" in error.cause

    def test_a_shard_that_is_gone(self, shard: Path) -> None:
        dataset = in_shards([str(shard)])
        loader = Loader(dataset, 4)
        shard.unlink()
        _, error = received(loader)
        assert error is not None
        assert str(shard) in error.where

    def test_a_shard_that_is_cut_short_under_way(self, shard: Path) -> None:
        dataset = in_shards([str(shard)])
        dataset.read(0)
        with shard.open("r+b") as file:
            file.truncate(1024)
        _, error = received(Loader(dataset, 4))
        assert error is not None
        assert str(shard) in error.where

    def test_it_is_the_same_as_through_torchs_data_loader(self, folder: Path) -> None:
        _, ours = received(Loader(map_style(folder), 2))
        _, theirs = received(DataLoader(map_style(folder), batch_size=2, collate_fn=collate))
        assert str(ours) == str(theirs)
        assert (ours.key, ours.where, ours.cause) == (theirs.key, theirs.where, theirs.cause)  # type: ignore[union-attr]


class TestSkipping:
    @pytest.mark.parametrize("num_threads", [1, 4])
    def test_another_sample_of_the_batch_takes_the_place(self, dataset: Any, num_threads: int) -> None:
        loader = Loader(dataset, 5, num_threads=num_threads, on_error="skip")
        batches = list(loader)
        dataset.set_epoch(0)
        assert [batch.targets.tolist() for batch in batches] == [
            [0, 1, 3, 3, 4], [5, 6, 7, 5, 5], [10, 11, 12, 13, 14], [15, 17, 17]
        ]  # fmt: skip
        for batch in batches:
            for row, number in enumerate(batch.targets.tolist()):
                assert torch.equal(batch.images[row], dataset[number][0])

    def test_it_is_recorded_in_order(self, dataset: Any) -> None:
        loader = Loader(dataset, 5, on_error="skip")
        assert len(list(loader)) == 4
        assert [skipped.key for skipped in loader.skipped] == ["002", "008", "009", "016"]
        for number, skipped in zip(BAD, loader.skipped, strict=True):
            assert isinstance(skipped, Skipped)
            assert skipped.where == str(dataset.root / f"{number:03}.jpg")
            assert CAUSES[number] in skipped.cause
            assert skipped.cause

    def test_only_what_was_handed_out_is_recorded(self, dataset: Any) -> None:
        loader = Loader(dataset, 5, on_error="skip")
        next(iter(loader))
        assert [skipped.key for skipped in loader.skipped] == ["002"]

    def test_samples_of_shards_are_skipped_with_their_targets(self, shard: Path) -> None:
        loader = Loader(in_shards([str(shard)]), 6, on_error="skip")
        assert [batch.targets.tolist() for batch in loader] == [
            [0, 1, 3, 3, 4, 5], [6, 7, 10, 10, 10, 11], [12, 13, 14, 15, 17, 17]
        ]  # fmt: skip
        assert all(skipped.where.startswith(f"{shard}, offset ") for skipped in loader.skipped)

    def test_a_batch_that_is_all_bad_is_an_error(self, dataset: Any) -> None:
        targets, error = received(Loader(dataset, 2, on_error="skip"))
        assert targets == [[0, 1], [3, 3], [4, 5], [6, 7]]
        assert error is not None
        assert error.key == "008"

    def test_a_good_dataset_skips_nothing(self, tmp_path: Path) -> None:
        loader = Loader(map_style(write_folder(tmp_path / "good", 9)), 4, on_error="skip", max_skipped=0)
        assert sum(len(images) for images, _ in loader) == 9
        assert loader.skipped == []

    def test_resuming_counts_what_was_skipped_as_delivered(self, dataset: Any) -> None:
        loader = Loader(dataset, 5, on_error="skip")
        next(iter(loader))
        resumed = Loader(dataset, 5, on_error="skip")
        resumed.load_state_dict(loader.state_dict())
        assert next(iter(resumed)).targets.tolist() == [5, 6, 7, 5, 5]


class TestBudget:
    def test_within_it_all_goes_well(self, dataset: Any) -> None:
        assert len(list(Loader(dataset, 5, on_error="skip", max_skipped=4))) == 4

    @pytest.mark.parametrize(("max_skipped", "batches"), [(0, 0), (1, 1), (2, 1), (3, 3)])
    def test_beyond_it_the_run_stops(self, dataset: Any, max_skipped: int, batches: int) -> None:
        loader = Loader(dataset, 5, on_error="skip", max_skipped=max_skipped)
        received: list[Batch] = []
        with pytest.raises(TooManySkippedError, match=rf"max_skipped allows {max_skipped}.*Loader.skipped"):
            received.extend(loader)
        assert len(loader.skipped) > max_skipped
        assert loader.stats().images == 5 * batches

    def test_each_epoch_has_its_own(self, dataset: Any) -> None:
        loader = Loader(dataset, 5, on_error="skip", max_skipped=4)
        for epoch in range(3):
            loader.set_epoch(epoch)
            assert len(list(loader)) == 4
        assert len(loader.skipped) == 12

    def test_without_process_groups_ranks_count_their_own(self) -> None:
        budget = SkipBudget(1, EpochPlan(100, 5, world_size=4), counting=True)
        budget.spend(1)
        budget.spend(0)
        budget.settle()
        with pytest.raises(TooManySkippedError, match="2 samples of this epoch"):
            budget.spend(1)


def test_a_rank_that_is_alone_stops_at_once() -> None:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    try:
        with pytest.raises(TooManySkippedError, match="1 samples of this epoch"):
            SkipBudget(0, EpochPlan(100, 5), counting=True).spend(1)
    finally:
        torch.distributed.destroy_process_group()


RANKS = """
import datetime
import os
import sys
import torch.distributed as dist

from fastdata.loading.loader import Loader
from fastdata.epoch.plan import EpochPlan
from fastdata.loading.skipping import SkipBudget
from fastdata.errors import TooManySkippedError
from support.numbered import map_style
from support.processes import assert_no_more_threads_than, descriptors, threads

rank = 0 if os.fork() else 1
store = f"file://{sys.argv[1]}/ranks"
dist.init_process_group("gloo", store, rank=rank, world_size=2, timeout=datetime.timedelta(seconds=40))

def met(number):
    numbers = [None, None]
    dist.all_gather_object(numbers, number)
    return numbers
"""

ENDING = """
report = met(report)
dist.destroy_process_group()
if rank == 0:
    print(*report, sep="\\n")
    assert os.wait()[1] == 0
else:
    os._exit(0)
"""


def run_ranks(tmp_path: Path, program: str, *arguments: object) -> list[str]:
    """What the two ranks have as their `report` at the end of the program."""
    return run_python(RANKS + program + ENDING, tmp_path, *arguments).splitlines()


def test_ranks_stop_at_the_same_step_when_their_sum_overdraws_the_budget(tmp_path: Path) -> None:
    program = """
budget = SkipBudget(5, EpochPlan(1000, 5, world_size=2), counting=True)
steps = 0
try:
    for step in range(100):
        budget.spend(step == 3 if rank else step)
        steps += 1
except TooManySkippedError as error:
    report = f"{steps} steps: {error}"
"""
    reports = run_ranks(tmp_path, program)
    # 0 + 1 + 2 + 3 of one rank and 1 of the other in four steps, which the fifth learns.
    assert reports == [f"4 steps: 7 {rest}" for rest in [reports[0].split(": 7 ")[1]] * 2]


def test_what_the_last_step_skips_counts_too(tmp_path: Path) -> None:
    program = """
budget = SkipBudget(1, EpochPlan(20, 5, world_size=2), counting=True)
for step in range(2):
    budget.spend(step)
try:
    budget.settle()
except TooManySkippedError as error:
    report = str(error)[:9]
"""
    assert run_ranks(tmp_path, program) == ["2 samples", "2 samples"]


def test_an_epoch_that_skips_too_much_in_its_last_step_raises_on_every_rank(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "photos", 20)
    (root / "019.jpg").write_bytes(b"this is no image")  # of the last batch of rank 1
    program = """
loader = Loader(map_style(sys.argv[2]), 5, on_error="skip", max_skipped=0, num_threads=1)
steps = 0
try:
    for _ in loader:
        steps += 1
    report = "nothing was raised"
except TooManySkippedError as error:
    report = f"{steps} steps: {str(error)[:9]}"
"""
    assert run_ranks(tmp_path, program, root) == ["2 steps: 1 samples"] * 2


def test_ranks_with_a_step_more_than_others_do_not_wait_for_them(tmp_path: Path) -> None:
    program = """
budget = SkipBudget(9, plan := EpochPlan(21, 5, world_size=2), counting=True)
for _ in range(plan.steps(rank)):
    budget.spend(1)
budget.settle()
report = plan.steps(rank)
"""
    assert run_ranks(tmp_path, program) == ["3", "2"]


def test_epochs_that_end_early_leave_no_threads_and_connections_behind(tmp_path: Path, folder: Path) -> None:
    program = """
loader = Loader(map_style(sys.argv[2]), 3, last="drop", on_error="skip", num_threads=1)
for epoch in range(12):
    loader.set_epoch(epoch)
    for step, batch in enumerate(loader):
        if step == rank:  # not the same for all
            break
    met(epoch)
    if epoch == 2:
        before = threads(), descriptors()
assert_no_more_threads_than(before[0])
assert descriptors() <= before[1], (descriptors(), before)
report = len(loader)
"""
    assert run_ranks(tmp_path, program, folder) == ["3", "3"]


def test_a_strip_that_would_be_resized_to_more_than_any_image_is_skipped_as_others_are(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(encoded(photo(2000, 1), "PNG"))
    (tmp_path / "1.jpg").write_bytes(jpeg(40, 30))
    (tmp_path / "2.jpg").write_bytes(jpeg(2000, 1))
    strips = ImageDirectoryDataset(tmp_path, "*", [Resize(400), CenterCrop(32)], labels=None)
    loader = Loader(strips, 3, on_error="skip")
    (batch,) = loader
    assert batch.keys == ["1", "1", "1"]
    assert [key for key, *_ in loader.skipped] == ["0", "2"]
