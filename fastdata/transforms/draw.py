"""A view of an image: the steps of a transform folded into what a decoder needs to know of it.

Random numbers belong to the sample: they are a function of seed, epoch and key, and each step has its own of them. The
compiled kernel draws by the same rules, with the same arithmetic in the same order; what it refuses is drawn here.
"""

import functools
import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import assert_never, cast

import numpy as np

from fastdata import splitmix
from fastdata.errors import DrawError
from fastdata.sample import key_hash
from fastdata.transforms.steps import (
    CenterCrop,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    Step,
    TransformStep,
)
from fastdata.transforms.transform import Transform, as_transform
from fastdata.transforms.view import Box, View

MAX_RESIZED = 178_956_970
"""Pixels that an image may be resized to, Pillow's limit. A strip resized by its shorter side asks for any number."""

ATTEMPTS, NUMBERS_OF_CROP = 10, 4
"""Of a RandomResizedCrop: how often it tries, and random numbers each time."""


def sample_rng(seed: int, epoch: int, key: str) -> int:
    """Where the random numbers of one sample in one epoch start, and of nothing else: a number below 2**64."""
    return splitmix.word(int(_start(seed, epoch)), key_hash(key))


def sample_rngs(seed: int, epochs: int | Sequence[int], key_hashes: splitmix.Words) -> splitmix.Words:
    """The same for some samples, by the `key_hash` of each: uint64, in their shape; in an epoch, or one for each."""
    if isinstance(epochs, int):
        return splitmix.words(_start(seed, epochs), key_hashes)
    return splitmix.words(np.array([_start(seed, epoch) for epoch in epochs], np.uint64), key_hashes)


@functools.lru_cache(64)
def _start(seed: int, epoch: int) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(f"{seed}/{epoch}".encode(), digest_size=8).digest(), "little"))


def draw(transform: Transform | TransformStep | Iterable[TransformStep], image_size: tuple[int, int], rng: int) -> View:
    """One view of an upright image of `image_size` (width, height), by the random numbers from `rng` on.

    DrawError where there is none: a side below 1, a crop that is larger than the image, or one that pads before a step
    that resizes.
    """
    transform = as_transform(transform)
    view, used = _Folded(*image_size), 0
    for step in transform.closed_steps:
        view.fold(step, rng, used)
        used += numbers_of(step)
    return View(
        view.box,
        view.size,
        view.window,
        view.flip,
        transform.antialias,
        transform.reducing_gap,
        view.flip_vertical,
        transform.interpolation,
    )


def numbers_of(step: Step) -> int:
    """How many random numbers a step has for itself, whether it needs them all or not."""
    match step:
        case RandomResizedCrop():
            return ATTEMPTS * NUMBERS_OF_CROP
        case RandomHorizontalFlip() | RandomVerticalFlip():
            return 1
        case RandomCrop():
            return 2
        case _:
            return 0


