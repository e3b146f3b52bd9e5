"""Rectangles of images erased, with a colour or with noise."""

import functools
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastdata import splitmix
from fastdata.transforms.changes import Change, Operation

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's training images
_QUANTILES = 1 << 16


def erase(images: Tensor, change: Change) -> None:
    """In uint8 images (n, 3, height, width), in place, in any memory format."""
    boxes = change.values[:, :4].astype(np.int64)
    if images.device.type != "cpu":
        _erase_together(images, change, boxes)
        return
    for row, (left, top, width, height), values in zip(change.rows, boxes.tolist(), change.values, strict=True):
        box = images[row, :, top : top + height, left : left + width]
        if change.operation is Operation.ERASE:
            box.copy_(torch.from_numpy(_colours(values[4:])).view(3, 1, 1))
        else:
            box.copy_(torch.from_numpy(_noise(values[4], height * width)).view(3, height, width))


def _erase_together(images: Tensor, change: Change, boxes: npt.NDArray[np.int64]) -> None:
    """The same by a few launches, for all images at once."""
    device = images.device
    left, top, width, height = torch.from_numpy(boxes).to(device).view(-1, 4, 1, 1, 1).unbind(1)
    x = torch.arange(images.shape[3], device=device)
    y = torch.arange(images.shape[2], device=device).view(-1, 1)
    inside = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
    rows = torch.from_numpy(change.rows).to(device)
    erased = images.index_select(0, rows)
    if change.operation is Operation.ERASE:
        colours = torch.from_numpy(_colours(change.values[:, 4:])).to(device)
        erased = torch.where(inside, colours.view(-1, 3, 1, 1), erased)
    else:
        noise = [_noise(*arguments).ravel() for arguments in zip(change.values[:, 4], boxes[:, 2:].prod(1), strict=True)]
        erased = erased.masked_scatter(inside, torch.from_numpy(np.concatenate(noise)).to(device))
    images.index_copy_(0, rows, erased)


def _colours(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    return np.rint(values).astype(np.uint8)


def _noise(seed: float, pixels: int) -> npt.NDArray[np.uint8]:
    """uint8 (3, pixels): independent, normal with the mean and standard deviation of ImageNet's channels."""
    indices = np.arange(1, 3 * pixels // 4 + 2, dtype=np.uint64)
    quantiles = splitmix.words(np.uint64(seed), indices).astype("<u8").view("<u2")[: 3 * pixels]
    channels = zip(_levels(), quantiles.reshape(3, pixels), strict=True)
    return np.stack([levels.take(places) for levels, places in channels])


@functools.lru_cache(1)
def _levels() -> npt.NDArray[np.uint8]:
    """The levels at equally likely places of each channel's distribution, cut off at 0 and 255; uint8 (3, 65536)."""
    normal = NormalDist()
    deviates = np.array([normal.inv_cdf((place + 0.5) / _QUANTILES) for place in range(_QUANTILES)])
    channels = [255.0 * (mean + deviation * deviates) for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)]
    return np.rint(np.clip(channels, 0.0, 255.0)).astype(np.uint8)
