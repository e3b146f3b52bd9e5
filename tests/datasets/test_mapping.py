"""`map=`: what it is given, what it may give, and what becomes of its errors."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Subset

from fastdata.datasets.collate import collate
from fastdata.datasets.mapping import SampleMap
from fastdata.errors import ReadError
from fastdata.loading.loader import Loader
from fastdata.sample import Pair
from fastdata.transforms.steps import CenterCrop, Resize
from support.maps import jitter, with_target
from support.numbered import iterable, map_style

FIXED = [Resize(30), CenterCrop(24)]


def test_a_function_of_one_gets_the_uint8_image_of_the_transform(folder: Path) -> None:
    seen: list[Tensor] = []

    def look(image: Tensor) -> Tensor:
        seen.append(image)
        return image.float() / 255

    dataset = map_style(folder, transform=FIXED, map=look)
    image, target = dataset[3]
    assert torch.equal(seen[0], map_style(folder, transform=FIXED)[3][0])
    assert torch.equal(image, seen[0] / 255)
    assert (target, dataset[3].key) == (3, "003")


class Module(torch.nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image[:1]


class TorchVisionLike(torch.nn.Module):
    def forward(self, *inputs: Any) -> Any:
        return inputs[0] if len(inputs) == 1 else inputs


class OfTwo:
    def __call__(self, image: Tensor, target: int, strength: float = 1.0) -> tuple[Tensor, int]:
        return image[:2], target + 100


@pytest.mark.parametrize(
    ("function", "channels", "target"),
    [
        (Module(), 1, 3),
        (TorchVisionLike(), 3, 3),
        (OfTwo(), 2, 103),
        (lambda image, strength=2: image, 3, 3),
        (lambda image: (image, "other"), 3, "other"),
        (lambda image, target: image, 3, 3),
        (torch.neg, 3, 3),
    ],
)
def test_a_function_may_take_and_give_the_target(folder: Path, function: Any, channels: int, target: Any) -> None:
    image, given = map_style(folder, transform=FIXED, map=function)[3]
    assert image.shape == (channels, 24, 24)
    assert given == target


def test_what_is_no_function_is_refused_at_once(folder: Path) -> None:
    with pytest.raises(TypeError, match="map is a function of the image"):
        map_style(folder, map="flip")


@pytest.mark.parametrize("result", [None, 3, "text", (1, 2, 3)])
def test_a_function_that_gives_no_tensor_is_an_error_that_names_the_sample(folder: Path, result: Any) -> None:
    dataset = map_style(folder, transform=FIXED, map=lambda image: result)
    with pytest.raises(TypeError, match=f"got {type(result).__name__} for sample '003'"):
        dataset[3]


def fails_at_number_7(image: Tensor, target: int) -> tuple[Tensor, int]:
    if target == 7:
        raise ReadError("something like a bad sample")
    return image, target


def test_its_errors_are_raised_as_they_are_with_a_note_and_never_skipped(folder: Path) -> None:
    dataset = map_style(folder, transform=FIXED, map=fails_at_number_7)
    loaders: list[Any] = [DataLoader(dataset, 4, collate_fn=collate)]
    loaders += [Loader(dataset, 4, num_threads=threads, on_error="skip") for threads in (1, 3)]
    for loader in loaders:
        with pytest.raises(ReadError, match=r"^something like a bad sample") as caught:
            list(loader)
        assert caught.value.__notes__ == ["raised by map= for sample '007'"]
    assert loaders[1].skipped == []


def test_a_workers_error_says_the_sample_too(folder: Path) -> None:
    dataset = map_style(folder, transform=FIXED, map=fails_at_number_7)
    with pytest.raises(ReadError, match="raised by map= for sample '007'"):
        list(DataLoader(dataset, 4, collate_fn=collate, num_workers=1))


def ragged(image: Tensor, target: int) -> tuple[Tensor, int]:
    return (image[:, 1:] if target == 2 else image), target


def another_dtype(image: Tensor, target: int) -> tuple[Tensor, int]:
    return (image.float() if target == 2 else image), target


@pytest.mark.parametrize("function", [ragged, another_dtype])
def test_images_that_do_not_agree_are_an_error_that_names_the_sample(folder: Path, function: Any) -> None:
    dataset = map_style(folder, transform=FIXED, map=function)
    for loader in (Loader(dataset, 4, num_threads=2), DataLoader(dataset, 4, collate_fn=collate)):
        with pytest.raises(ValueError, match=r"different shapes or dtypes.*'002', say, is unlike '000'"):
            next(iter(loader))


def test_a_map_may_fix_the_size_where_the_transform_does_not(folder: Path) -> None:
    dataset = map_style(folder, transform=None, map=lambda image: image[:, :20, :30])
    batches = list(Loader(dataset, 8, num_threads=2))
    assert {tuple(batch.images.shape[1:]) for batch in batches} == {(3, 20, 30)}
    assert all(batch.images.is_contiguous(memory_format=torch.channels_last) for batch in batches)


def test_a_map_may_give_something_else_than_an_image(folder: Path) -> None:
    dataset = map_style(folder, map=lambda image: image.float().mean((1, 2)))
    assert next(iter(Loader(dataset, 8))).images.shape == (8, 3)
    assert next(iter(DataLoader(dataset, 8, collate_fn=collate))).images.shape == (8, 3)


def test_new_numbers_each_time_where_nobody_said_the_epoch(folder: Path) -> None:
    dataset = map_style(folder, transform=FIXED, map=jitter)
    assert not torch.equal(dataset[3][0], dataset[3][0])
    dataset.set_epoch(0)
    assert torch.equal(dataset[3][0], dataset[3][0])


def test_dali_is_refused_for_what_is_mapped(folder: Path, shards: list[str]) -> None:
    pytest.importorskip("nvidia.dali")
    for dataset in (map_style(folder, map=jitter), iterable(shards, map=jitter)):
        with pytest.raises(ValueError, match="decoder='cpu' goes with it"):
            Loader(dataset, 4, decoder="dali")


def test_each_part_of_a_concatenation_has_its_own_map(folder: Path) -> None:
    parts = [map_style(folder, transform=FIXED, map=OfTwo()), map_style(folder, transform=FIXED)]
    joined: ConcatDataset[Any] = ConcatDataset([Subset(part, range(4)) for part in parts])
    (images, targets), *_ = [next(iter(Loader(Subset(joined, [0, 1]), 2))), None]
    assert images.shape == (2, 2, 24, 24)
    assert targets.tolist() == [100, 101]
    (batch,) = list(Loader(Subset(joined, [6, 7]), 2))
    assert batch.images.shape == (2, 3, 24, 24)
    assert batch.targets.tolist() == [2, 3]


def test_a_bad_sample_is_replaced_with_its_own_target(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes() if file.stem != "002" else b"no image")
    loader = Loader(map_style(tmp_path, map=with_target), 4, on_error="skip", num_threads=2)
    batch = next(iter(loader))
    assert batch.keys == ["000", "001", "003", "003"]
    assert batch.targets[2] == batch.targets[3]
    assert torch.equal(batch.images[2], batch.images[3])
    loader.close()


def test_a_target_with_a_default_is_given_and_what_is_no_target_is_refused() -> None:
    image = torch.zeros(3, 2, 2)

    def of_both(image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        return image, target

    assert SampleMap(of_both)(Pair(image, 7, "a"), 0)[1] == 7
    for two in (lambda image: (image, None), lambda image: [image, image]):
        with pytest.raises(TypeError, match=r"map= of the image alone gave two for sample 'a'.*fd\.Views"):
            SampleMap(two)(Pair(image, 7, "a"), 0)
    assert SampleMap(lambda image: (image, 3))(Pair(image, 7, "a"), 0)[1] == 3