class _Folded:
    """A view in the making: what `View` has."""

    def __init__(self, width: int, height: int) -> None:
        if width < 1 or height < 1:
            raise DrawError(f"an image has at least one pixel, got {width}x{height}")
        self.size = (width, height)
        self.box = self.window = Box(0, 0, width, height)
        self.flip = self.flip_vertical = False

    def fold(self, step: Step, rng: int, first: int) -> None:
        """What the step does; its random numbers are those from number `first` on."""
        shown = self.window.width, self.window.height
        match step:
            case RandomResizedCrop():
                self._crop(_random_resized_crop(step, *shown, rng, first))
                self._resize(*_wanted(step), step)
            case RandomHorizontalFlip():
                self.flip ^= splitmix.uniform(rng, first) < step.p
            case RandomVerticalFlip():
                self.flip_vertical ^= splitmix.uniform(rng, first) < step.p
            case Resize():
                self._resize(*_resized(step, *shown), step)
            case CenterCrop():
                self._crop(_center(step, *shown))
            case RandomCrop():
                self._pad(cast("tuple[int, int, int, int]", step.padding))
                self._random_crop(step, rng, first)
            case Pad():
                self._pad(cast("tuple[int, int, int, int]", step.padding))
            case _:
                assert_never(step)

    def _crop(self, crop: Box) -> None:
        """Cut a box, in coordinates of what the view shows, out of it."""
        width, height = self.window.width, self.window.height
        if (crop.left < 0 or crop.top < 0 or crop.right > width or crop.bottom > height) and not self._shows_all():
            raise DrawError("what was cropped or padded before can't be padded: put the larger crop first")
        left = self.window.left + (width - crop.right if self.flip else crop.left)
        top = self.window.top + (height - crop.bottom if self.flip_vertical else crop.top)
        right, bottom = left + crop.width, top + crop.height
        is_resized = self.size != (self.box.width, self.box.height)
        if is_resized or left < 0 or top < 0 or right > self.size[0] or bottom > self.size[1]:
            self.window = Box(left, top, right, bottom)
            return
        # Where nothing is resized yet the crop is a smaller box of the source, and the rest need not be decoded.
        self.box = Box(self.box.left + left, self.box.top + top, self.box.left + right, self.box.top + bottom)
        self.size = (crop.width, crop.height)
        self.window = Box(0, 0, *self.size)

    def _resize(self, width: int, height: int, step: Step) -> None:
        if not self._shows_all():
            raise DrawError(
                f"{step} can't follow what pads: the image is {self.size[0]}x{self.size[1]}, padded to "
                f"{self.window.width}x{self.window.height}. Put the step that resizes first"
            )
        if (width, height) != (self.box.width, self.box.height) and width * height > MAX_RESIZED:
            box = f"{self.box.width}x{self.box.height}"
            raise DrawError(f"{step} is out of bounds: {width}x{height} of {box}, more than {MAX_RESIZED} pixels")
        self.size = (width, height)
        self.window = Box(0, 0, width, height)

    def _pad(self, padding: tuple[int, int, int, int]) -> None:
        left, top, right, bottom = padding
        if any(padding):
            self._crop(Box(-left, -top, self.window.width + right, self.window.height + bottom))

    def _random_crop(self, step: RandomCrop, rng: int, first: int) -> None:
        """torchvision's RandomCrop, whose `pad_if_needed` pads both sides by all that is missing."""
        width, height = _wanted(step)
        x, y = max(0, width - self.window.width), max(0, height - self.window.height)
        if (x or y) and not step.pad_if_needed:
            raise DrawError(
                f"{step} is larger than the image of {self.window.width}x{self.window.height}: resize it before, or "
                "say pad_if_needed=True"
            )
        self._pad((x, y, x, y))
        top = int(splitmix.uniform(rng, first) * (self.window.height - height + 1))
        left = int(splitmix.uniform(rng, first + 1) * (self.window.width - width + 1))
        self._crop(Box(left, top, left + width, top + height))

    def _shows_all(self) -> bool:
        """Whether it shows all of what is resized, and no more."""
        return self.window == (0, 0, *self.size)


def _wanted(step: RandomResizedCrop | CenterCrop | RandomCrop) -> tuple[int, int]:
    height, width = cast("tuple[int, int]", step.size)
    return width, height


def _random_resized_crop(step: RandomResizedCrop, width: int, height: int, rng: int, first: int) -> Box:
    """torchvision's `RandomResizedCrop.get_params`: ten attempts, then the largest central crop in the ratio."""
    low, high = math.log(step.ratio[0]), math.log(step.ratio[1])
    for at in range(first, first + ATTEMPTS * NUMBERS_OF_CROP, NUMBERS_OF_CROP):
        area = width * height * (step.scale[0] + (step.scale[1] - step.scale[0]) * splitmix.uniform(rng, at))
        ratio = math.exp(low + (high - low) * splitmix.uniform(rng, at + 1))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = int(splitmix.uniform(rng, at + 2) * (height - h + 1))
            left = int(splitmix.uniform(rng, at + 3) * (width - w + 1))
            return Box(left, top, left + w, top + h)
    w, h = width, height
    if width / height < step.ratio[0]:
        h = max(1, round(width / step.ratio[0]))
    elif width / height > step.ratio[1]:
        w = max(1, round(height * step.ratio[1]))
    left, top = (width - w) // 2, (height - h) // 2
    return Box(left, top, left + w, top + h)


def _resized(step: Resize, width: int, height: int) -> tuple[int, int]:
    """torchvision's rule: the side that follows from the other is rounded down."""
    if not isinstance(step.size, int):
        return step.size[1], step.size[0]
    shorter, longer = step.size, int(step.size * max(width, height) / min(width, height))
    if step.max_size is not None and longer > step.max_size:
        shorter, longer = int(step.max_size * shorter / longer), step.max_size
    if shorter < 1:
        raise DrawError(f"{step} leaves nothing of an image of {width}x{height}")
    return (shorter, longer) if width <= height else (longer, shorter)


def _center(step: CenterCrop, width: int, height: int) -> Box:
    """torchvision's offsets: rounded half to even inside the image; padding has its odd pixel right and below."""
    wanted = _wanted(step)
    left, top = (
        -((want - have) // 2) if want > have else round((have - want) / 2.0)
        for want, have in zip(wanted, (width, height), strict=True)
    )
    return Box(left, top, left + wanted[0], top + wanted[1])
