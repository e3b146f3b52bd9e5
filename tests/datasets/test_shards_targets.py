"""What the components of a shard's samples become, and what is said of what is wrong with them."""

import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.shards import TarImageDataset
from fastdata.errors import SampleError
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from support.classes import TRAIN, one_shard
from support.pictures import encoded, jpeg, photo


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
    def test_a_target_is_read_by_its_extension(self, tmp_path: Path, target: Any, data: bytes, expected: Any) -> None:
        path = one_shard(tmp_path / "a.tar", jpg=jpeg(8, 8), **{target or "cls": data})
        [(_, value)] = TarImageDataset(path, target=target)
        assert value == expected

    def test_an_array_is_read_and_one_of_objects_is_refused(self, tmp_path: Path) -> None:
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
    def test_a_target_that_is_not_what_its_extension_says_is_an_error(
        self, tmp_path: Path, target: Any, data: bytes
    ) -> None:
        path = one_shard(tmp_path / "a.tar", jpg=jpeg(8, 8), **{target: data})
        with pytest.raises(SampleError, match=f"sample 'a/sample' in .*a.tar, offset 0: its component '{target}'"):
            list(TarImageDataset(path, target=target))

    def test_a_missing_component_is_an_error_that_names_shard_key_and_component(self, tmp_path: Path) -> None:
        path = one_shard(tmp_path / "a.tar", jpg=jpeg(8, 8))
        cause = "its component 'cls' can't be used: there is no component 'cls' (it has jpg)"
        with pytest.raises(SampleError, match=rf"^sample 'a/sample' in [^:]*a\.tar, offset 0: {re.escape(cause)}$"):
            list(TarImageDataset(path))
        path = one_shard(tmp_path / "b.tar", cls=b"1")
        with pytest.raises(SampleError, match=r"sample 'a/sample' in .*b\.tar.* none of the components jpg;jpeg;png"):
            list(TarImageDataset(path))

    def test_the_image_may_be_any_component(self, tmp_path: Path) -> None:
        path = one_shard(
            tmp_path / "a.tar", **{"left.png": encoded(photo(3, 2), "PNG"), "jpg": jpeg(9, 9), "cls": b"0"}
        )
        [(image, _)] = TarImageDataset(path, image="right.png;left.png")
        assert image.shape == (3, 2, 3)

    def test_an_unknown_kind_of_target_is_refused_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"one of cls, txt, json, npy, got 'pkl'"):
            TarImageDataset(one_shard(tmp_path / "a.tar", jpg=jpeg(8, 8)), target="pkl")


class TestErrors:
    @pytest.mark.parametrize("kind", ["folder", "shards"])
    def test_a_workers_bad_image_is_named_in_the_main_process(self, tmp_path: Path, kind: str) -> None:
        dataset: ImageDirectoryDataset | TarImageDataset
        if kind == "folder":
            (tmp_path / "cat").mkdir()
            (tmp_path / "cat/bad.jpg").write_bytes(jpeg(64, 64)[:500])
            dataset, where = ImageDirectoryDataset(tmp_path, transform=TRAIN), "cat/bad.jpg"
        else:
            path = one_shard(tmp_path / "a.tar", jpg=jpeg(64, 64)[:500], cls=b"0")
            dataset, where = TarImageDataset(path, transform=TRAIN), "a.tar, offset 0"
        with pytest.raises(SampleError, match=f"sample '.*' in {tmp_path}/{where}: .*(?i:truncated)"):
            list(DataLoader(dataset, batch_size=None, num_workers=1))

    def test_a_shard_that_is_cut_short_is_an_error(self, class_shards: list[str], tmp_path: Path) -> None:
        path = tmp_path / "cut.tar"
        path.write_bytes(Path(class_shards[0]).read_bytes()[:3000])
        with pytest.raises(ValueError, match=r"cut\.tar, offset \d+"):
            TarImageDataset(path)

    def test_a_shard_that_changes_under_way_is_an_error_for_its_samples(
        self, class_shards: list[str], tmp_path: Path
    ) -> None:
        path = shutil.copy(class_shards[0], tmp_path / "a.tar")
        dataset = TarImageDataset(path)
        next(iter(dataset))
        with open(path, "r+b") as file:
            file.truncate(3000)
        with pytest.raises(SampleError, match=r"in .*a\.tar.*offset \d+"):
            list(dataset)

    def test_a_shard_that_is_not_the_one_its_json_counted_is_an_error(self, class_folder: Path, tmp_path: Path) -> None:
        pack(scan_classes(class_folder), tmp_path, division=ShardCount(2), jobs=1)
        shutil.copy(tmp_path / "train-000000.tar", tmp_path / "train-000001.tar")
        dataset = TarImageDataset(str(tmp_path / "*.tar"))
        assert dataset.classes == ["cat", "dog", "eel"]
        with pytest.raises(SampleError, match=r"train-000001\.tar.*another member lies here now.*pack it again"):
            list(dataset)

    def test_a_glob_of_an_incomplete_copy_is_an_error(self, class_folder: Path, tmp_path: Path) -> None:
        pack(scan_classes(class_folder), tmp_path, division=ShardCount(3), jobs=1)
        (tmp_path / "train-000001.tar").unlink()
        with pytest.raises(
            FileNotFoundError, match=r"train\.json lists train-000001\.tar and 0 more that are not there"
        ):
            TarImageDataset(str(tmp_path / "*.tar"))
        assert TarImageDataset([tmp_path / "train-000000.tar", tmp_path / "train-000002.tar"]).num_samples == 9

    def test_shards_whose_classes_differ_are_not_mixed(self, class_folder: Path, tmp_path: Path) -> None:
        pack(scan_classes(class_folder), tmp_path / "a", division=ShardCount(1), jobs=1)
        pack(scan_classes(class_folder, "cat/*"), tmp_path / "b", division=ShardCount(1), jobs=1)
        with pytest.raises(ValueError, match=r"a/train\.json and .*b/train\.json have different classes"):
            TarImageDataset([tmp_path / "a/train-000000.tar", tmp_path / "b/train-000000.tar"])

    def test_shards_are_found_by_glob_brace_and_list_alike(self, class_shards: list[str]) -> None:
        directory = Path(class_shards[0]).parent
        for urls in (
            directory / "part-*.tar",
            f"{directory}/part-{{000000..000003}}.tar",
            [Path(s) for s in class_shards],
        ):
            assert TarImageDataset(urls if isinstance(urls, list) else str(urls)).num_samples == 13
        with pytest.raises(FileNotFoundError, match=r"none-\*\.tar"):
            TarImageDataset(f"{directory}/none-*.tar")
