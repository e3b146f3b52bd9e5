"""What holds for every dataset, whatever its samples lie in, and for what torch makes of some."""

import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.collate import collate
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.from_torch import as_image_dataset
from fastdata.datasets.parquet import ParquetImageDataset
from fastdata.datasets.prepared import Prepared
from fastdata.datasets.shards import TarImageDataset
from fastdata.datasets.store import TarImageMapDataset
from fastdata.epoch.sampler import EpochSampler
from fastdata.errors import DecodeError, ReadError, SampleError
from fastdata.images.header import read_header
from fastdata.loading.loader import Loader
from fastdata.sources.tars.writer import ShardWriter
from fastdata.transforms.draw import draw, sample_rng
from support.numbered import TRAIN, image, number_of
from support.parquets import Row, write_parquet
from support.pictures import jpeg

COUNT, SEED, EPOCH = 11, 5, 3


class File(NamedTuple):
    """An image to be stored: its key, which ends in its target, its extension and its bytes."""

    key: str
    extension: str
    data: bytes

    @property
    def target(self) -> int:
        return number_of(self.key)


Files = Sequence[File]
FILES = [File(f"a/{number:03}", *image(number)) for number in range(COUNT)]


def in_folder(root: Path, files: Files) -> Path:
    for file in files:
        path = root / f"{file.key}.{file.extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
    return root


def in_shards(root: Path, files: Files) -> list[str]:
    """Two shards, and an empty one between them."""
    root.mkdir(parents=True)
    for name, part in (("0", files[:4]), ("1", []), ("2", files[4:])):
        with ShardWriter(root / f"{name}.tar") as shard:
            for file in part:
                shard.write(file.key, {file.extension: file.data, "cls": b"%d" % file.target})
    return [str(root / f"{name}.tar") for name in "012"]


def directory(root: Path, files: Files, seed: int = SEED) -> ImageDirectoryDataset:
    return ImageDirectoryDataset(in_folder(root, files), "**/*", TRAIN, labels=number_of, seed=seed)


def shards_by_number(root: Path, files: Files, seed: int = SEED) -> TarImageMapDataset:
    return TarImageMapDataset(in_shards(root, files), TRAIN, seed=seed)


def shards(root: Path, files: Files, seed: int = SEED) -> TarImageDataset:
    return TarImageDataset(in_shards(root, files), TRAIN, seed=seed)


def parquet(root: Path, files: Files, seed: int = SEED) -> ParquetImageDataset:
    """Two files, one of two row groups, and one without rows between them."""
    root.mkdir(parents=True)
    for name, part in (("0", files[:4]), ("1", []), ("2", files[4:])):
        rows = [Row(file.data, file.target, f"{file.key}.{file.extension}") for file in part]
        write_parquet(root / f"{name}.parquet", rows, row_group_size=5)
    return ParquetImageDataset(root / "*.parquet", TRAIN, seed=seed)


def subset(root: Path, files: Files, seed: int = SEED) -> "Subset[Any]":
    """The files, of a folder that has them from the last to the first and another one before and after."""
    turned = [file._replace(key=f"a/{number}/{file.key[2:]}") for number, file in enumerate(reversed(files), start=10)]
    more = [FILES[0]._replace(key=f"a/{name}/000") for name in ("00", "99")]
    dataset = directory(root, [*turned, *more], seed)
    return Subset(dataset, [-2 - number for number in range(len(files))])


def concatenation(root: Path, files: Files, seed: int = SEED) -> "ConcatDataset[Any]":
    first, second = directory(root / "0", files[:5], seed), shards_by_number(root / "1", files[5:], seed)
    return ConcatDataset([first, second])


def subset_of_concatenation(root: Path, files: Files, seed: int = SEED) -> "Subset[Any]":
    parts = [directory(root / "0", files[:6], seed), directory(root / "1", files[6:], seed)]
    return Subset(ConcatDataset(parts), range(len(files)))


