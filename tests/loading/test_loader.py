"""`Loader`: the same batches as torch's DataLoader, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fastdata.cpus import available_cpus
from fastdata.datasets.collate import collate
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.epoch.order import EpochOrder
from fastdata.epoch.plan import EpochPlan
from fastdata.epoch.sampler import EpochSampler
from fastdata.loading.loader import Loader
from fastdata.loading.normalize import Normalize
from fastdata.sample import Batch
from fastdata.sources.tars.writer import ShardWriter
from fastdata.transforms.steps import CenterCrop, Resize, Step
from fastdata.transforms.transform import Transform
from support.batches import assert_same_batches, targets
from support.numbered import COUNT, TRAIN, iterable, map_style
from support.pictures import encoded, jpeg

EVALUATE: list[Step] = [Resize(30), CenterCrop(24)]


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

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"batch_size": "8"}, "batch_size must be an integer, got '8'"),
            ({"batch_size": None}, "batch_size must be an integer, got None"),
            ({"prefetch": None}, "prefetch must be an integer, got None"),
            ({"max_skipped": None}, "max_skipped must be an integer, got None"),
            ({"max_skipped": 0.5}, "max_skipped must be an integer, got 0.5"),
            ({"num_threads": 1.5}, "num_threads must be an integer, got 1.5"),
            ({"normalize": (0.5, 0.5)}, r"normalize is a function of images, such as fd.Normalize\(mean, std\)"),
            ({"batch_transform": 0.2}, r"batch_transform is a function of \(images, targets\)"),
        ],
    )
    def test_what_is_of_another_type_is_said_at_once(self, folder: Path, options: dict[str, Any], message: str) -> None:
        with pytest.raises(TypeError, match=message):
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


def test_an_epoch_of_which_nothing_is_left_is_a_warning(folder: Path) -> None:
    loader = Loader(map_style(folder), COUNT + 1, last="drop")
    with pytest.warns(UserWarning, match=rf"leaves nothing of an epoch of {COUNT} samples"):
        assert list(loader) == []
    assert len(list(Loader(map_style(folder), COUNT, last="drop"))) == 1
