"""Images in shards: the samples of the folder, shared out over ranks and workers."""

import subprocess
from collections import Counter
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.data import DataLoader

from fastdata.datasets.collate import collate
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.shards import TarImageDataset
from fastdata.epoch.plan import Place
from fastdata.errors import ManifestError
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from fastdata.sources.tars.writer import ShardWriter
from fastdata.transforms.steps import CenterCrop, Resize, Step
from support.classes import TRAIN, everything, in_epoch, names, order_of, write_shards
from support.pictures import encoded, photo
from support.spawned import put_keys_of_rank


class TestSameSamples:
    @pytest.mark.parametrize("workers", [0, 1, 2, 5])
    def test_a_folder_and_its_shards_give_the_same_pixels_with_any_number_of_workers(
        self, class_folder: Path, class_shards: list[str], workers: int
    ) -> None:
        of_folder = everything(in_epoch(0, ImageDirectoryDataset(class_folder, transform=TRAIN)))
        of_shards = everything(TarImageDataset(class_shards, transform=TRAIN), workers)
        assert names(of_folder) == names(of_shards)
        if workers <= 1:
            assert all(torch.equal(a[0], b[0]) for a, b in zip(of_folder, of_shards, strict=True))

    @pytest.mark.slow
    @pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_workers_may_be_forked_or_spawned(self, class_folder: Path, class_shards: list[str], context: str) -> None:
        expected = names(everything(in_epoch(0, ImageDirectoryDataset(class_folder, transform=TRAIN))))
        assert names(everything(TarImageDataset(class_shards, transform=TRAIN), 2, context)) == expected
        assert (
            names(everything(in_epoch(0, ImageDirectoryDataset(class_folder, transform=TRAIN)), 2, context)) == expected
        )

    def test_keys_are_the_same_in_folder_and_shards(self, class_folder: Path, class_shards: list[str]) -> None:
        directory, tar = ImageDirectoryDataset(class_folder), TarImageDataset(class_shards)
        assert [directory.key(i) for i in range(13)] == [tar.key(i) for i in range(13)]
        assert directory.key(1) == "cat/002"
        assert directory.key(3) == "cat/deep/er/001"


