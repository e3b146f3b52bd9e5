"""One view of an image: the steps of a transform folded into what a decoder needs to know."""

import math
import random
from collections.abc import Iterable
from hashlib import blake2b
from typing import assert_never, cast

from fastdata.errors import DrawError
from fastdata.transforms.steps import (
    Box,
    CenterCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    Step,
    Transform,
    View,
    as_transform,
)


def sample_rng(seed: int, epoch: int, key: str) -> random.Random:
    """The random numbers of one sample in one epoch, and of nothing else.

    Python promises that `Random(integer).random()` gives the same numbers in every version; `draw` uses only it.
    """
    name = f"{seed}/{epoch}/{key}".encode(errors="surrogateescape")
    return random.Random(int.from_bytes(blake2b(name, digest_size=16).digest(), "little"))


def draw(transform: Transform | Iterable[Step], image_size: tuple[int, int], rng: random.Random) -> View:
    """One view of an upright image of `image_size` (width, height).

    DrawError where there is none: a side below 1, or a CenterCrop that pads this image before a step that resizes.
    """
    transform = as_transform(transform)
    width, height = image_size
    if width < 1 or height < 1:
        raise DrawError(f"an image has at least one pixel, got {width}x{height}")
    whole = Box(0, 0, width, height)
    view = View(whole, image_size, whole, False, transform.antialias, transform.reducing_gap)
    for step in transform.steps:
        now = (view.window.width, view.window.height)
        match step:
            case RandomResizedCrop():
                view = _resize(_crop(view, _random_crop(step, now, rng)), _output(step), step)
            case RandomHorizontalFlip():
                view = view._replace(flip=view.flip != (rng.random() < step.p))
            case Resize():
                view = _resize(view, _resized(step, now), step)
            case CenterCrop():
                view = _crop(view, _center(step, now))
            case _:
                assert_never(step)
    return view


def _output(step: RandomResizedCrop | CenterCrop) -> tuple[int, int]:
    height, width = cast("tuple[int, int]", step.size)
    return width, height


def _random_crop(step: RandomResizedCrop, image_size: tuple[int, int], rng: random.Random) -> Box:
    """torchvision's `RandomResizedCrop.get_params`: ten attempts, then the largest central crop in the ratio."""
    width, height = image_size
    low, high = math.log(step.ratio[0]), math.log(step.ratio[1])
    for _ in range(10):
        area = width * height * (step.scale[0] + (step.scale[1] - step.scale[0]) * rng.random())
        ratio = math.exp(low + (high - low) * rng.random())
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = int(rng.random() * (height - h + 1))
            left = int(rng.random() * (width - w + 1))
            return Box(left, top, left + w, top + h)
    w, h = width, height
    if width / height < step.ratio[0]:
        h = max(1, round(width / step.ratio[0]))
    elif width / height > step.ratio[1]:
        w = max(1, round(height * step.ratio[1]))
    left, top = (width - w) // 2, (height - h) // 2
    return Box(left, top, left + w, top + h)


def _resized(step: Resize, image_size: tuple[int, int]) -> tuple[int, int]:
    """torchvision's rule: the longer side is rounded down."""
    if not isinstance(step.size, int):
        height, width = step.size
        return width, height
    width, height = image_size
    if width <= height:
        return step.size, int(step.size * height / width)
    return int(step.size * width / height), step.size


def _center(step: CenterCrop, image_size: tuple[int, int]) -> Box:
    """torchvision's offsets: rounded half to even inside the image; padding has its odd pixel right and below."""
    size = _output(step)
    left, top = (
        -((crop - side) // 2) if crop > side else round((side - crop) / 2.0)
        for crop, side in zip(size, image_size, strict=True)
    )
    return Box(left, top, left + size[0], top + size[1])


def _crop(view: View, crop: Box) -> View:
    """`view` with `crop`, in coordinates of what `view` shows, cut out of it."""
    box, size, window, flip, antialias, reducing_gap = view
    if window != (0, 0, *size) and not _within(crop, window):
        raise DrawError("a CenterCrop can't pad what was cropped or padded before: put the larger one first")
    width, height = crop.right - crop.left, crop.bottom - crop.top
    left = window.left + (window.right - window.left - crop.right if flip else crop.left)
    top = window.top + crop.top
    right, bottom = left + width, top + height
    if left < 0 or top < 0 or right > size[0] or bottom > size[1] or size != (box.width, box.height):
        return View(box, size, Box(left, top, right, bottom), flip, antialias, reducing_gap)
    # Nothing is resized yet: the crop is a smaller box of the source, and the rest need not be decoded.
    box = Box(box.left + left, box.top + top, box.left + right, box.top + bottom)
    return View(box, (width, height), Box(0, 0, width, height), flip, antialias, reducing_gap)


def _within(crop: Box, window: Box) -> bool:
    return crop.left >= 0 and crop.top >= 0 and crop.right <= window.width and crop.bottom <= window.height


def _resize(view: View, size: tuple[int, int], step: Step) -> View:
    box, old, window, flip, antialias, reducing_gap = view
    if window != (0, 0, *old):
        raise DrawError(
            f"{step} can't follow a CenterCrop that pads: the image is {old[0]}x{old[1]}, "
            f"padded to {window.width}x{window.height}. Put the step that resizes first"
        )
    return View(box, size, Box(0, 0, *size), flip, antialias, reducing_gap)
