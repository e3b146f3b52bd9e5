"""Transforms of the real torchvision become ours."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import fastdata as fd
from support.torchvision import torchvision

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module", params=["v1", "v2"])
def tv(request: pytest.FixtureRequest) -> Iterator[Any]:
    """torchvision's transforms, of both versions in turn."""
    with torchvision() as module:
        yield module.transforms if request.param == "v1" else module.transforms.v2


@pytest.fixture(scope="module")
def v2() -> Iterator[Any]:
    with torchvision() as module:
        yield module.transforms.v2


def test_the_recipe_of_imagenet(tv: Any) -> None:
    compose = tv.Compose(
        [
            tv.RandomResizedCrop(224, scale=(0.2, 1.0), antialias=True),
            tv.RandomHorizontalFlip(0.3),
            tv.ColorJitter(0.4, 0.4, (0.5, 0.9), 0.1),
            tv.PILToTensor(),
            tv.ConvertImageDtype(torch.float32),
            tv.Normalize(*IMAGENET),
            tv.RandomErasing(0.25),
        ]
    )
    transform, normalize = fd.from_torchvision(compose)
    assert transform == fd.Transform(
        [
            fd.RandomResizedCrop(224, scale=(0.2, 1.0)),
            fd.RandomHorizontalFlip(0.3),
            fd.ColorJitter(0.4, 0.4, (0.5, 0.9), 0.1),
            fd.RandomErasing(0.25, value=[123.675, 116.28, 103.53]),
        ]
    )
    assert normalize == IMAGENET
    fd.Normalize(*normalize)


def test_evaluation_and_a_nested_compose(tv: Any) -> None:
    compose = tv.Compose([tv.Compose([tv.Resize(256), tv.CenterCrop((224, 200))]), tv.Grayscale(3)])
    transform, normalize = fd.from_torchvision(compose)
    assert transform == fd.Transform([fd.Resize(256), fd.CenterCrop((224, 200)), fd.Grayscale()])
    assert normalize is None
    assert fd.from_torchvision(tv.Resize((30, 40))).transform == fd.Transform([fd.Resize((30, 40))])


def test_the_other_steps_that_move_pixels(tv: Any) -> None:
    bicubic = tv.InterpolationMode.BICUBIC
    compose = tv.Compose(
        [
            tv.Resize(256, interpolation=bicubic, max_size=300),
            tv.Pad((4, 3)),
            tv.RandomCrop(32, padding=4, pad_if_needed=True),
            tv.RandomVerticalFlip(0.2),
        ]
    )
    assert fd.from_torchvision(compose).transform.steps == (
        fd.Resize(256, "bicubic", max_size=300),
        fd.Pad((4, 3)),
        fd.RandomCrop(32, padding=4, pad_if_needed=True),
        fd.RandomVerticalFlip(0.2),
    )
    crop = fd.from_torchvision(tv.RandomResizedCrop(9, interpolation=bicubic)).transform
    assert crop.steps == (fd.RandomResizedCrop(9, interpolation="bicubic"),)
    for padded in (tv.Pad(3, fill=7), tv.Pad(3, padding_mode="reflect"), tv.RandomCrop(9, 3, fill=(1, 2, 3))):
        with pytest.raises(TypeError, match="padding is black here"):
            fd.from_torchvision(padded)


def test_each_step_that_changes_pixels(tv: Any) -> None:
    compose = tv.Compose(
        [
            tv.RandomGrayscale(0.2),
            tv.RandomApply([tv.ColorJitter(hue=0.1), tv.RandomInvert(0.1)], 0.8),
            tv.GaussianBlur((9, 5), (0.2, 0.9)),
            tv.GaussianBlur(3),
            tv.RandomSolarize(100, 0.2),
            tv.RandomPosterize(3, 0.3),
            tv.RandomAutocontrast(0.4),
            tv.RandomEqualize(0.6),
            tv.RandomAdjustSharpness(2.0, 0.7),
            tv.RandAugment(3, 5, 11),
            tv.TrivialAugmentWide(10, fill=[1, 2, 3]),
            tv.RandomErasing(0.3, (0.1, 0.2), (0.5, 2.0), (1, 2, 3)),
        ]
    )
    assert fd.from_torchvision(compose).transform.steps == (
        fd.RandomGrayscale(0.2),
        fd.RandomApply([fd.ColorJitter(hue=0.1), fd.RandomInvert(0.1)], 0.8),
        fd.GaussianBlur((9, 5), (0.2, 0.9)),
        fd.GaussianBlur(3),
        fd.RandomSolarize(100, 0.2),
        fd.RandomPosterize(3, 0.3),
        fd.RandomAutocontrast(0.4),
        fd.RandomEqualize(0.6),
        fd.RandomAdjustSharpness(2.0, 0.7),
        fd.RandAugment(3, 5, 11),
        fd.TrivialAugmentWide(10, fill=[1, 2, 3]),
        fd.RandomErasing(0.3, (0.1, 0.2), (0.5, 2.0), (1, 2, 3)),
    )


