"""`Loader`: the same batches as torch's DataLoader, kept as long as they are held, resumed at the very next sample."""

import gc
import json
import mmap
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.dlpack import from_dlpack

from fastdata.cpus import available_cpus
from fastdata.datasets.base import Task
from fastdata.datasets.collate import collate
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.epoch.order import EpochOrder
from fastdata.epoch.plan import EpochPlan
from fastdata.epoch.sampler import EpochSampler
from fastdata.errors import StateError
from fastdata.loading import memory as memory_module
from fastdata.loading.loader import Loader
from fastdata.loading.memory import Memory
from fastdata.loading.normalize import Normalize
from fastdata.loading.stats import Stats
from fastdata.sample import Batch
from fastdata.sources.writer import ShardWriter
from fastdata.transforms.steps import CenterCrop, Resize, Step, Transform
from support.numbered import COUNT, TRAIN, iterable, map_style
from support.pictures import encoded, jpeg

EVALUATE: list[Step] = [Resize(30), CenterCrop(24)]


def assert_same_batches(ours: list[Batch], theirs: list[Batch]) -> None:
    assert [batch.targets.tolist() for batch in ours] == [batch.targets.tolist() for batch in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert torch.equal(our.images, their.images)


def targets(batches: Loader) -> list[list[int]]:
    return [batch.targets.tolist() for batch in batches]


class TestSameAsTorchsDataLoader:
    @pytest.mark.parametrize("num_threads", [1, 2, 5])
    @pytest.mark.parametrize("shuffle", [True, False])
    def test_map_style_with_epoch_sampler(self, folder: Path, num_threads: int, shuffle: bool) -> None:
        theirs, ours = map_style(folder), map_style(folder)
        sampler = EpochSampler(theirs, batch_size=5, shuffle=shuffle, seed=5)
        torchs = DataLoader(theirs, batch_size=5, sampler=sampler, collate_fn=collate)
        loader = Loader(ours, 5, shuffle=shuffle, num_threads=num_threads)
        for epoch in (0, 1, 7):
            sampler.set_epoch(epoch)
            loader.set_epoch(epoch)
            assert_same_batches(list(loader), list(torchs))

    @pytest.mark.parametrize("num_threads", [1, 2, 5])
    @pytest.mark.parametrize("shuffle", [True, False])
    def test_shards(self, shards: list[str], num_threads: int, shuffle: bool) -> None:
        theirs = iterable(shards, shuffle=shuffle, batch_size=5)
        torchs = DataLoader(theirs, batch_size=None)
        loader = Loader(iterable(shards, shuffle=shuffle), 5, num_threads=num_threads)
        for epoch in (0, 1, 7):
            theirs.set_epoch(epoch)
            loader.set_epoch(epoch)
            assert_same_batches(list(loader), list(torchs))

    def test_photos_too_large_to_be_read_many_at_once(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        for number in range(5):  # of some 0.7 MB each, where 2 MB are read at once
            noise = rng.integers(0, 256, (700, 800, 3), np.uint8)
            (tmp_path / f"{number:03}.jpg").write_bytes(encoded(noise, "JPEG", quality=95))
        (tmp_path / "005.jpg").write_bytes(jpeg(64, 48))
        of_loader = list(Loader(map_style(tmp_path), 6, num_threads=1))
        one_by_one = list(Loader(map_style(tmp_path), 1, num_threads=2))
        assert torch.equal(of_loader[0].images, torch.cat([batch.images for batch in one_by_one]))

    @pytest.mark.parametrize("transform", [Transform(TRAIN, antialias=False), Transform(EVALUATE), CenterCrop(50)])
    def test_any_transform_of_a_fixed_size(self, folder: Path, transform: Any) -> None:
        transform = transform if isinstance(transform, Transform) else [transform]
        dataset = map_style(folder, transform=transform)
        dataset.set_epoch(0)
        torchs = DataLoader(dataset, batch_size=6, collate_fn=collate)
        assert_same_batches(list(Loader(dataset, 6)), list(torchs))

    @pytest.mark.parametrize("last", ["partial", "drop", "pad"])
    def test_all_ranks_and_each_end_of_an_epoch(self, folder: Path, last: Any) -> None:
        theirs, ours = map_style(folder), map_style(folder)
        for rank in range(3):
            sampler = EpochSampler(theirs, batch_size=5, seed=5, last=last, rank=rank, world_size=3)
            torchs = DataLoader(theirs, batch_size=5, sampler=sampler, collate_fn=collate)
            loader = Loader(ours, 5, shuffle=True, last=last, rank=rank, world_size=3)
            assert len(loader) == len(torchs)
            assert_same_batches(list(loader), list(torchs))

    def test_ranks_are_the_shard_datasets_own(self, shards: list[str]) -> None:
        batches = [targets(Loader(iterable(shards, rank=rank, world_size=2), 10)) for rank in range(2)]
        assert [batch for step in zip(*batches, strict=True) for batch in step] == [
            list(range(10)), list(range(10, 20)), list(range(20, 29)), list(range(29, 37))
        ]  # fmt: skip

    def test_targets_that_are_no_numbers(self, tmp_path: Path) -> None:
        with ShardWriter(tmp_path / "captions.tar") as shard:
            for number in range(3):
                shard.write(str(number), {"jpg": jpeg(40, 40, number), "txt": f"caption {number}".encode()})
        dataset = iterable([str(tmp_path / "captions.tar")], target="txt")
        assert next(iter(Loader(dataset, 3))).targets == ["caption 0", "caption 1", "caption 2"]

    def test_a_dataset_of_real_photos(self, photos: Path) -> None:
        dataset = ImageDirectoryDataset(photos / "val", transform=[*TRAIN])
        sampler = EpochSampler(dataset, batch_size=64)
        torchs = DataLoader(dataset, batch_size=64, sampler=sampler, collate_fn=collate)
        assert_same_batches(list(Loader(dataset, 64, shuffle=True)), list(torchs))


class TestBatches:
    def test_they_are_uint8_nchw_in_channels_last_memory(self, folder: Path) -> None:
        for images, numbers in Loader(map_style(folder), 8):
            assert isinstance(images, Tensor)
            assert (images.dtype, images.shape[1:]) == (torch.uint8, (3, 24, 24))
            assert images.is_contiguous(memory_format=torch.channels_last)
            assert (numbers.dtype, numbers.shape) == (torch.int64, images.shape[:1])

    def test_a_batch_larger_than_the_dataset_is_the_dataset(self, folder: Path) -> None:
        assert targets(Loader(map_style(folder), 1000)) == [list(range(COUNT))]

    def test_normalize_is_applied_to_the_images(self, folder: Path) -> None:
        normalize = Normalize.imagenet(torch.bfloat16)
        plain, normalized = (list(Loader(map_style(folder), 8, normalize=how)) for how in (None, normalize))
        for batch, expected in zip(normalized, plain, strict=True):
            assert torch.equal(batch.images, normalize(expected.images))

    def test_any_function_can_normalize(self, folder: Path) -> None:
        assert next(iter(Loader(map_style(folder), 8, normalize=lambda images: images.float() - 1))).images.min() >= -1

    def test_the_cpu_as_device_changes_nothing(self, folder: Path) -> None:
        assert_same_batches(list(Loader(map_style(folder), 8, device="cpu")), list(Loader(map_style(folder), 8)))

    def test_num_threads_is_the_cpus_that_this_process_may_use(self, folder: Path) -> None:
        assert Loader(map_style(folder), 8).num_threads == available_cpus()

    @pytest.mark.gpu
    def test_batches_on_a_gpu_are_those_on_the_cpu(self, folder: Path) -> None:
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        loader = Loader(map_style(folder), 8, device="cuda")
        for _ in range(3):
            on_gpu = list(loader)
            assert all(batch.images.is_cuda and batch.targets.is_cuda for batch in on_gpu)
            on_cpu = [Batch(batch.images.cpu(), batch.targets.cpu()) for batch in on_gpu]
            assert_same_batches(on_cpu, list(Loader(map_style(folder), 8)))


class TestMemory:
    def test_the_batches_of_an_epoch_do_not_change_while_they_are_kept(self, folder: Path) -> None:
        loader = Loader(map_style(folder), 4, shuffle=True, num_threads=3)
        kept = list(loader)
        copies = [batch.images.clone() for batch in kept]
        for epoch in (1, 2, 3):
            loader.set_epoch(epoch)
            list(loader)
        assert all(torch.equal(batch.images, copy) for batch, copy in zip(kept, copies, strict=True))

    @pytest.mark.parametrize(
        "part",
        [
            lambda images: images[0],
            lambda images: images[0].numpy(),
            lambda images: np.asarray(images)[1:3, :, ::2],
            lambda images: images[2:],
            lambda images: images.permute(0, 2, 3, 1).flatten(),
            lambda images: from_dlpack(images),
        ],
        ids=["one image", "its array", "a slice of the array", "a slice", "a view", "another library's tensor"],
    )
    def test_a_part_of_a_batch_does_not_change_while_it_is_kept(self, folder: Path, part: Any) -> None:
        loader = Loader(map_style(folder), 4, shuffle=True, num_threads=2, prefetch=2)
        kept, copies = [], []
        for batch in loader:
            kept.append(part(batch.images))
            copies.append(np.asarray(kept[-1]).copy())
            del batch
        for epoch in (1, 2, 3):
            loader.set_epoch(epoch)
            list(loader)
        assert all(np.array_equal(np.asarray(one), copy) for one, copy in zip(kept, copies, strict=True))

    @pytest.mark.parametrize("num_threads", [1, 4])
    def test_memory_is_used_again_as_soon_as_it_is_dropped(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, num_threads: int
    ) -> None:
        allocated = allocations(monkeypatch)
        loader = Loader(map_style(folder), 2, shuffle=True, prefetch=3, num_threads=num_threads)
        gc.disable()  # what waits for the garbage collection is not dropped
        try:
            for epoch in range(5):
                loader.set_epoch(epoch)
                for batch in loader:
                    del batch
        finally:
            gc.enable()
        assert len(allocated) <= 3 + num_threads + 1

    def test_memory_that_nobody_holds_is_not_kept_without_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        allocated = allocations(monkeypatch)
        memory = Memory((1, 2, 2, 3), pinned=False, keep=2)
        for _ in range(2):
            lent = [memory.lend() for _ in range(10)]
            del lent
        assert len(allocated) == 10 + 8

    def test_a_few_batches_that_are_kept_for_ever_cost_no_allocations_later(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        allocated = allocations(monkeypatch)
        loader = Loader(map_style(folder), 2, shuffle=True)
        kept = list(loader)
        in_first_epoch = len(allocated)
        for epoch in range(1, 5):
            loader.set_epoch(epoch)
            for batch in loader:
                del batch
        assert len(kept) <= in_first_epoch <= len(allocated) <= in_first_epoch + 7

    def test_what_is_kept_beyond_the_iteration_is_freed_as_soon_as_it_is_dropped(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        allocated = allocations(monkeypatch)
        loader = Loader(map_style(folder), 2)
        kept = list(loader)
        assert len(kept) == len([memory for memory in allocated if memory() is not None]) == 19
        del kept
        assert not [memory for memory in allocated if memory() is not None]
        assert len(loader) == 19

    def test_memory_is_lent_to_one_at_a_time(self) -> None:
        memory = Memory((1, 2, 2, 3), pinned=False, keep=2)
        first = memory.lend()
        address = first.ctypes.data
        second = memory.lend()
        assert second.ctypes.data != address
        del first
        assert memory.lend().ctypes.data == address

    def test_no_more_than_prefetch_batches_are_begun_ahead_of_the_caller(self, folder: Path) -> None:
        last_begun = -1

        class Watched(ImageDirectoryDataset):
            def prepare(self, numbers: Sequence[int], epoch: int) -> Task:
                nonlocal last_begun
                last_begun = max(last_begun, numbers[0] // 3)
                return super().prepare(numbers, epoch)

        dataset = Watched(folder, pattern="*", labels=None, transform=TRAIN)
        for handed_out, _ in enumerate(Loader(dataset, 3, num_threads=2, prefetch=4)):
            assert last_begun <= handed_out + 4
        assert last_begun == handed_out == 12


def allocations(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[mmap.mmap]]:
    """The memory that is allocated for batches from now on."""
    allocated: list[weakref.ref[mmap.mmap]] = []

    def noting(*arguments: Any, **options: Any) -> mmap.mmap:
        memory = mmap.mmap(*arguments, **options)
        allocated.append(weakref.ref(memory))
        return memory

    monkeypatch.setattr(memory_module, "mmap", SimpleNamespace(mmap=noting, ACCESS_COPY=mmap.ACCESS_COPY))
    return allocated


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


class TestStats:
    def test_before_an_iteration_there_is_nothing(self, folder: Path) -> None:
        stats = Loader(map_style(folder), 4).stats()
        assert (stats.images, stats.seconds, stats.images_per_second) == (0, 0.0, 0.0)

    def test_they_count_images_and_share_out_the_time(self, folder: Path) -> None:
        loader = Loader(map_style(folder), 4, num_threads=3)
        batches = iter(loader)
        next(batches)
        assert loader.stats().images == 4
        list(batches)
        stats = loader.stats()
        assert stats.images == COUNT
        assert min(stats.read, stats.draw, stats.decode, stats.resize) > 0
        assert stats.read + stats.draw + stats.decode + stats.resize + stats.threads_waited <= 3 * stats.seconds
        assert stats.caller_waited <= stats.seconds
        assert stats.images_per_second == COUNT / stats.seconds
        assert loader.stats() == stats  # the clock stands still from the epoch's end on

    def test_an_iteration_that_another_has_closed_says_so_and_does_not_stop_its_clock(self, folder: Path) -> None:
        loader = Loader(map_style(folder), 4)
        old, new = iter(loader), iter(loader)
        next(old)
        next(new)
        with pytest.raises(RuntimeError, match="was closed: iterate over the Loader again"):
            next(old)
        assert len(list(new)) == 9
        assert loader.stats().images == COUNT

    def test_a_caller_that_keeps_the_threads_waiting_is_the_bottleneck(self, folder: Path) -> None:
        batches = iter(loader := Loader(map_style(folder), 1, num_threads=1, prefetch=1))
        next(batches)
        begun, waited = time.monotonic(), loader.stats().threads_waited
        while time.monotonic() - begun < 0.5:  # training; the thread has nothing to do meanwhile
            pass
        list(batches)
        assert loader.stats().threads_waited - waited > 0.1
        assert loader.stats().bottleneck == "caller"

    def test_the_bottleneck_is_the_side_that_is_not_waiting(self) -> None:
        stats = Stats(1, 10.0, 2, read=1.0, draw=0.5, decode=9.0, resize=3.0, threads_waited=6.0, caller_waited=2.0)
        assert stats.bottleneck == "caller"
        assert stats._replace(caller_waited=4.0).bottleneck == "decode"
        assert stats._replace(caller_waited=4.0, read=9.5).bottleneck == "read"


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
            ({"num_threads": -1}, "num_threads must be at least 1, got -1"),
            ({"num_threads": 0}, "num_threads must be at least 1, got 0"),
            ({"prefetch": 0}, "prefetch must be at least 1, got 0"),
            ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip', got 'ignore'"),
            ({"decoder": "magic"}, "decoder must be .*got 'magic'"),
            ({"last": "whole"}, "last must be one of .*not 'whole'"),
            ({"max_skipped": -1}, "max_skipped must be at least 0, got -1"),
            ({"rank": 2, "world_size": 2}, "rank must be from 0 to 1, not 2"),
            ({"rank": 2}, "give both or neither"),
        ],
    )
    def test_what_is_out_of_range_is_said_at_once(self, folder: Path, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Loader(map_style(folder), **{"batch_size": 4, **options})

    def test_a_transform_without_a_fixed_size_can_make_no_batch(self, folder: Path) -> None:
        for transform in (None, [Resize(24)]):
            with pytest.raises(ValueError, match=r"images of different sizes.*RandomResizedCrop\(224\)"):
                Loader(map_style(folder, transform=transform), 4)

    def test_something_else_than_a_dataset_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"takes an ImageDirectoryDataset, a TarImageDataset, .* got a list"):
            Loader([1, 2, 3], 4)  # type: ignore[arg-type]

    def test_shuffle_is_the_shards_own_where_it_is_not_given(self, shards: list[str]) -> None:
        for own, given, expected in (
            (True, None, True),
            (False, None, False),
            (False, True, True),
            (True, False, False),
        ):
            loader = Loader(iterable(shards, shuffle=own), COUNT, shuffle=given)
            order = EpochOrder(COUNT, expected, 5, 0).samples(0, COUNT).tolist()
            assert targets(loader) == [order]

    def test_a_datasets_own_batch_size_has_to_be_the_loaders(self, shards: list[str]) -> None:
        with pytest.raises(ValueError, match="leave them to the Loader"):
            Loader(iterable(shards, batch_size=8), 4)
        assert len(Loader(iterable(shards, batch_size=4), 4)) == EpochPlan(COUNT, 4).steps(0)

    def test_cuda_without_a_gpu_is_an_error_that_says_so(self, folder: Path) -> None:
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
        with pytest.raises(RuntimeError, match="torch sees no CUDA device"):
            Loader(map_style(folder), 4, device="cuda")
