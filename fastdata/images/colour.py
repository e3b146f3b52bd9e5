"""Colour and other pixel steps, carried out on a batch of uint8 images on its device.

Pixels are those of torchvision v2's functions for uint8 tensors. Whatever the batch and the number of threads, an image
comes out the same: only single additions, multiplications and the like, which every device rounds alike, and sums of
integers.
"""

from collections.abc import Sequence
from functools import partial
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastdata import splitmix
from fastdata.images import erasing, filters, levels
from fastdata.transforms.changes import Change, Operation
from fastdata.transforms.transform import Transform

_ERASING = (Operation.ERASE, Operation.ERASE_WITH_NOISE)
_VALUES_AT_ONCE = 1 << 25  # of a batch on a GPU, as float32: 128 MiB


def recolour(images: Tensor, transform: Transform, rngs: npt.NDArray[np.uint64]) -> Tensor:
    """The pixel steps of `transform` done to a batch; what it is called on stays as it is.

    `images` is uint8 (n, 3, height, width), on any device and in any memory format; the result has the same of each.
    `rngs` is `sample_rngs(seed, epoch, key_hashes)`, uint64 (n,). `images` themselves come back where there is nothing
    to do. Equal pixels on CPU and GPU, except where an affine map's source lies exactly between two pixels.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images are uint8 (n, 3, height, width), got {images.dtype} {tuple(images.shape)}")
    if rngs.shape != images.shape[:1]:
        raise ValueError(f"there are {len(images)} images, but random numbers of shape {rngs.shape}")
    height, width = images.shape[2:]
    changes = draw_changes(transform, rngs, (width, height)) if images.numel() else []
    if not changes:
        return images
    changed = images.clone(memory_format=torch.preserve_format)
    if images.device.type == "cpu":
        # An image at a time stays in the processor's cache.
        for number, own in enumerate(_by_image(changes, len(images))):
            _carry_out(changed[number : number + 1], own)
    else:
        at_once = max(1, _VALUES_AT_ONCE // (3 * height * width))
        for first in range(0, len(images), at_once):
            _carry_out(changed[first : first + at_once], _between(changes, first, first + at_once))
    return changed


def draw_changes(transform: Transform, rngs: npt.NDArray[np.uint64], size: tuple[int, int]) -> list[Change]:
    """What the pixel steps do to n images of `size` (width, height), in order.

    The numbers of the step at a position start at 2**32 + 2**16 times that, far from those of views and each other.
    """
    changes = []
    for position, step in transform.pixel_steps:
        first = (1 << 32) + (position << 16) + 1
        indices = np.arange(first, first + step.numbers, dtype=np.uint64)
        words = splitmix.words(rngs[:, np.newaxis], indices) >> np.uint64(11)
        changes += step.draw(words * np.float64(2.0**-53), size)
    return changes


def _by_image(changes: Sequence[Change], count: int) -> list[list[Change]]:
    """Those of each image, as if it were alone."""
    alone = np.zeros(1, np.intp)
    own: list[list[Change]] = [[] for _ in range(count)]
    for operation, rows, values in changes:
        for place, row in enumerate(rows.tolist()):
            own[row].append(Change(operation, alone, values[place : place + 1]))
    return own


def _between(changes: Sequence[Change], first: int, stop: int) -> list[Change]:
    """Those of some consecutive images, by their numbers among these."""
    found = []
    for operation, rows, values in changes:
        kept = (first <= rows) & (rows < stop)
        if kept.any():
            found.append(Change(operation, rows[kept] - first, values[kept]))
    return found


def _carry_out(images: Tensor, changes: Sequence[Change]) -> None:
    """In place. Between two steps that erase, pixels are whole numbers in float32, in planes."""
    for erases, some in groupby(changes, lambda change: change.operation in _ERASING):
        if erases:
            for change in some:
                erasing.erase(images, change)
        else:
            _recolour(images, list(some))


def _recolour(images: Tensor, changes: Sequence[Change]) -> None:
    if levels.looked_up(images, changes):
        return
    for compiled, some in groupby(changes, partial(levels.by_kernel, images)):
        if compiled:
            levels.recolour_by_kernel(images, list(some))
            continue
        planes = levels.to_planes(images)
        for change in some:
            planes = _changed(planes, change)
        levels.from_planes(planes, images)


def _changed(planes: Tensor, change: Change) -> Tensor:
    """The operation done to those of the images that it is for; may overwrite `planes`."""
    if len(change.rows) == len(planes):
        return _operated(planes, change)
    rows = torch.from_numpy(change.rows).to(planes.device)
    return planes.index_copy_(0, rows, _operated(planes.index_select(0, rows), change))


def _operated(planes: Tensor, change: Change) -> Tensor:
    if change.operation in (Operation.BLUR, Operation.SHARPNESS, Operation.NEAREST, Operation.BILINEAR):
        return filters.operated(planes, change.operation, change.values)
    return levels.operated(planes, change.operation, change.values)
