"""A batch's memory is the caller's for as long as it is held, and then used again."""

import gc
import mmap
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.dlpack import from_dlpack

from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.prepared import Task
from fastdata.loading import memory as memory_module
from fastdata.loading.loader import Loader
from fastdata.loading.memory import Memory
from fastdata.sample import Size
from support.numbered import TRAIN, map_style


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
            def prepare(self, numbers: Sequence[int], epochs: int | Sequence[int], size: Size | None = None) -> Task:
                nonlocal last_begun
                last_begun = max(last_begun, numbers[0] // 3)
                return super().prepare(numbers, epochs, size)

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
