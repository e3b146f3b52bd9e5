"""Pixel steps carried out: against torchvision itself, and the same whatever the batch, the memory and the threads."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import fastdata as fd
from fastdata.images import colour, erasing, kernel, levels
from fastdata.images.colour import draw_changes, recolour
from fastdata.transforms.auto_augment import _OPERATIONS
from fastdata.transforms.changes import Change, Operation
from fastdata.transforms.draw import sample_rngs
from fastdata.transforms.steps import PixelStep
from support.pictures import photo
from support.torchvision import torchvision

needs_kernel = pytest.mark.skipif(kernel.KERNEL is None, reason="the kernel is not built")

# The worst difference from torchvision in levels, and the largest share of an image's values that differ. Not 0 where
# torchvision adds a product in one rounding, sums in another order, or takes hues through division.
TOLERANCES = dict.fromkeys(Operation, (0, 0.0)) | {
    Operation.CONTRAST: (1, 0.01),
    Operation.SATURATION: (1, 0.05),
    Operation.HUE: (1, 0.01),
    Operation.SHARPNESS: (1, 0.001),
    Operation.BLUR: (1, 0.001),
    Operation.NEAREST: (255, 0.04),  # what comes from exactly between two pixels is either: a row or two of 47
    Operation.BILINEAR: (1, 0.01),
}

STEPS: list[PixelStep] = [
    fd.ColorJitter(0.4, 0.4, 0.4, 0.1),
    fd.ColorJitter(0.9, (0.2, 3.0), (0.0, 2.5), 0.5),
    fd.Grayscale(),
    fd.RandomGrayscale(0.5),
    fd.RandomInvert(),
    fd.RandomSolarize(128.0),
    fd.RandomPosterize(3),
    fd.RandomAutocontrast(),
    fd.RandomEqualize(),
    fd.RandomAdjustSharpness(1.8),
    fd.GaussianBlur((9, 5), (0.1, 3.0)),
    fd.RandomErasing(0.8, value=(3, 200, 77)),
    fd.RandomErasing(0.8, value="random"),
    fd.RandomApply([fd.ColorJitter(0.4, 0.4, 0.4, 0.1), fd.RandomGrayscale(0.5)], 0.8),
    fd.RandAugment(3),
    fd.RandAugment(3, 20, interpolation="bilinear", fill=(10, 200, 90)),
    fd.TrivialAugmentWide(),
]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """So small images are only held up by more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def v2() -> Iterator[Any]:
    with torchvision() as module:
        yield module.transforms.v2