Make = Callable[..., Any]
KINDS: list[Make] = [directory, shards_by_number, shards, parquet, subset, concatenation, subset_of_concatenation]


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a dataset of some files, in their order, below a folder that is not there yet."""
    made: Make = request.param
    return made


@pytest.fixture
def ours(make: Make, tmp_path: Path) -> ImageDataset:
    return as_image_dataset(make(tmp_path / "ours", FILES))


def file_of(where: str) -> Path:
    return Path(where.partition(", ")[0])


def test_samples_are_stored_bytes_with_key_and_target_in_their_order(ours: ImageDataset) -> None:
    assert ours.num_samples == COUNT
    for number, file in enumerate(FILES):
        sample = ours.read(number)
        assert (sample.image, sample.target) == (file.data, file.target)
        assert sample.key == ours.key(number)
        assert sample.key.endswith(file.key[2:])


def test_every_sample_has_a_place_of_its_own(ours: ImageDataset, tmp_path: Path) -> None:
    places = [ours.where(number) for number in range(COUNT)]
    assert len(set(places)) == COUNT
    assert all(file_of(place).is_file() and file_of(place).is_relative_to(tmp_path) for place in places)


def test_a_view_is_drawn_from_seed_epoch_and_key(ours: ImageDataset) -> None:
    for number in range(COUNT):
        sample = ours.read(number)
        header, view = ours.draw(sample, EPOCH)
        assert header == read_header(sample.image)
        assert view == draw(ours.transform.transforms[0], header.size, sample_rng(SEED, EPOCH, sample.key))
        assert ours.draw(sample, EPOCH)[1] == view
        assert ours.draw(sample, EPOCH + 1)[1] != view


def prepared(dataset: ImageDataset, numbers: Sequence[int], epoch: int = EPOCH) -> list[Prepared | SampleError]:
    """All of these samples, by as many calls as it takes."""
    samples: list[Prepared | SampleError] = []
    while len(samples) < len(numbers):
        task = dataset.prepare(numbers[len(samples) :], epoch)
        assert task.samples
        samples += task.samples
    return samples


def test_samples_that_are_prepared_and_decoded_together_are_those_that_are_loaded_alone(ours: ImageDataset) -> None:
    numbers = [8, 0, 10, 3, 4, 5, 3]
    samples = prepared(ours, numbers)
    rows = np.empty((len(numbers), 24, 24, 3), np.uint8)
    good = [sample for sample in samples if isinstance(sample, Prepared)]
    assert [sample.number for sample in good] == numbers
    assert list(ours.decode_into(good, list(rows)).errors) == [None] * len(numbers)
    for number, sample, row in zip(numbers, good, rows, strict=True):
        alone = ours.load(number, EPOCH)
        assert np.array_equal(row, alone.image)
        assert (alone.key, alone.target) == (sample.key, sample.target) == (ours.key(number), FILES[number].target)
        assert sample.image.view == ours.draw(ours.read(number), EPOCH)[1]
        into = np.empty((24, 24, 3), np.uint8)
        assert ours.load(number, EPOCH, into).image is into
        assert np.array_equal(into, row)
        assert not np.array_equal(ours.load(number, EPOCH + 1).image, row)


BAD = 7
WHOLE = jpeg(64, 48)
DAMAGED = {"no image": b"no image", "cut off": WHOLE[: len(WHOLE) - 200]}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_image_is_an_error_that_says_which_and_where(make: Make, tmp_path: Path, how: str) -> None:
    files = [*FILES]
    files[BAD] = files[BAD]._replace(data=DAMAGED[how])
    ours = as_image_dataset(make(tmp_path / "damaged", files))
    with pytest.raises(DecodeError) as caught:
        ours.load(BAD, EPOCH)
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert (error.key, error.where) == (ours.key(BAD), ours.where(BAD))
        assert str(error) == f"sample {error.key!r} in {error.where}: {error.cause}"
    samples = prepared(ours, range(COUNT))
    good = [sample for sample in samples if isinstance(sample, Prepared)]
    errors = [sample for sample in samples if isinstance(sample, SampleError)]
    rows = np.empty((len(good), 24, 24, 3), np.uint8)
    errors += [error for error in ours.decode_into(good, list(rows)).errors if error is not None]
    assert [(error.key, error.where, error.cause) for error in errors] == [
        (ours.key(BAD), ours.where(BAD), caught.value.cause)
    ]


def test_what_is_gone_is_an_error_that_says_which_and_where(
    make: Make, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ours = as_image_dataset(make(tmp_path / "gone", FILES))
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(ReadError, match="No such file") as caught:
        ours.read(BAD)
    (error,) = prepared(ours, [BAD])
    assert isinstance(error, ReadError)
    for each in (caught.value, error):
        assert each.where == ours.where(BAD)
        assert each.key.endswith((FILES[BAD].key[2:], f"number {BAD}"))  # a shard has its keys with it


def test_the_time_that_it_takes_to_find_a_file_gone_is_reading(tmp_path: Path) -> None:
    ours = directory(tmp_path / "gone", FILES)
    shutil.rmtree(tmp_path / "gone")
    assert ours.prepare([BAD], EPOCH).read_ns > 0


def test_a_fingerprint_is_of_what_is_in_it_wherever_that_lies(make: Make, tmp_path: Path) -> None:
    def fingerprint(name: str, files: Files) -> str:
        found = as_image_dataset(make(tmp_path / name, files)).fingerprint
        assert found
        return found

    ours = fingerprint("ours", FILES)
    assert fingerprint("same", FILES) == ours
    others = {
        "one less": FILES[:-1],
        "another key": [*FILES[:-1], FILES[-1]._replace(key="a/999")],
    }
    different = {fingerprint(name, files) for name, files in others.items()}
    assert len(different | {ours}) == 1 + len(others)


def test_a_loader_gives_each_sample_of_an_epoch_once_and_its_views(make: Make, tmp_path: Path) -> None:
    made = make(tmp_path / "ours", FILES)
    ours = as_image_dataset(made)
    loader = Loader(made, 4, shuffle=True, num_threads=2)
    for epoch in range(2):
        images, targets = (torch.cat(parts) for parts in zip(*loader, strict=True))
        assert sorted(targets.tolist()) == list(range(COUNT))
        assert targets.tolist() != list(range(COUNT))
        for pixels, number in zip(images, targets.tolist(), strict=True):
            assert np.array_equal(pixels.permute(1, 2, 0).numpy(), ours.load(number, epoch).image)


def by_torch(made: Any, **how: Any) -> list[Any]:
    """The shuffled batches of an epoch by torch's DataLoader."""
    if isinstance(made, TarImageDataset):
        again = TarImageDataset(made.shards, made.transform, shuffle=True, seed=made.seed, batch_size=4)
        return list(DataLoader(again, batch_size=None, num_workers=2))
    sampler = EpochSampler(made, batch_size=4, **how)
    return list(DataLoader(made, 4, sampler=sampler, collate_fn=collate, num_workers=2))


