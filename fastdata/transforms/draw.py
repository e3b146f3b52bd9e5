"""Views of some images at once: the steps of a transform folded into what a decoder needs to know of each.

Random numbers belong to the sample: they are a function of seed, epoch and key, and each step has its own of them.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import assert_never, cast

import numpy as np
import numpy.typing as npt

from fastdata import splitmix
from fastdata.errors import DrawError
from fastdata.sample import key_hash
from fastdata.transforms.steps import (
    Box,
    CenterCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    Step,
    Transform,
    TransformStep,
    View,
    as_transform,
)

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Uniform = npt.NDArray[np.float64]

_ATTEMPTS, _NUMBERS_OF_CROP = 10, 4


def sample_rng(seed: int, epoch: int, key: str) -> int:
    """Where the random numbers of one sample in one epoch start, and of nothing else: a number below 2**64."""
    return int(sample_rngs(seed, epoch, np.array([key_hash(key)], np.uint64))[0])


def sample_rngs(seed: int, epochs: int | Sequence[int], key_hashes: splitmix.Words) -> splitmix.Words:
    """The same for some samples, by the `key_hash` of each: uint64, in their shape; in an epoch, or one for each."""
    if isinstance(epochs, int):
        return splitmix.words(_start(seed, epochs), key_hashes)
    return splitmix.words(np.array([_start(seed, epoch) for epoch in epochs], np.uint64), key_hashes)


@functools.lru_cache(64)
def _start(seed: int, epoch: int) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(f"{seed}/{epoch}".encode(), digest_size=8).digest(), "little"))


def draw(transform: Transform | Iterable[TransformStep], image_size: tuple[int, int], rng: int) -> View:
    """One view of an upright image of `image_size` (width, height), by the random numbers from `rng` on.

    DrawError where there is none: a side below 1, or a CenterCrop that pads this image before a step that resizes.
    """
    (view,) = draw_some(as_transform(transform), [image_size], np.array([rng], np.uint64))
    if isinstance(view, DrawError):
        raise view
    return view


def draw_some(transform: Transform, sizes: Sequence[tuple[int, int]], rngs: splitmix.Words) -> list[View | DrawError]:
    """A view of each of n upright images of `sizes` (width, height), or why there is none; `rngs` is uint64 (n,)."""
    views = _Views(np.array(sizes, np.int64).reshape(-1, 2))
    used = 0
    for step in transform.closed_steps:
        match step:
            case RandomResizedCrop():
                count = _ATTEMPTS * _NUMBERS_OF_CROP
                numbers = splitmix.uniform(rngs, used, count).reshape(-1, _ATTEMPTS, _NUMBERS_OF_CROP)
                used += count
                views.crop(_random_crops(step, views.shown(), numbers))
                views.resize(np.array(_output(step)), step)
            case RandomHorizontalFlip():
                views.flip ^= splitmix.uniform(rngs, used, 1)[:, 0] < step.p
                used += 1
            case Resize():
                views.resize(_resized(step, views.shown()), step)
            case CenterCrop():
                views.crop(_center(step, views.shown()))
            case _:
                assert_never(step)
    return views.finished(transform)


class _Views:
    """n views in the making: columns of what `View` has, and what is wrong with some."""

    def __init__(self, sizes: Ints) -> None:
        self.errors: dict[int, str] = {}
        empty: Flags = np.any(sizes < 1, axis=1)
        if empty.any():
            self._refuse(empty, lambda i: f"an image has at least one pixel, got {sizes[i, 0]}x{sizes[i, 1]}")
            sizes = np.maximum(sizes, 1)
        self.box = np.concatenate([np.zeros_like(sizes), sizes], axis=1)
        self.size = sizes
        self.window = self.box
        self.flip: Flags = np.zeros(len(sizes), np.bool_)

    def shown(self) -> Ints:
        """Width and height of what each view shows so far."""
        shown: Ints = self.window[:, 2:] - self.window[:, :2]
        return shown

    def crop(self, crops: Ints) -> None:
        """Cut boxes, in coordinates of what the views show, out of them."""
        shown, extent = self.shown(), crops[:, 2:] - crops[:, :2]
        outside = (crops[:, :2] < 0).any(axis=1) | (crops[:, 2:] > shown).any(axis=1)
        refused = outside & ~self._whole()
        if refused.any():
            self._refuse(
                refused,
                lambda _: "a CenterCrop can't pad what was cropped or padded before: put the larger one first",
            )
        begin = crops[:, :2] + self.window[:, :2]
        if self.flip.any():
            begin[:, 0] = np.where(self.flip, self.window[:, 0] + shown[:, 0] - crops[:, 2], begin[:, 0])
        end = begin + extent
        resized = (self.size != self.box[:, 2:] - self.box[:, :2]).any(axis=1)
        windowed = resized | (begin < 0).any(axis=1) | (end > self.size).any(axis=1)
        inside = np.concatenate([begin, end], axis=1)
        if windowed.all():
            self.window = inside
            return
        # Where nothing is resized yet the crop is a smaller box of the source, and the rest need not be decoded.
        smaller = np.concatenate([self.box[:, :2] + begin, self.box[:, :2] + end], axis=1)
        keep = windowed[:, np.newaxis]
        self.box = np.where(keep, self.box, smaller)
        self.size = np.where(keep, self.size, extent)
        self.window = np.where(keep, inside, np.concatenate([np.zeros_like(extent), extent], axis=1))

    def resize(self, sizes: Ints, step: Step) -> None:
        """Have the views in these sizes, (n, 2) or one for all."""
        padded = ~self._whole()
        if padded.any():
            shown, size = self.shown(), self.size
            self._refuse(
                padded,
                lambda i: (
                    f"{step} can't follow a CenterCrop that pads: the image is {size[i, 0]}x{size[i, 1]}, padded to "
                    f"{shown[i, 0]}x{shown[i, 1]}. Put the step that resizes first"
                ),
            )
        self.size = np.broadcast_to(sizes, self.size.shape)
        self.window = np.concatenate([np.zeros_like(self.size), self.size], axis=1)

    def finished(self, transform: Transform) -> list[View | DrawError]:
        columns = self.box.tolist(), self.size.tolist(), self.window.tolist(), self.flip.tolist()
        antialias, gap = transform.antialias, transform.reducing_gap
        views: list[View | DrawError] = [
            View(Box(*box), (size[0], size[1]), Box(*window), flip, antialias, gap)
            for box, size, window, flip in zip(*columns, strict=True)
        ]
        for number, problem in self.errors.items():
            views[number] = DrawError(problem)
        return views

    def _whole(self) -> Flags:
        """Whether each view shows all of what is resized, and no more."""
        whole: Flags = (self.window[:, :2] == 0).all(axis=1) & (self.window[:, 2:] == self.size).all(axis=1)
        return whole

    def _refuse(self, which: Flags, problem: Callable[[int], str]) -> None:
        for number in which.nonzero()[0].tolist():
            self.errors.setdefault(number, problem(number))


def _output(step: RandomResizedCrop | CenterCrop) -> tuple[int, int]:
    height, width = cast("tuple[int, int]", step.size)
    return width, height


def _random_crops(step: RandomResizedCrop, sizes: Ints, numbers: Uniform) -> Ints:
    """torchvision's `RandomResizedCrop.get_params`: ten attempts, then the largest central crop in the ratio."""
    width, height = (sizes[:, axis, np.newaxis].astype(np.float64) for axis in (0, 1))
    low, high = math.log(step.ratio[0]), math.log(step.ratio[1])
    area = width * height * (step.scale[0] + (step.scale[1] - step.scale[0]) * numbers[:, :, 0])
    ratio = np.exp(low + (high - low) * numbers[:, :, 1])
    widths, heights = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    rows, first = np.arange(len(sizes)), fits.argmax(axis=1)
    extent = np.stack([widths[rows, first], heights[rows, first]], axis=1).astype(np.int64)
    begin = (numbers[rows, first][:, [3, 2]] * (sizes - extent + 1)).astype(np.int64)
    if not (some := fits[rows, first]).all():
        central = ~some
        extent[central] = _within_ratio(step, sizes[central])
        begin[central] = (sizes[central] - extent[central]) // 2
    return np.concatenate([begin, begin + extent], axis=1)