def test_defaults_are_torchvisions(tv: Any) -> None:
    for name in ("RandomGrayscale", "RandomInvert", "RandomAutocontrast", "RandomEqualize", "RandomErasing"):
        assert fd.from_torchvision(getattr(tv, name)()).transform.steps == (getattr(fd, name)(),)
    for name in ("RandAugment", "TrivialAugmentWide", "ColorJitter"):
        assert fd.from_torchvision(getattr(tv, name)()).transform.steps == (getattr(fd, name)(),)
    for name, value in (("GaussianBlur", 5), ("RandomSolarize", 9), ("RandomPosterize", 2)):
        assert fd.from_torchvision(getattr(tv, name)(value)).transform.steps == (getattr(fd, name)(value),)
    assert fd.from_torchvision(tv.RandomAdjustSharpness(2)).transform.steps == (fd.RandomAdjustSharpness(2),)


def test_floats_without_normalize_are_from_0_to_1(tv: Any) -> None:
    convert = tv.ConvertImageDtype(torch.float32)
    _, normalize = fd.from_torchvision(tv.Compose([tv.PILToTensor(), tv.RandomInvert(), convert]))
    assert normalize == ((0.0,) * 3, (1.0,) * 3)
    solarize, _ = fd.from_torchvision(tv.Compose([convert, tv.RandomSolarize(0.5), tv.RandomErasing(value=0.2)]))
    assert solarize == fd.Transform([fd.RandomSolarize(127.5), fd.RandomErasing(value=51.0)])


def test_to_dtype(v2: Any) -> None:
    scaled = v2.Compose([v2.ToImage(), v2.ToDtype(torch.uint8, scale=True), v2.ToDtype(torch.float32, scale=True)])
    assert fd.from_torchvision(scaled).normalize == ((0.0,) * 3, (1.0,) * 3)
    levels = v2.Compose([v2.ToDtype(torch.float32), v2.Normalize([127.5] * 3, [51.0] * 3), v2.RandomErasing()])
    transform, normalize = fd.from_torchvision(levels)
    assert normalize == ((0.5,) * 3, (0.2,) * 3)
    assert transform == fd.Transform([fd.RandomErasing(value=127.5)])


def test_noise_is_that_of_imagenet(tv: Any) -> None:
    convert, noise = tv.ConvertImageDtype(torch.float32), tv.RandomErasing(value="random")
    transform, _ = fd.from_torchvision(tv.Compose([convert, tv.Normalize(*IMAGENET), noise]))
    assert transform == fd.Transform([fd.RandomErasing(value="random")])
    with pytest.raises(TypeError, match="noise is that of"):
        fd.from_torchvision(tv.Compose([convert, noise]))


def test_antialias(v2: Any) -> None:
    plain = [v2.ToImage(), v2.Resize(30, antialias=False)]
    assert not fd.from_torchvision(v2.Compose(plain)).transform.antialias
    assert fd.from_torchvision(v2.Compose(plain[1:])).transform.antialias, "Pillow always does it"


def test_what_has_no_counterpart_is_listed_with_the_reason(tv: Any) -> None:
    compose = tv.Compose(
        [
            tv.RandomPerspective(),
            tv.Resize(30, interpolation=tv.InterpolationMode.NEAREST),
            tv.Grayscale(),
            tv.Lambda(lambda image: image),
            tv.RandomApply([tv.RandomHorizontalFlip()]),
            tv.Normalize([0.5] * 3, [0.5] * 3),
            len,
        ]
    )
    with pytest.raises(TypeError) as error:
        fd.from_torchvision(compose)
    for part in (
        "RandomPerspective",
        "nearest",
        "num_output_channels=1",
        "Lambda",
        "RandomApply is for steps that change pixels",
        "after ToTensor",
        "built-in function len",
    ):
        assert part in str(error.value)


def test_an_own_class_is_not_mistaken_for_torchvisions(tv: Any) -> None:
    class CenterCrop(tv.CenterCrop):  # type: ignore[misc]
        """Does something else."""

    with pytest.raises(TypeError, match="not a transform of torchvision's own"):
        fd.from_torchvision(CenterCrop(3))
    with pytest.raises(TypeError, match="not a transform of torchvision's own"):
        fd.from_torchvision(None)


def test_a_sequential_is_read_as_well(tv: Any) -> None:
    both = torch.nn.Sequential(tv.CenterCrop(9), tv.RandomInvert())
    assert fd.from_torchvision(both).transform == fd.Transform([fd.CenterCrop(9), fd.RandomInvert()])


def test_an_order_that_does_not_work_here_says_so(tv: Any) -> None:
    with pytest.raises(ValueError, match="can't follow"):
        fd.from_torchvision(tv.Compose([tv.ColorJitter(0.4), tv.CenterCrop(9)]))
    normalized = tv.Compose([tv.ConvertImageDtype(torch.float32), tv.Normalize(*IMAGENET), tv.ColorJitter(0.4)])
    with pytest.raises(TypeError, match="before Normalize"):
        fd.from_torchvision(normalized)