class TestSplitting:
    @pytest.mark.slow
    def test_a_spawned_worker_loads_the_samples_of_its_parents_rank(self, class_shards: list[str]) -> None:
        """It sees neither the process group nor, without a launcher, RANK."""
        torch.distributed.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
        try:
            received = names(everything(TarImageDataset(class_shards), 1, "spawn"))
        finally:
            torch.distributed.destroy_process_group()
        assert received == names(everything(TarImageDataset(class_shards, rank=1, world_size=2)))
        assert received != names(everything(TarImageDataset(class_shards, rank=0, world_size=2)))

    @pytest.mark.slow
    @pytest.mark.parametrize("said", [{}, {"RANK": "0", "WORLD_SIZE": "1"}])
    def test_ranks_that_are_spawned_with_a_dataset_share_its_samples(
        self, class_shards: list[str], monkeypatch: pytest.MonkeyPatch, said: dict[str, str]
    ) -> None:
        """What starts them is no rank itself, or the only one, and its place is not theirs."""
        for name, value in said.items():
            monkeypatch.setenv(name, value)
        dataset = TarImageDataset(class_shards, transform=TRAIN)
        answers = get_context("spawn").SimpleQueue()
        spawn: Any = torch.multiprocessing.spawn  # type: ignore[attr-defined]
        spawn(put_keys_of_rank, (2, dataset, answers), nprocs=2)
        of_ranks = [answers.get() for _ in range(2)]
        everyones = sorted(dataset.key(number) for number in range(dataset.num_samples))
        for first, second in zip(*of_ranks, strict=True):  # by the dataset, and by a Loader
            assert sorted(first + second) == everyones

    @given(
        counts=st.lists(st.integers(0, 9), min_size=1, max_size=5),
        world_size=st.integers(1, 5),
        workers=st.integers(1, 4),
        batch_size=st.none() | st.integers(1, 4),
        shuffle=st.booleans(),
    )
    @settings(max_examples=30)
    @pytest.mark.filterwarnings("ignore:the epoch's final step:UserWarning")
    def test_every_sample_exactly_once_over_ranks_workers_and_shards(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        counts: list[int],
        world_size: int,
        workers: int,
        batch_size: int,
        shuffle: bool,
    ) -> None:
        directory = tmp_path_factory.mktemp("split")
        image = encoded(photo(4, 4), "PNG")
        total = 0
        for number, count in enumerate(counts):
            with ShardWriter(directory / f"s-{number:02}.tar") as shard:
                for _ in range(count):
                    shard.write(f"{total}", {"png": image, "cls": str(total).encode()})
                    total += 1
        seen = []
        for rank in range(world_size):
            dataset = TarImageDataset(
                str(directory / "s-*.tar"), shuffle=shuffle, batch_size=batch_size, rank=rank, world_size=world_size
            )
            promised, run = len(dataset), iter(dataset).run
            of_rank = [
                picks.numbers
                for worker in range(workers)
                for picks in replace(run, place=Place(rank, world_size, worker, workers)).batches()
            ]
            assert len(of_rank) == promised
            seen += [dataset.read(int(index)).target for ids in of_rank for index in ids]
        assert sorted(seen) == list(range(total))

    def test_ranks_come_from_the_environment(self, class_shards: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RANK", "2")
        monkeypatch.setenv("WORLD_SIZE", "3")
        dataset = TarImageDataset(class_shards)
        assert len(dataset) == 4
        assert len(list(dataset)) == 4

    @pytest.mark.parametrize("workers", [0, 1, 2, 3])
    def test_batches_are_the_same_sequence_for_any_number_of_workers(
        self, class_shards: list[str], workers: int
    ) -> None:
        dataset = TarImageDataset(class_shards, transform=TRAIN, shuffle=True, batch_size=3)
        expected = [
            collate([dataset.pair(i, dataset.epoch) for i in ids])
            for ids in np.split(order_of(dataset), range(3, 13, 3))
        ]
        batches = list(DataLoader(dataset, batch_size=None, num_workers=workers))
        assert len(batches) == len(dataset) == 5
        for batch, wanted in zip(batches, expected, strict=True):
            assert torch.equal(batch.images, wanted.images)
            assert torch.equal(batch.targets, wanted.targets)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_torchs_dataloader_may_batch_samples_itself(self, class_shards: list[str], workers: int) -> None:
        dataset = TarImageDataset(class_shards, transform=TRAIN, shuffle=True)
        loader = DataLoader(dataset, batch_size=4, num_workers=workers, collate_fn=collate)
        assert sorted(int(t) for _, targets in loader for t in targets) == [0] * 4 + [1] * 7 + [2] * 2

    def test_persistent_workers_get_a_new_order_and_new_views_each_epoch(self, class_shards: list[str]) -> None:
        def run() -> list[torch.Tensor]:
            dataset = TarImageDataset(class_shards, transform=TRAIN, shuffle=True, batch_size=13)
            loader = DataLoader(dataset, batch_size=None, num_workers=1, persistent_workers=True)
            epochs = []
            for epoch in range(3):
                dataset.set_epoch(epoch)
                epochs += [images.clone() for images, _ in loader]
            return epochs

        first, second = run(), run()
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert not torch.equal(first[0], first[1])
        assert not torch.equal(first[1], first[2])

    @pytest.mark.parametrize("workers", [0, 2])
    def test_two_iterations_at_once_are_two_epochs_each_of_them_whole(
        self, class_shards: list[str], workers: int
    ) -> None:
        dataset = TarImageDataset(class_shards, transform=TRAIN, shuffle=True)
        expected = [names([dataset.pair(number, epoch) for number in range(13)]) for epoch in range(2)]
        loader = DataLoader(dataset, batch_size=None, num_workers=workers)
        pairs = list(zip(loader, loader, strict=True))
        found = [names([pair[side] for pair in pairs]) for side in range(2)]
        assert sorted(found) == sorted(expected)
        assert dataset.epoch == 1

    def test_a_rank_with_fewer_steps_is_warned_of(self, class_shards: list[str]) -> None:
        dataset = TarImageDataset(class_shards, batch_size=4, rank=0, world_size=3, transform=TRAIN)
        with pytest.warns(UserWarning, match="choose last='drop' or last='pad'"):
            iter(dataset)


class TestOthers:
    def test_we_read_what_webdataset_writes(self, class_folder: Path, tmp_path: Path) -> None:
        dataset = in_epoch(0, ImageDirectoryDataset(class_folder, transform=TRAIN))
        with webdataset.TarWriter(str(tmp_path / "w.tar")) as writer:
            for index in range(len(dataset)):
                sample = dataset.read(index)
                extension = "png" if sample.image.startswith(b"\x89PNG") else "jpg"
                writer.write({"__key__": sample.key, extension: sample.image, "cls": sample.target})
        assert names(everything(TarImageDataset(tmp_path / "w.tar", transform=TRAIN))) == names(everything(dataset))

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves files open
    def test_webdataset_reads_what_we_write(self, class_folder: Path, class_shards: list[str]) -> None:
        dataset = ImageDirectoryDataset(class_folder)
        read = list(webdataset.WebDataset(class_shards, shardshuffle=False, empty_check=False))
        assert [sample["__key__"] for sample in read] == [dataset.key(i) for i in range(13)]
        assert [int(sample["cls"]) for sample in read] == list(dataset.targets)
        assert [sample.get("jpg") or sample.get("png") for sample in read] == [dataset.read(i).image for i in range(13)]

    def test_gnu_tar_extracts_what_we_write(self, class_folder: Path, class_shards: list[str], tmp_path: Path) -> None:
        for shard in class_shards:
            subprocess.run(["tar", "-xf", shard, "-C", str(tmp_path)], check=True)
        for path, _ in ImageDirectoryDataset(class_folder).samples:
            relative = Path(path).relative_to(class_folder)
            assert (tmp_path / relative.with_suffix(relative.suffix.lower())).read_bytes() == Path(path).read_bytes()

    def test_real_photos_are_the_same_from_shards(self, photos: Path, tmp_path: Path) -> None:
        evaluate: list[Step] = [Resize(64), CenterCrop(56)]
        directory = ImageDirectoryDataset(photos / "val", transform=evaluate)
        paths = write_shards(tmp_path, photos / "val", [100, len(directory) - 100])
        tar = TarImageDataset(paths, transform=evaluate)
        assert Counter(int(target) for _, target in tar) == Counter(list(directory.targets))
        assert all(torch.equal(directory[number][0], image) for number, (image, _) in enumerate(tar))


def test_a_datasets_json_is_the_dataset(class_folder: Path, tmp_path: Path) -> None:
    (made,) = pack(scan_classes(class_folder), tmp_path / "out", division=ShardCount(3), jobs=1)
    by_json = TarImageDataset(tmp_path / "out" / "train.json", TRAIN)
    by_glob = TarImageDataset(str(tmp_path / "out" / "train-*.tar"), TRAIN)
    assert by_json.shards == by_glob.shards
    assert by_json.classes == list(made.classes)
    (tmp_path / "out" / "train-000001.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"train-000001\.tar"):
        TarImageDataset(tmp_path / "out" / "train.json", TRAIN)
    with pytest.raises(FileNotFoundError, match="no json"):
        TarImageDataset(tmp_path / "out" / "val.json", TRAIN)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ManifestError, match=r"other\.json"):
        TarImageDataset(tmp_path / "other.json", TRAIN)


def test_numbers_that_no_sample_has_are_errors(class_shards: list[str]) -> None:
    dataset = TarImageDataset(class_shards, TRAIN)
    assert dataset.read_some([]) == []
    for number in (-1, dataset.num_samples):
        with pytest.raises(IndexError, match=f"sample {number} of"):
            dataset.read(number)