def _within_ratio(step: RandomResizedCrop, sizes: Ints) -> Ints:
    """The largest extents within the range of ratios."""
    extents = sizes.copy()
    ratios = sizes[:, 0] / sizes[:, 1]
    narrow, wide = ratios < step.ratio[0], ratios > step.ratio[1]
    extents[narrow, 1] = np.maximum(1, np.rint(sizes[narrow, 0] / step.ratio[0]))
    extents[wide, 0] = np.maximum(1, np.rint(sizes[wide, 1] * step.ratio[1]))
    return extents


def _resized(step: Resize, sizes: Ints) -> Ints:
    """torchvision's rule: the longer side is rounded down."""
    if not isinstance(step.size, int):
        return np.array(step.size[::-1])
    longer = (step.size * sizes.max(axis=1) / sizes.min(axis=1)).astype(np.int64)
    upright = sizes[:, 0] <= sizes[:, 1]
    return np.stack([np.where(upright, step.size, longer), np.where(upright, longer, step.size)], axis=1)


def _center(step: CenterCrop, sizes: Ints) -> Ints:
    """torchvision's offsets: rounded half to even inside the image; padding has its odd pixel right and below."""
    extent = np.broadcast_to(np.array(_output(step)), sizes.shape)
    begin = np.where(extent > sizes, -((extent - sizes) // 2), np.rint((sizes - extent) / 2.0).astype(np.int64))
    return np.concatenate([begin, begin + extent], axis=1)