# Python 3.12 warns of forking a process with threads, which torch has.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_torchs_data_loader_gives_the_same_batches(make: Make, tmp_path: Path) -> None:
    made = make(tmp_path / "ours", FILES)
    batches = list(Loader(made, 4, shuffle=True, num_threads=2))
    theirs = by_torch(made, seed=SEED)
    assert [batch.targets.tolist() for batch in theirs] == [batch.targets.tolist() for batch in batches]
    assert all(torch.equal(one.images, other.images) for one, other in zip(theirs, batches, strict=True))


OF_TORCH = [subset, concatenation, subset_of_concatenation]


@pytest.mark.parametrize("make", [kind for kind in KINDS if kind is not shards], indirect=True)
def test_a_sampler_and_a_loader_have_one_order_and_one_state(
    make: Make, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made = make(tmp_path / "ours", FILES)
    sampler, loader = EpochSampler(made, batch_size=4), Loader(made, 4, shuffle=True)
    assert list(sampler) == [target for _, targets in loader for target in targets.tolist()]
    loader.load_state_dict(sampler.state_dict(batches=2))
    assert len(list(loader)) == 1


def test_a_copy_in_another_process_has_the_same_samples(ours: ImageDataset) -> None:
    copy = pickle.loads(pickle.dumps(ours))
    assert copy.fingerprint == ours.fingerprint
    for number in (0, 5, 10):
        assert np.array_equal(copy.load(number, EPOCH).image, ours.load(number, EPOCH).image)
        assert (copy.key(number), copy.where(number)) == (ours.key(number), ours.where(number))


@pytest.mark.parametrize("make", OF_TORCH)
@pytest.mark.parametrize("number", [-1, COUNT])
def test_a_number_that_no_sample_of_others_has_is_an_error(tmp_path: Path, make: Make, number: int) -> None:
    ours = as_image_dataset(make(tmp_path, FILES))
    for ask in (ours.key, ours.where, ours.read):
        with pytest.raises(IndexError, match=f"sample {number} of {COUNT}"):
            ask(number)


@pytest.fixture
def of_two_seeds(tmp_path: Path) -> ConcatDataset[Any]:
    first, second = directory(tmp_path / "0", FILES[:5], SEED), directory(tmp_path / "1", FILES[5:], SEED + 1)
    return ConcatDataset([first, second])


def test_each_part_of_a_concatenation_draws_by_its_own_seed(of_two_seeds: ConcatDataset[Any]) -> None:
    ours, second = as_image_dataset(of_two_seeds), as_image_dataset(of_two_seeds.datasets[1])
    for number in range(5, COUNT):
        assert np.array_equal(ours.load(number, EPOCH).image, second.load(number - 5, EPOCH).image)


def test_a_view_of_a_concatenation_of_two_seeds_is_drawn_by_number_alone(of_two_seeds: ConcatDataset[Any]) -> None:
    ours = as_image_dataset(of_two_seeds)
    with pytest.raises(TypeError, match="prepare the sample by its number"):
        ours.draw(ours.read(8), EPOCH)


def test_a_subset_of_a_concatenation_draws_as_its_parts_do(of_two_seeds: ConcatDataset[Any]) -> None:
    ours = as_image_dataset(Subset(of_two_seeds, range(COUNT)))
    whole = as_image_dataset(of_two_seeds)
    for number in range(COUNT):
        assert np.array_equal(ours.load(number, EPOCH).image, whole.load(number, EPOCH).image)