@pytest.fixture(scope="module")
def hundred_photos(photos: Path) -> Tensor:
    """uint8 (100, 3, 96, 96) in channels-last memory."""
    small = [fd.Resize(96), fd.CenterCrop(96)]
    dataset = fd.ImageDirectoryDataset(photos, pattern="**/*.jpg", labels=None, transform=small)
    return torch.stack([dataset[number * (len(dataset) // 100)][0] for number in range(100)])


def made(count: int = 8, width: int = 61, height: int = 47) -> Tensor:
    """uint8 (count, 3, height, width) in channels-last memory; among them a grey one, one of one colour, and noise."""
    pixels = np.stack([photo(width, height, seed) for seed in range(count)])
    pixels[-1] = pixels[-1, :, :, :1]
    if count > 3:
        pixels[1] = (3, 250, 90)
        pixels[2] = np.random.default_rng(0).integers(0, 256, pixels[2].shape, np.uint8)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def rngs(count: int, epoch: int = 0) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return sample_rngs(0, epoch, np.arange(count, dtype=np.uint64))


def by_torchvision(v2: Any, operation: Operation, values: list[float]) -> Callable[[Tensor], Tensor]:
    """The same operation as torchvision's function of one image."""
    f = v2.functional
    match operation:
        case Operation.BRIGHTNESS:
            return lambda image: f.adjust_brightness(image, *values)
        case Operation.CONTRAST:
            return lambda image: f.adjust_contrast(image, *values)
        case Operation.SATURATION:
            return lambda image: f.adjust_saturation(image, *values)
        case Operation.HUE:
            return lambda image: f.adjust_hue(image, *values)
        case Operation.GRAYSCALE:
            return lambda image: f.rgb_to_grayscale(image, 3)
        case Operation.SOLARIZE:
            return lambda image: f.solarize(image, *values)
        case Operation.POSTERIZE:
            return lambda image: f.posterize(image, int(values[0]))
        case Operation.INVERT:
            return lambda image: f.invert(image)
        case Operation.AUTOCONTRAST:
            return lambda image: f.autocontrast(image)
        case Operation.EQUALIZE:
            return lambda image: f.equalize(image)
        case Operation.SHARPNESS:
            return lambda image: f.adjust_sharpness(image, *values)
        case Operation.BLUR:
            return lambda image: f.gaussian_blur(image, [int(v) for v in values[:2]], [values[2]] * 2)
        case Operation.ERASE:
            left, top, width, height = (int(v) for v in values[:4])
            colours = torch.tensor(values[4:]).view(3, 1, 1)
            return lambda image: f.erase(image, top, left, height, width, colours)
    raise AssertionError(operation)


CASES: list[tuple[Operation, list[float]]] = [
    *((operation, [factor]) for operation in list(Operation)[:3] for factor in (0.0, 0.6, 1.0, 1.37, 3.0)),
    *((Operation.HUE, [shift]) for shift in (-0.5, -0.4, -0.1, 0.0, 0.03, 0.1, 1 / 3, 0.45, 0.5)),
    (Operation.GRAYSCALE, []),
    (Operation.INVERT, []),
    (Operation.AUTOCONTRAST, []),
    (Operation.EQUALIZE, []),
    *((Operation.SOLARIZE, [threshold]) for threshold in (0.0, 100.3, 255.0)),
    *((Operation.POSTERIZE, [bits]) for bits in (0.0, 3.0, 8.0)),
    *((Operation.SHARPNESS, [factor]) for factor in (0.0, 0.5, 1.9)),
    *((Operation.BLUR, [w, h, sigma]) for w, h, sigma in ((23.0, 23.0, 0.1), (23.0, 9.0, 1.7), (3.0, 5.0, 7.0))),
    (Operation.ERASE, [3.0, 5.0, 20.0, 11.0, 0.0, 255.0, 17.0]),
    (Operation.ERASE, [0.0, 0.0, 0.0, 11.0, 0.0, 255.0, 17.0]),
]


def carried_out(images: Tensor, operation: Operation, values: list[float]) -> Tensor:
    changed = images.clone()
    for number in range(len(images)):
        change = Change(operation, np.zeros(1, np.intp), np.array([values], np.float64).reshape(1, len(values)))
        colour._carry_out(changed[number : number + 1], [change])
    return changed


def assert_close(ours: Tensor, theirs: Tensor, tolerance: tuple[int, float]) -> None:
    """Image by image: levels, and the share of values that differ."""
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        off = (one.int() - other.int()).abs()
        assert off.max() <= tolerance[0], f"image {number} is off by {off.max()} levels"
        assert (share := (off > 0).float().mean().item()) <= tolerance[1], f"{share} of image {number} is off"


@pytest.mark.parametrize(("operation", "values"), CASES)
def test_pixels_are_torchvisions(v2: Any, operation: Operation, values: list[float]) -> None:
    images = made()
    reference = by_torchvision(v2, operation, values)
    theirs = torch.stack([reference(image.contiguous()) for image in images])
    assert_close(carried_out(images, operation, values), theirs, TOLERANCES[operation])


@pytest.mark.parametrize(("operation", "values"), CASES)
def test_pixels_of_photos_are_torchvisions(
    v2: Any, hundred_photos: Tensor, operation: Operation, values: list[float]
) -> None:
    reference = by_torchvision(v2, operation, values)
    theirs = torch.stack([reference(image.contiguous()) for image in hundred_photos])
    assert_close(carried_out(hundred_photos, operation, values), theirs, TOLERANCES[operation])


@pytest.mark.parametrize("bins", [2, 10, 31])
@pytest.mark.parametrize("name", _OPERATIONS)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("fill", [None, (10.0, 200.0, 90.0)])
def test_each_magnitude_of_the_automatic_augmentations_is_torchvisions(
    v2: Any, name: str, bins: int, interpolation: Any, fill: tuple[float, float, float] | None
) -> None:
    images = made(2)
    height, width = images.shape[2:]
    chosen = (_OPERATIONS.index(name) + 0.5) / len(_OPERATIONS)
    for number in range(0, bins, 3):
        rand = fd.RandAugment(1, number, bins, interpolation, fill)
        trivial = fd.TrivialAugmentWide(bins, interpolation, fill)
        for sign in (0.0, 0.75):
            for ours, theirs, numbers in (
                (rand, v2.RandAugment, [chosen, sign]),
                (trivial, v2.TrivialAugmentWide, [chosen, (number + 0.5) / bins, sign]),
            ):
                magnitudes, signed = theirs._AUGMENTATION_SPACE[name]
                strength = magnitudes(bins, height, width)
                magnitude = 0.0 if strength is None else float(strength[number]) * (-1 if signed and not sign else 1)
                method = theirs(interpolation=v2.InterpolationMode(interpolation), fill=fill)
                expected = torch.stack(
                    [
                        method._apply_image_or_video_transform(
                            image.contiguous(), name, magnitude, method.interpolation, method._fill
                        )
                        for image in images
                    ]
                )
                changes = ours.draw(np.array([numbers]), (width, height))
                changed = images.clone()
                for row in range(len(images)):
                    colour._carry_out(changed[row : row + 1], changes)
                tolerance = TOLERANCES[changes[0].operation] if changes else (0, 0.0)
                assert_close(changed, expected, tolerance)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_an_image_comes_out_the_same_alone_in_a_batch_and_in_any_memory(step: PixelStep) -> None:
    images, transform = made(), fd.Transform([step])
    before = images.clone()
    changed = recolour(images, transform, rngs(len(images)))
    assert torch.equal(images, before)
    assert not torch.equal(changed, images)
    assert changed.stride() == images.stride()
    assert changed.dtype == torch.uint8
    planar = recolour(images.contiguous(), transform, rngs(len(images)))
    assert planar.is_contiguous()
    assert torch.equal(planar, changed)
    for number in range(len(images)):
        alone = recolour(images[number : number + 1], transform, rngs(len(images))[number : number + 1])
        assert torch.equal(alone[0], changed[number])


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_the_number_of_threads_makes_no_difference(step: PixelStep) -> None:
    images, transform = made(4, 303, 301), fd.Transform([step])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = recolour(images, transform, rngs(4))
        torch.set_num_threads(3)
        three = recolour(images, transform, rngs(4))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one, three)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_batch_at_once_as_on_a_gpu_is_the_same(step: PixelStep, monkeypatch: pytest.MonkeyPatch) -> None:
    images, transform = made(12), fd.Transform([step])
    expected = recolour(images, transform, rngs(12))
    monkeypatch.setattr(erasing, "_erase_one_by_one", erasing._erase_together)
    at_once = images.clone()
    colour._carry_out(at_once, draw_changes(transform, rngs(12), (61, 47)))
    assert torch.equal(at_once, expected)
    in_parts = images.clone()
    for first in (0, 5, 10):
        changes = colour._between(draw_changes(transform, rngs(12), (61, 47)), first, first + 5)
        colour._carry_out(in_parts[first : first + 5], changes)
    assert torch.equal(in_parts, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_pixels_on_a_gpu_are_those_on_the_cpu(step: PixelStep) -> None:
    images, transform = made(12), fd.Transform([step])
    expected = recolour(images, transform, rngs(12))
    changed = recolour(images.cuda(), transform, rngs(12))
    assert changed.device.type == "cuda"
    assert changed.stride() == images.stride()
    moves = isinstance(step, fd.RandAugment | fd.TrivialAugmentWide)
    assert_close(changed.cpu(), expected, (255, 0.01) if moves else (0, 0.0))


@pytest.mark.parametrize("step", [step for step in STEPS if step.commutes_with_flips], ids=str)
@pytest.mark.parametrize("dimension", [2, 3])
def test_what_may_come_before_a_flip_gives_the_mirrored_pixels(step: PixelStep, dimension: int) -> None:
    images, transform = made(), fd.Transform([step])
    flipped = recolour(images.flip(dimension), transform, rngs(len(images)))
    assert torch.equal(flipped, recolour(images, transform, rngs(len(images))).flip(dimension))


@settings(max_examples=30, deadline=None)
@given(st.floats(-0.5, 0.5), st.integers(0, 2**32))
def test_a_shift_of_hue_keeps_the_greatest_and_the_least_value(shift: float, seed: int) -> None:
    images = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (1, 3, 9, 7), np.uint8))
    turned = carried_out(images, Operation.HUE, [shift])
    assert torch.equal(turned.amax(1), images.amax(1))
    assert torch.equal(turned.amin(1), images.amin(1))


def test_noise_has_imagenets_mean_and_deviation_and_is_another_for_each_sample_and_epoch() -> None:
    images = torch.zeros(40, 3, 64, 64, dtype=torch.uint8)
    transform = fd.Transform([fd.RandomErasing(1.0, scale=(0.8, 0.8), ratio=(1.0, 1.0), value="random")])
    changed = recolour(images, transform, rngs(40))
    noise = torch.stack([image[:, 7:57, 7:57] for image in changed]).double() / 255
    torch.testing.assert_close(noise.mean((0, 2, 3)), torch.tensor([0.485, 0.456, 0.406]).double(), atol=0.004, rtol=0)
    torch.testing.assert_close(noise.std((0, 2, 3)), torch.tensor([0.229, 0.224, 0.225]).double(), atol=0.012, rtol=0)
    assert len({image.numpy().tobytes() for image in noise}) == 40
    assert not torch.equal(changed, recolour(images, transform, rngs(40, epoch=1)))
    red, green = noise[0, 0].flatten(), noise[0, 1].flatten()
    assert abs(torch.corrcoef(torch.stack([red, green]))[0, 1]) < 0.1


def test_steps_follow_each_other_and_have_numbers_of_their_own() -> None:
    images, twice = made(), fd.Transform([fd.RandomInvert(), fd.RandomInvert()])
    first, second = fd.Transform([fd.RandomInvert()]), fd.Transform([fd.CenterCrop(8), fd.RandomInvert()])
    one_after_the_other = recolour(recolour(images, first, rngs(8)), second, rngs(8))
    assert torch.equal(recolour(images, twice, rngs(8)), one_after_the_other)
    assert not torch.equal(recolour(images, first, rngs(8)), recolour(images, second, rngs(8)))


def test_without_anything_to_do_the_images_themselves_come_back() -> None:
    images = made()
    assert recolour(images, fd.Transform([fd.CenterCrop(5)]), rngs(8)) is images
    assert recolour(images, fd.Transform([fd.RandomInvert(0.0)]), rngs(8)) is images
    assert recolour(images[:0], fd.Transform([fd.Grayscale()]), rngs(0)).shape == (0, 3, 47, 61)


def test_other_images_are_refused() -> None:
    transform = fd.Transform([fd.Grayscale()])
    with pytest.raises(ValueError, match="uint8"):
        recolour(made().float(), transform, rngs(8))
    with pytest.raises(ValueError, match="uint8"):
        recolour(made()[0], transform, rngs(1))
    with pytest.raises(ValueError, match="8 images"):
        recolour(made(), transform, rngs(7))


def test_images_of_a_pixel() -> None:
    images = torch.tensor([[[[7]], [[200]], [[90]]]], dtype=torch.uint8)
    for step in STEPS:
        if not isinstance(step, fd.GaussianBlur):
            assert recolour(images, fd.Transform([step]), rngs(1)).shape == images.shape
    with pytest.raises(ValueError, match="1x1"):
        recolour(images, fd.Transform([fd.GaussianBlur(3)]), rngs(1))
    assert math.isclose(recolour(images, fd.Transform([fd.Grayscale()]), rngs(1))[0, 0].item(), 129)


def changed(operation: Operation, values: Sequence[float]) -> Change:
    return Change(operation, np.arange(1), np.array([values], np.float64))


@needs_kernel
@settings(max_examples=300)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
    st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from([Operation.BRIGHTNESS, Operation.CONTRAST, Operation.SATURATION]), st.floats(0, 3)
            ),
            st.tuples(st.just(Operation.HUE), st.floats(-0.5, 0.5)),
            st.tuples(st.just(Operation.SOLARIZE), st.floats(0, 256)),
            st.tuples(st.just(Operation.POSTERIZE), st.integers(0, 8)),
            st.tuples(st.sampled_from([Operation.GRAYSCALE, Operation.INVERT]), st.just(0.0)),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_the_kernel_changes_colours_to_the_last_bit_as_torch_does(
    height: int, width: int, seed: int, operations: list[tuple[Operation, float]]
) -> None:
    rng = np.random.default_rng(seed)
    levels_of = [256, 3, 2][seed % 3]  # few levels: greys and ties
    pixels = rng.integers(0, levels_of, (1, height, width, 3)).astype(np.uint8) * (255 // (levels_of - 1))
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    planes = images.to(torch.float32).contiguous()
    changes = [changed(operation, [value]) for operation, value in operations]
    for change in changes:
        planes = levels.operated(planes, change.operation, change.values)
        assert levels.by_kernel(images, change)
    levels.recolour_by_kernel(images, changes)
    assert torch.equal(images.to(torch.float32), planes)
