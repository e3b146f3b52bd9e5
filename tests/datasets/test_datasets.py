import copy
import io
import json
import pickle
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from fastdata.datasets.collate import collate
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.shards import TarImageDataset
from fastdata.epoch.order import EpochOrder
from fastdata.epoch.plan import Place
from fastdata.errors import SampleError, StateError
from fastdata.images.decode import decode
from fastdata.images.header import read_header
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from fastdata.sources.writer import ShardWriter
from fastdata.transforms.draw import draw, sample_rng
from fastdata.transforms.steps import CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize, Transform
from support.pictures import encoded, jpeg, photo
from support.spawned import CountingThreads

TRAIN = [RandomResizedCrop(24), RandomHorizontalFlip()]
SIZES = [(64, 48), (40, 60), (33, 35)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three classes with 4, 7 and 2 images, of several formats, one of them in a folder below its class."""
    root = tmp_path_factory.mktemp("folder")
    number = 0
    for name, count in (("cat", 4), ("dog", 7), ("eel", 2)):
        for i in range(count):
            width, height = SIZES[number % 3]
            path = root / name / ("deep/er" if i == 1 else "") / f"{i:03}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if i == 3:
                path.with_suffix(".PNG").write_bytes(encoded(photo(width, height, number), "PNG"))
            else:
                path.with_suffix(".jpg").write_bytes(jpeg(width, height, number))
            number += 1
    return root


def write_shards(directory: Path, folder: Path, counts: list[int]) -> list[str]:
    """The folder's samples in shards of so many each, in the folder's order."""
    dataset = ImageDirectoryDataset(folder)
    samples = (dataset.read(index) for index in range(len(dataset)))
    paths = []
    for number, count in enumerate(counts):
        paths.append(str(directory / f"part-{number:06}.tar"))
        with ShardWriter(paths[-1]) as shard:
            for _ in range(count):
                sample = next(samples)
                extension = "png" if sample.image.startswith(b"\x89PNG") else "jpg"
                shard.write(sample.key, {extension: sample.image, "cls": str(sample.target).encode()})
    return paths


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory) -> list[str]:
    """The same 13 samples in shards of 5, 0, 7 and 1."""
    return write_shards(tmp_path_factory.mktemp("shards"), folder, [5, 0, 7, 1])


def one_shard(path: Path, **components: bytes) -> str:
    with ShardWriter(path) as shard:
        shard.write("a/sample", components)
    return str(path)


class TestDirectory:
    def test_it_has_what_torchvisions_image_folder_has(self, folder):
        dataset = ImageDirectoryDataset(folder)
        assert dataset.classes == ["cat", "dog", "eel"]
        assert dataset.class_to_idx == {"cat": 0, "dog": 1, "eel": 2}
        assert dataset.targets.tolist() == [0] * 4 + [1] * 7 + [2] * 2
        assert len(dataset) == len(dataset.samples) == 13
        assert dataset.samples[0] == (f"{folder}/cat/000.jpg", 0)
        assert Counter(target for _, target in dataset.samples) == {0: 4, 1: 7, 2: 2}

    def test_without_a_transform_images_are_as_they_are(self, folder):
        image, target = ImageDirectoryDataset(folder)[0]
        assert image.dtype == torch.uint8
        assert image.shape == (3, 48, 64)
        assert target == 0
        data = (folder / "cat/000.jpg").read_bytes()
        whole = draw([], (64, 48), sample_rng(0, 0, ""))
        assert np.array_equal(image.permute(1, 2, 0).numpy(), decode(data, whole))

    def test_views_are_drawn_from_seed_epoch_and_key(self, folder):
        dataset = ImageDirectoryDataset(folder, transform=TRAIN, seed=3)
        dataset.set_epoch(2)
        data = (folder / "dog/002.jpg").read_bytes()
        view = draw(TRAIN, read_header(data).size, sample_rng(3, 2, "dog/002"))
        index = [path for path, _ in dataset.samples].index(f"{folder}/dog/002.jpg")
        assert np.array_equal(dataset[index][0].permute(1, 2, 0).numpy(), decode(data, view))

    def test_new_epochs_and_seeds_have_new_views_and_the_same_ones_the_same(self, folder):
        def pixels(seed, epoch):
            dataset = ImageDirectoryDataset(folder, transform=TRAIN, seed=seed)
            dataset.set_epoch(epoch)
            return torch.stack([image for image, _ in dataset])

        assert torch.equal(pixels(0, 0), pixels(0, 0))
        assert not torch.equal(pixels(0, 0), pixels(0, 1))
        assert not torch.equal(pixels(0, 0), pixels(1, 0))

    def test_files_by_pattern_have_no_target_or_the_one_of_a_function(self, folder):
        plain = ImageDirectoryDataset(folder, pattern="**/*.jpg", labels=None)
        assert len(plain) == 11
        assert set(plain.targets.tolist()) == {-1}
        assert plain.classes == []
        lengths = ImageDirectoryDataset(folder, pattern="cat/*", labels=len)
        assert [target for _, target in lengths.samples] == [len("cat/000.jpg")] * 3
        anything = ImageDirectoryDataset(folder, labels=None)
        assert len(anything) == 13

    def test_a_pattern_narrows_class_folders(self, folder):
        dataset = ImageDirectoryDataset(folder, pattern="{cat,eel}/**/*.jpg")
        assert dataset.classes == ["cat", "eel"]
        assert dataset.targets.tolist() == [0, 0, 0, 1, 1]
        same = ImageDirectoryDataset(folder, pattern="**/*.{jpg,PNG}")
        assert [path for path, _ in same.samples] == [path for path, _ in ImageDirectoryDataset(folder).samples]

    def test_indices_are_those_of_a_sequence(self, folder):
        dataset = ImageDirectoryDataset(folder, transform=TRAIN)
        dataset.set_epoch(0)
        assert torch.equal(dataset[-1][0], dataset[12][0])
        with pytest.raises(IndexError):
            dataset[13]

    def test_a_bad_image_is_an_error_with_key_file_and_cause(self, folder, tmp_path):
        shutil.copytree(folder / "cat", tmp_path / "cat")
        (tmp_path / "cat/000.jpg").write_bytes(b"\xff\xd8\xff nothing")
        (tmp_path / "cat/002.jpg").unlink()
        (tmp_path / "cat/002.jpg").symlink_to("gone")
        dataset = ImageDirectoryDataset(tmp_path)
        with pytest.raises(SampleError, match=f"sample 'cat/000' in {tmp_path}/cat/000.jpg: neither JPEG") as error:
            dataset[0]
        assert (error.value.key, error.value.where) == ("cat/000", f"{tmp_path}/cat/000.jpg")
        with pytest.raises(SampleError, match=r"sample 'cat/002' in .* No such file"):
            dataset[[path for path, _ in dataset.samples].index(f"{tmp_path}/cat/002.jpg")]

    def test_an_image_over_the_limit_is_refused(self, folder):
        dataset = ImageDirectoryDataset(folder, max_pixels=64 * 48 - 1)
        with pytest.raises(SampleError, match="claims 64x48 pixels, more than the limit"):
            dataset[0]

    def test_the_fingerprint_is_of_the_content_not_the_place(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path / "copy")
        assert ImageDirectoryDataset(folder).fingerprint == ImageDirectoryDataset(tmp_path / "copy").fingerprint
        (tmp_path / "copy/cat/000.jpg").rename(tmp_path / "copy/cat/0000.jpg")
        assert ImageDirectoryDataset(folder).fingerprint != ImageDirectoryDataset(tmp_path / "copy").fingerprint

    def test_copies_and_pickles_keep_what_they_are_and_their_own_epoch(self, folder):
        dataset = ImageDirectoryDataset(folder, transform=TRAIN, seed=5)
        dataset.set_epoch(4)
        for other in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
            assert torch.equal(other[3][0], dataset[3][0])
            other.set_epoch(5)
            assert torch.equal(dataset[3][0], dataset.pair(3, epoch=4)[0])
            assert torch.equal(other[3][0], dataset.pair(3, epoch=5)[0])


def everything(dataset, workers: int = 0, context: str | None = None) -> list[tuple[torch.Tensor, int]]:
    """All samples that a DataLoader gives, one by one."""
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, multiprocessing_context=context)
    return [(image.clone(), int(target)) for image, target in loader]


def in_epoch(epoch: int, dataset):
    dataset.set_epoch(epoch)
    return dataset


def names(samples) -> list[tuple[bytes, int]]:
    """Samples as something to count."""
    return sorted((image.numpy().tobytes(), target) for image, target in samples)


class TestSameSamples:
    @pytest.mark.parametrize("workers", [0, 1, 2, 5])
    def test_a_folder_and_its_shards_give_the_same_pixels_with_any_number_of_workers(self, folder, shards, workers):
        of_folder = everything(in_epoch(0, ImageDirectoryDataset(folder, transform=TRAIN)))
        of_shards = everything(TarImageDataset(shards, transform=TRAIN), workers)
        assert names(of_folder) == names(of_shards)
        if workers <= 1:
            assert all(torch.equal(a[0], b[0]) for a, b in zip(of_folder, of_shards, strict=True))

    @pytest.mark.slow
    @pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_workers_may_be_forked_or_spawned(self, folder, shards, context):
        expected = names(everything(in_epoch(0, ImageDirectoryDataset(folder, transform=TRAIN))))
        assert names(everything(TarImageDataset(shards, transform=TRAIN), 2, context)) == expected
        assert names(everything(in_epoch(0, ImageDirectoryDataset(folder, transform=TRAIN)), 2, context)) == expected

    def test_keys_are_the_same_in_folder_and_shards(self, folder, shards):
        directory, tar = ImageDirectoryDataset(folder), TarImageDataset(shards)
        assert [directory.key(i) for i in range(13)] == [tar.key(i) for i in range(13)]
        assert directory.key(1) == "cat/002"
        assert directory.key(3) == "cat/deep/er/001"


class TestSplitting:
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
        self, tmp_path_factory, counts, world_size, workers, batch_size, shuffle
    ):
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
                ids
                for worker in range(workers)
                for ids in replace(run, place=Place(rank, world_size, worker, workers)).batches()
            ]
            assert len(of_rank) == promised
            seen += [dataset.read(int(index)).target for ids in of_rank for index in ids]
        assert sorted(seen) == list(range(total))

    def test_ranks_come_from_the_environment(self, shards, monkeypatch):
        monkeypatch.setenv("RANK", "2")
        monkeypatch.setenv("WORLD_SIZE", "3")
        dataset = TarImageDataset(shards)
        assert len(dataset) == 4
        assert len(list(dataset)) == 4

    @pytest.mark.parametrize("workers", [0, 1, 2, 3])
    def test_batches_are_the_same_sequence_for_any_number_of_workers(self, shards, workers):
        dataset = TarImageDataset(shards, transform=TRAIN, shuffle=True, batch_size=3)
        expected = [
            collate([dataset.pair(i, dataset.epoch) for i in ids]) for ids in np.split(_order(dataset), range(3, 13, 3))
        ]
        batches = list(DataLoader(dataset, batch_size=None, num_workers=workers))
        assert len(batches) == len(dataset) == 5
        for batch, wanted in zip(batches, expected, strict=True):
            assert torch.equal(batch.images, wanted.images)
            assert torch.equal(batch.targets, wanted.targets)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_torchs_dataloader_may_batch_samples_itself(self, shards, workers):
        dataset = TarImageDataset(shards, transform=TRAIN, shuffle=True)
        loader = DataLoader(dataset, batch_size=4, num_workers=workers, collate_fn=collate)
        assert sorted(int(t) for _, targets in loader for t in targets) == [0] * 4 + [1] * 7 + [2] * 2

    def test_persistent_workers_get_a_new_order_and_new_views_each_epoch(self, shards):
        def run():
            dataset = TarImageDataset(shards, transform=TRAIN, shuffle=True, batch_size=13)
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

    def test_a_rank_with_fewer_steps_is_warned_of(self, shards):
        dataset = TarImageDataset(shards, batch_size=4, rank=0, world_size=3, transform=TRAIN)
        with pytest.warns(UserWarning, match="choose last='drop' or last='pad'"):
            iter(dataset)


def _order(dataset: TarImageDataset) -> np.ndarray:
    return EpochOrder(dataset.num_samples, dataset.shuffle, dataset.seed, dataset.epoch).samples(0, dataset.num_samples)


class TestTargets:
    @pytest.mark.parametrize(
        ("target", "data", "expected"),
        [
            ("cls", b"7", 7),
            ("txt", "ein Hündchen".encode(), "ein Hündchen"),
            ("json", b'{"id": 3}', {"id": 3}),
            ("label.txt", b"two dots", "two dots"),
            (None, b"", -1),
        ],
    )
    def test_a_target_is_read_by_its_extension(self, tmp_path, target, data, expected):
        path = one_shard(tmp_path / "a.tar", jpg=jpeg(8, 8), **{target or "cls": data})
        [(_, value)] = TarImageDataset(path, target=target)
        assert value == expected

    def test_an_array_is_read_and_one_of_objects_is_refused(self, tmp_path):
        array, objects = io.BytesIO(), io.BytesIO()
        np.save(array, np.arange(3))
        np.save(objects, np.array([{}], object), allow_pickle=True)
        [(_, value)] = TarImageDataset(
            one_shard(tmp_path / "a.tar", jpg=jpeg(8, 8), npy=array.getvalue()), target="npy"
        )
        assert value.tolist() == [0, 1, 2]
        path = one_shard(tmp_path / "b.tar", jpg=jpeg(8, 8), npy=objects.getvalue())
        with pytest.raises(SampleError, match=r"sample 'a/sample' in .*b\.tar, offset 0: .*npy.*not unpickled"):
            list(TarImageDataset(path, target="npy"))

    @pytest.mark.parametrize(
        ("target", "data"),
        [
            ("cls", b"cat"),
            ("cls", b"1" * 23),
            ("json", b"[1]"),
            ("json", b"{"),
            ("json", b'{"a":' * 100_000),
            ("txt", b"\xff"),
            ("npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000,), }"),
        ],
    )
    def test_a_target_that_is_not_what_its_extension_says_is_an_error(self, tmp_path, target, data):
        path = one_shard(tmp_path / "a.tar", jpg=jpeg(8, 8), **{target: data})
        with pytest.raises(SampleError, match=f"sample 'a/sample' in .*a.tar, offset 0: its component '{target}'"):
            list(TarImageDataset(path, target=target))

    def test_a_missing_component_is_an_error_that_names_shard_key_and_component(self, tmp_path):
        path = one_shard(tmp_path / "a.tar", jpg=jpeg(8, 8))
        with pytest.raises(SampleError, match=r"sample 'a/sample' in .*a\.tar.* no component 'cls'"):
            list(TarImageDataset(path))
        path = one_shard(tmp_path / "b.tar", cls=b"1")
        with pytest.raises(SampleError, match=r"sample 'a/sample' in .*b\.tar.* none of the components jpg;jpeg;png"):
            list(TarImageDataset(path))

    def test_the_image_may_be_any_component(self, tmp_path):
        path = one_shard(
            tmp_path / "a.tar", **{"left.png": encoded(photo(3, 2), "PNG"), "jpg": jpeg(9, 9), "cls": b"0"}
        )
        [(image, _)] = TarImageDataset(path, image="right.png;left.png")
        assert image.shape == (3, 2, 3)

    def test_an_unknown_kind_of_target_is_refused_at_once(self, tmp_path):
        with pytest.raises(ValueError, match=r"one of cls, txt, json, npy, got 'pkl'"):
            TarImageDataset(one_shard(tmp_path / "a.tar", jpg=jpeg(8, 8)), target="pkl")


class TestErrors:
    @pytest.mark.parametrize("kind", ["folder", "shards"])
    def test_a_workers_bad_image_is_named_in_the_main_process(self, tmp_path, kind):
        if kind == "folder":
            (tmp_path / "cat").mkdir()
            (tmp_path / "cat/bad.jpg").write_bytes(jpeg(64, 64)[:500])
            dataset, where = ImageDirectoryDataset(tmp_path, transform=TRAIN), "cat/bad.jpg"
        else:
            path = one_shard(tmp_path / "a.tar", jpg=jpeg(64, 64)[:500], cls=b"0")
            dataset, where = TarImageDataset(path, transform=TRAIN), "a.tar, offset 0"
        with pytest.raises(SampleError, match=f"sample '.*' in {tmp_path}/{where}: .*(?i:truncated)"):
            list(DataLoader(dataset, batch_size=None, num_workers=1))

    def test_a_shard_that_is_cut_short_is_an_error(self, shards, tmp_path):
        path = tmp_path / "cut.tar"
        path.write_bytes(Path(shards[0]).read_bytes()[:3000])
        with pytest.raises(ValueError, match=r"cut\.tar, offset \d+"):
            TarImageDataset(path)

    def test_a_shard_that_changes_under_way_is_an_error_for_its_samples(self, shards, tmp_path):
        path = shutil.copy(shards[0], tmp_path / "a.tar")
        dataset = TarImageDataset(path)
        next(iter(dataset))
        with open(path, "r+b") as file:
            file.truncate(3000)
        with pytest.raises(SampleError, match=r"in .*a\.tar.*offset \d+"):
            list(dataset)

    def test_a_shard_that_is_not_the_one_its_json_counted_is_an_error(self, folder, tmp_path):
        pack(scan_classes(folder), tmp_path, division=ShardCount(2), jobs=1)
        shutil.copy(tmp_path / "train-000000.tar", tmp_path / "train-000001.tar")
        dataset = TarImageDataset(str(tmp_path / "*.tar"))
        assert dataset.classes == ["cat", "dog", "eel"]
        with pytest.raises(SampleError, match=r"train-000001\.tar.*has 6 samples where 7 were counted"):
            list(dataset)

    def test_a_glob_of_an_incomplete_copy_is_an_error(self, folder, tmp_path):
        pack(scan_classes(folder), tmp_path, division=ShardCount(3), jobs=1)
        (tmp_path / "train-000001.tar").unlink()
        with pytest.raises(
            FileNotFoundError, match=r"train\.json lists train-000001\.tar and 0 more that are not there"
        ):
            TarImageDataset(str(tmp_path / "*.tar"))
        assert TarImageDataset([tmp_path / "train-000000.tar", tmp_path / "train-000002.tar"]).num_samples == 9

    def test_shards_whose_classes_differ_are_not_mixed(self, folder, tmp_path):
        pack(scan_classes(folder), tmp_path / "a", division=ShardCount(1), jobs=1)
        pack(scan_classes(folder, "cat/*"), tmp_path / "b", division=ShardCount(1), jobs=1)
        with pytest.raises(ValueError, match=r"a/train\.json and .*b/train\.json have different classes"):
            TarImageDataset([tmp_path / "a/train-000000.tar", tmp_path / "b/train-000000.tar"])

    def test_shards_are_found_by_glob_brace_and_list_alike(self, shards):
        directory = Path(shards[0]).parent
        for urls in (directory / "part-*.tar", f"{directory}/part-{{000000..000003}}.tar", [Path(s) for s in shards]):
            assert TarImageDataset(urls if isinstance(urls, list) else str(urls)).num_samples == 13
        with pytest.raises(FileNotFoundError, match=r"none-\*\.tar"):
            TarImageDataset(f"{directory}/none-*.tar")


class TestResuming:
    @given(batches=st.integers(0, 7), batch_size=st.integers(1, 6), world_size=st.integers(1, 3), shuffle=st.booleans())
    @settings(max_examples=25)
    @pytest.mark.filterwarnings("ignore:the epoch's final step:UserWarning")
    def test_the_rest_of_an_epoch_follows_on_any_number_of_ranks(
        self, shards, batches, batch_size, world_size, shuffle
    ):
        first = TarImageDataset(shards, shuffle=shuffle, batch_size=2)
        batches = min(batches, len(first))
        first.set_epoch(3)
        state = json.loads(json.dumps(first.state_dict(batches)))
        rest = []
        for rank in range(world_size):
            resumed = TarImageDataset(shards, shuffle=shuffle, batch_size=batch_size, rank=rank, world_size=world_size)
            resumed.load_state_dict(state)
            resumed.set_epoch(3)
            rest += np.concatenate([[], *iter(resumed).run.batches()]).tolist()
        assert sorted(rest) == sorted(_order(first)[2 * batches :].tolist())

    def test_a_state_of_something_else_says_what_differs(self, shards):
        state = TarImageDataset(shards, shuffle=True, seed=1, batch_size=1).state_dict(0)
        for other, message in (
            (TarImageDataset(shards[:1], shuffle=True, seed=1), "samples is 13 in the state, 5 here"),
            (TarImageDataset(shards, shuffle=True), "seed is 1 in the state, 0 here"),
            (TarImageDataset(shards, seed=1), "shuffle is True in the state, False here"),
        ):
            with pytest.raises(StateError, match=message):
                other.load_state_dict(state)

    def test_a_state_without_the_number_of_batches_is_refused(self, shards):
        with pytest.raises(StateError, match="say how many batches the loop has received"):
            TarImageDataset(shards).state_dict()

    def test_a_state_that_nobody_completes_is_refused_at_the_next_batch(self, shards):
        dataset = TarImageDataset(shards)
        iterator = iter(dataset)
        next(iterator)
        dataset.state_dict()
        with pytest.raises(StateError, match="can't tell what of the handed out samples"):
            next(iterator)

    def test_batches_are_only_counted_where_the_dataset_makes_them(self, shards):
        with pytest.raises(StateError, match="without a batch_size batches can't be counted"):
            TarImageDataset(shards).state_dict(batches=4)
        with pytest.raises(StateError, match=r"batches=8: there are 7"):
            TarImageDataset(shards, batch_size=2).state_dict(batches=8)

    def test_a_state_of_other_samples_in_shards_of_the_same_name_is_refused(self, tmp_path):
        for name, key in (("a", "one"), ("b", "two")):
            (tmp_path / name).mkdir()
            with ShardWriter(tmp_path / name / "s-000000.tar") as shard:
                shard.write(key, {"jpg": jpeg(8, 8), "cls": b"0"})
        a, b = (TarImageDataset(tmp_path / name / "s-000000.tar", batch_size=1) for name in "ab")
        shutil.copy(tmp_path / "a/s-000000.tar", tmp_path / "other.tar")
        TarImageDataset(tmp_path / "other.tar", batch_size=1).load_state_dict(a.state_dict(0))
        with pytest.raises(StateError, match="fingerprint is"):
            b.load_state_dict(a.state_dict(0))

    def test_each_iteration_is_the_next_epoch(self, shards):
        dataset = TarImageDataset(shards, shuffle=True)
        assert len(list(dataset)) == 13
        assert len(list(dataset)) == 13
        assert dataset.epoch == 1

    def test_another_epoch_starts_at_its_start(self, shards):
        dataset = TarImageDataset(shards, batch_size=1)
        dataset.load_state_dict(dataset.state_dict(6))
        assert dataset.remaining == 7
        dataset.set_epoch(0)
        assert dataset.remaining == 7
        dataset.set_epoch(1)
        assert dataset.remaining == len(dataset) == 13

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("batch_size", [None, 2])
    def test_torchdatas_stateful_dataloader_resumes_it(self, shards, workers, batch_size):
        from torchdata.stateful_dataloader import StatefulDataLoader

        def loader():
            dataset = TarImageDataset(shards, transform=TRAIN, shuffle=True, batch_size=batch_size)
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

    def test_a_state_that_needs_its_iterators_is_refused_without_it(self, shards):
        dataset = TarImageDataset(shards)
        iterator = iter(dataset)
        next(iterator)
        state = dataset.state_dict()
        resumed = TarImageDataset(shards)
        resumed.load_state_dict(state)
        with pytest.raises(StateError, match=r"state_dict\(batches=\.\.\.\)"):
            next(iter(resumed))


class TestOthers:
    def test_we_read_what_webdataset_writes(self, folder, tmp_path):
        dataset = in_epoch(0, ImageDirectoryDataset(folder, transform=TRAIN))
        with webdataset.TarWriter(str(tmp_path / "w.tar")) as writer:
            for index in range(len(dataset)):
                sample = dataset.read(index)
                extension = "png" if sample.image.startswith(b"\x89PNG") else "jpg"
                writer.write({"__key__": sample.key, extension: sample.image, "cls": sample.target})
        assert names(everything(TarImageDataset(tmp_path / "w.tar", transform=TRAIN))) == names(everything(dataset))

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves files open
    def test_webdataset_reads_what_we_write(self, folder, shards):
        dataset = ImageDirectoryDataset(folder)
        read = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False))
        assert [sample["__key__"] for sample in read] == [dataset.key(i) for i in range(13)]
        assert [int(sample["cls"]) for sample in read] == dataset.targets.tolist()
        assert [sample.get("jpg") or sample.get("png") for sample in read] == [dataset.read(i).image for i in range(13)]

    def test_gnu_tar_extracts_what_we_write(self, folder, shards, tmp_path):
        for shard in shards:
            subprocess.run(["tar", "-xf", shard, "-C", str(tmp_path)], check=True)
        for path, _ in ImageDirectoryDataset(folder).samples:
            relative = Path(path).relative_to(folder)
            assert (tmp_path / relative.with_suffix(relative.suffix.lower())).read_bytes() == Path(path).read_bytes()

    def test_real_photos_are_the_same_from_shards(self, photos, tmp_path):
        evaluate = [Resize(64), CenterCrop(56)]
        directory = ImageDirectoryDataset(photos / "val", transform=evaluate)
        paths = write_shards(tmp_path, photos / "val", [100, len(directory) - 100])
        tar = TarImageDataset(paths, transform=evaluate)
        assert Counter(int(target) for _, target in tar) == Counter(directory.targets.tolist())
        assert all(torch.equal(a[0], b[0]) for a, b in zip(directory, tar, strict=True))


def test_opencv_starts_no_threads_in_a_worker(folder):
    # 400 x 400 is what OpenCV would share among threads; a new process, in which it has none yet.
    dataset = ImageDirectoryDataset(folder, transform=Transform([Resize((400, 400))], antialias=False))
    loader = DataLoader(CountingThreads(dataset), batch_size=None, num_workers=1, multiprocessing_context="spawn")
    [(before, after), *_] = loader
    assert before == after
