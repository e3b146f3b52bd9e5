"""Images in a directory, by number: what torchvision has of them, and exact views."""

import copy
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.errors import SampleError
from fastdata.images.decode import decode
from fastdata.images.header import read_header
from fastdata.transforms.draw import draw, sample_rng
from fastdata.transforms.steps import Resize
from fastdata.transforms.transform import Transform
from support.classes import TRAIN
from support.spawned import CountingThreads


class TestDirectory:
    def test_it_has_what_torchvisions_image_folder_has(self, class_folder: Path) -> None:
        dataset = ImageDirectoryDataset(class_folder)
        assert dataset.classes == ["cat", "dog", "eel"]
        assert dataset.class_to_idx == {"cat": 0, "dog": 1, "eel": 2}
        assert list(dataset.targets) == [0] * 4 + [1] * 7 + [2] * 2
        assert len(dataset) == len(dataset.samples) == 13
        assert dataset.samples[0] == (f"{class_folder}/cat/000.jpg", 0)
        assert Counter(target for _, target in dataset.samples) == {0: 4, 1: 7, 2: 2}

    def test_without_a_transform_images_are_as_they_are(self, class_folder: Path) -> None:
        image, target = ImageDirectoryDataset(class_folder)[0]
        assert image.dtype == torch.uint8
        assert image.shape == (3, 48, 64)
        assert target == 0
        data = (class_folder / "cat/000.jpg").read_bytes()
        whole = draw([], (64, 48), sample_rng(0, 0, ""))
        assert np.array_equal(image.permute(1, 2, 0).numpy(), decode(data, whole))

    def test_views_are_drawn_from_seed_epoch_and_key(self, class_folder: Path) -> None:
        dataset = ImageDirectoryDataset(class_folder, transform=TRAIN, seed=3)
        dataset.set_epoch(2)
        data = (class_folder / "dog/002.jpg").read_bytes()
        view = draw(TRAIN, read_header(data).size, sample_rng(3, 2, "dog/002"))
        index = [path for path, _ in dataset.samples].index(f"{class_folder}/dog/002.jpg")
        assert np.array_equal(dataset[index][0].permute(1, 2, 0).numpy(), decode(data, view))

    def test_new_epochs_and_seeds_have_new_views_and_the_same_ones_the_same(self, class_folder: Path) -> None:
        def pixels(seed: int, epoch: int) -> torch.Tensor:
            dataset = ImageDirectoryDataset(class_folder, transform=TRAIN, seed=seed)
            dataset.set_epoch(epoch)
            return torch.stack([dataset[number][0] for number in range(len(dataset))])

        assert torch.equal(pixels(0, 0), pixels(0, 0))
        assert not torch.equal(pixels(0, 0), pixels(0, 1))
        assert not torch.equal(pixels(0, 0), pixels(1, 0))

    def test_files_by_pattern_have_no_target_or_the_one_of_a_function(self, class_folder: Path) -> None:
        plain = ImageDirectoryDataset(class_folder, pattern="**/*.jpg", labels=None)
        assert len(plain) == 11
        assert set(plain.targets) == {-1}
        assert plain.classes == []
        lengths = ImageDirectoryDataset(class_folder, pattern="cat/*", labels=len)
        assert [target for _, target in lengths.samples] == [len("cat/000.jpg")] * 3
        anything = ImageDirectoryDataset(class_folder, labels=None)
        assert len(anything) == 13

    def test_a_pattern_narrows_class_folders(self, class_folder: Path) -> None:
        dataset = ImageDirectoryDataset(class_folder, pattern="{cat,eel}/**/*.jpg")
        assert dataset.classes == ["cat", "eel"]
        assert list(dataset.targets) == [0, 0, 0, 1, 1]
        same = ImageDirectoryDataset(class_folder, pattern="**/*.{jpg,PNG}")
        assert [path for path, _ in same.samples] == [path for path, _ in ImageDirectoryDataset(class_folder).samples]

    def test_indices_are_those_of_a_sequence(self, class_folder: Path) -> None:
        dataset = ImageDirectoryDataset(class_folder, transform=TRAIN)
        dataset.set_epoch(0)
        assert torch.equal(dataset[-1][0], dataset[12][0])
        with pytest.raises(IndexError):
            dataset[13]
        with pytest.raises(TypeError, match=r"select\(numbers=...\) makes a dataset of some"):
            dataset[:3]  # type: ignore[index]

    def test_a_transform_in_the_place_of_the_pattern_is_told_its_name(self, class_folder: Path) -> None:
        """torchvision's ImageFolder takes it there."""
        with pytest.raises(TypeError, match=r"pattern must be a string .*, got \[RandomResizedCrop.*transform=…"):
            ImageDirectoryDataset(class_folder, TRAIN)  # type: ignore[arg-type]

    def test_a_bad_image_is_an_error_with_key_file_and_cause(self, class_folder: Path, tmp_path: Path) -> None:
        shutil.copytree(class_folder / "cat", tmp_path / "cat")
        (tmp_path / "cat/000.jpg").write_bytes(b"\xff\xd8\xff nothing")
        (tmp_path / "cat/002.jpg").unlink()
        (tmp_path / "cat/002.jpg").symlink_to("gone")
        dataset = ImageDirectoryDataset(tmp_path)
        with pytest.raises(SampleError, match=f"sample 'cat/000' in {tmp_path}/cat/000.jpg: neither JPEG") as error:
            dataset[0]
        assert (error.value.key, error.value.where) == ("cat/000", f"{tmp_path}/cat/000.jpg")
        with pytest.raises(SampleError, match=r"sample 'cat/002' in .* No such file"):
            dataset[[path for path, _ in dataset.samples].index(f"{tmp_path}/cat/002.jpg")]

    def test_an_image_over_the_limit_is_refused(self, class_folder: Path) -> None:
        dataset = ImageDirectoryDataset(class_folder, max_pixels=64 * 48 - 1)
        with pytest.raises(SampleError, match="claims 64x48 pixels, more than the limit"):
            dataset[0]

    def test_the_fingerprint_is_of_the_content_not_the_place(self, class_folder: Path, tmp_path: Path) -> None:
        shutil.copytree(class_folder, tmp_path / "copy")
        assert ImageDirectoryDataset(class_folder).fingerprint == ImageDirectoryDataset(tmp_path / "copy").fingerprint
        (tmp_path / "copy/cat/000.jpg").rename(tmp_path / "copy/cat/0000.jpg")
        assert ImageDirectoryDataset(class_folder).fingerprint != ImageDirectoryDataset(tmp_path / "copy").fingerprint

    def test_copies_and_pickles_keep_what_they_are_and_their_own_epoch(self, class_folder: Path) -> None:
        dataset = ImageDirectoryDataset(class_folder, transform=TRAIN, seed=5)
        dataset.set_epoch(4)
        for other in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
            assert torch.equal(other[3][0], dataset[3][0])
            other.set_epoch(5)
            assert torch.equal(dataset[3][0], dataset.pair(3, epoch=4)[0])
            assert torch.equal(other[3][0], dataset.pair(3, epoch=5)[0])


def test_opencv_starts_no_threads_in_a_worker(class_folder: Path) -> None:
    # 400 x 400 is what OpenCV would share among threads; a new process, in which it has none yet.
    dataset = ImageDirectoryDataset(class_folder, transform=Transform([Resize((400, 400))], antialias=False))
    loader = DataLoader(CountingThreads(dataset), batch_size=None, num_workers=1, multiprocessing_context="spawn")
    [(before, after), *_] = loader
    assert before == after
