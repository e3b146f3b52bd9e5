"""Images in a `datasets.Dataset`, and in the Parquet files that one writes."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import fastdata as fd
from fastdata.errors import ReadError
from fastdata.sources.columnar import parquet, row_groups
from fastdata.sources.columnar.dataset_rows import DatasetRows
from support.numbered import TRAIN, image

datasets: Any = pytest.importorskip("datasets")
datasets.disable_progress_bars()
COUNT = 24


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Photos with paths, labels and vectors, saved to disk and mapped from there."""
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog", "eel"]),
            "vector": datasets.List(datasets.Value("float32")),
            "grid": datasets.Array2D((2, 2), "float32"),
        }
    )
    rows = {
        "image": [{"bytes": image(number)[1], "path": f"{number:03}.{image(number)[0]}"} for number in range(COUNT)],
        "label": [number % 3 for number in range(COUNT)],
        "vector": [[float(number), 1.0] for number in range(COUNT)],
        "grid": [[[number, 1.0], [2.0, 3.0]] for number in range(COUNT)],
    }
    root = tmp_path_factory.mktemp("photos")
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(root / "saved", num_shards=3)
    return datasets.load_from_disk(root / "saved")


def ours(photos: Any, **how: Any) -> fd.HuggingFaceImageDataset:
    return fd.HuggingFaceImageDataset(photos, TRAIN, **how)


def test_its_rows_are_read_one_by_one_and_a_selection_has_its_share_of_the_bytes(photos: Any) -> None:
    whole, half = (DatasetRows(rows, ["image"]) for rows in (photos, photos.select(range(0, COUNT, 2))))
    assert whole.ends.tolist() == list(range(1, COUNT + 1))
    assert half.ends.tolist() == list(range(1, COUNT // 2 + 1))
    assert half.num_bytes == whole.num_bytes // 2 > 0


def test_files_and_objects_of_it_have_the_samples_of_the_folder(photos: Any, tmp_path: Path) -> None:
    photos.to_parquet(tmp_path / "a.parquet", batch_size=5)
    for number in range(COUNT):
        (tmp_path / f"{number:03}.{image(number)[0]}").write_bytes(image(number)[1])
    folder = fd.ImageDirectoryDataset(tmp_path, "*.[jp][pn]g", TRAIN, labels=lambda path: int(path[:3]) % 3)
    wanted = list(fd.Loader(folder, 8, shuffle=True))
    for dataset in (fd.ParquetImageDataset(tmp_path / "a.parquet", TRAIN), ours(photos)):
        assert dataset.classes == ["cat", "dog", "eel"]
        batches = list(fd.Loader(dataset, 8, shuffle=True))
        assert [batch.keys for batch in batches] == [batch.keys for batch in wanted]
        assert all(torch.equal(one.images, other.images) for one, other in zip(batches, wanted, strict=True))
        assert [batch.targets.tolist() for batch in batches] == [batch.targets.tolist() for batch in wanted]


def test_each_row_group_that_it_writes_is_read_whole_once(
    photos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos.to_parquet(tmp_path / "a.parquet", batch_size=5)
    dataset = fd.ParquetImageDataset(tmp_path / "a.parquet", TRAIN, target=["vector", "grid"], cache_bytes=1)
    whole = []

    def read_column(*arguments: Any) -> Any:
        whole.append(arguments[-1])
        return parquet.read_column(*arguments)

    monkeypatch.setattr(row_groups, "read_column", read_column)
    for number in np.random.default_rng(0).permutation(np.tile(np.arange(COUNT), 3)).tolist():
        sample = dataset.read(number)
        assert sample.image == image(number)[1]
        assert sample.target["vector"].tolist() == [number, 1]
        assert sample.target["grid"] == [[number, 1], [2, 3]]
    assert whole.count("image.bytes") == 5


def test_rows_that_it_selects_and_shuffles_keep_their_keys(photos: Any) -> None:
    order = np.random.default_rng(0).permutation(COUNT)[:9].tolist()
    for selected in (photos.select(order), photos.select(order).with_format("torch")):
        dataset = ours(selected)
        assert [dataset.key(number) for number in range(9)] == [f"{number:03}" for number in order]
        assert [dataset.read(number).image for number in range(9)] == [image(number)[1] for number in order]
        assert list(dataset.targets) == [number % 3 for number in order]
        assert dataset.fingerprint != ours(photos).fingerprint
    without = datasets.Dataset.from_dict({"image": [image(number)[1] for number in range(COUNT)]})
    numbered = ours(without.select(order), target=None)
    assert [numbered.key(number) for number in range(9)] == [str(number) for number in order]


# Python 3.12 warns of forking a process with threads, which torch has.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_workers_have_the_same_samples(photos: Any) -> None:
    dataset = ours(photos, target="vector")
    sampler = fd.EpochSampler(dataset, batch_size=8)
    wanted = torch.cat([images for images, _ in fd.Loader(dataset, 8, shuffle=True, num_threads=3)])
    batches = DataLoader(dataset, 8, sampler=sampler, num_workers=2, collate_fn=fd.collate)
    assert torch.equal(torch.cat([images for images, _ in batches]), wanted)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.fingerprint == dataset.fingerprint
    assert copy.read(20).image == dataset.read(20).image


def test_images_of_a_local_folder_are_read_from_there(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for number in range(2):
        paths[number].write_bytes(image(number)[1])
    rows = {"image": [str(path) for path in paths]}
    dataset = ours(datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()), target=None)
    assert [dataset.read(number).image for number in range(2)] == [image(number)[1] for number in range(2)]
    with pytest.raises(ReadError, match=r"row 2: .*2\.jpg"):
        dataset.read(2)


def test_what_is_no_dataset_is_an_error_that_says_what_to_give(photos: Any) -> None:
    for wrong in (datasets.DatasetDict(train=photos), photos.to_iterable_dataset(), [1]):
        with pytest.raises(TypeError, match=r"one split of a datasets\.Dataset, got"):
            ours(wrong)
    with pytest.raises(ValueError, match="has no rows"):
        ours(photos.select([]))
    with pytest.raises(ValueError, match="has no column 'text', but 'image'"):
        ours(photos, target="text")
