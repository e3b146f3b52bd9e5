"""Operations on colours, for which a pixel's neighbours do not matter.

Planes are float32 (n, 3, height, width), contiguous, of whole numbers from 0 to 255. They may be overwritten.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastdata.images import kernel
from fastdata.transforms.changes import Change, Operation, Values

_POINTWISE = (Operation.BRIGHTNESS, Operation.SOLARIZE, Operation.POSTERIZE, Operation.INVERT)
_RED, _GREEN, _BLUE = 0.2989, 0.587, 0.114  # torchvision's weights of luminance


def to_planes(images: Tensor) -> Tensor:
    """float32 planes of uint8 images in any memory format."""
    if (pixels := _interleaved(images)) is None:
        return images.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    separate = torch.empty(images.shape, dtype=torch.uint8)
    cv2.split(pixels, list(separate[0].numpy()))
    return separate.to(torch.float32)


def from_planes(planes: Tensor, images: Tensor) -> None:
    """Write planes of whole numbers from 0 to 255 into uint8 images in any memory format."""
    if (pixels := _interleaved(images)) is None:
        images.copy_(planes)
    else:
        bytes_of_planes = cv2.convertScaleAbs(planes.view(-1, planes.shape[3]).numpy())
        cv2.merge(list(bytes_of_planes.reshape(planes.shape[1:])), pixels)


def _interleaved(images: Tensor) -> npt.NDArray[np.uint8] | None:
    """One image in channels-last memory on the CPU, where OpenCV is several times faster than torch's strides."""
    pixels = images[0].permute(1, 2, 0)
    if len(images) > 1 or images.device.type != "cpu" or pixels.stride() != (3 * pixels.shape[1], 3, 1):
        return None
    return pixels.numpy()


def looked_up(images: Tensor, changes: Sequence[Change]) -> bool:
    """Whether the changes were done in place by a table, as can be where a new level depends on the old one alone."""
    pixels = _interleaved(images)
    if pixels is None or not all(change.operation in _POINTWISE for change in changes):
        return False
    table = torch.arange(256, dtype=torch.float32).view(1, 1, 1, 256)
    for change in changes:
        table = operated(table, change.operation, change.values)
    cv2.LUT(pixels, table.to(torch.uint8).numpy().ravel(), pixels)
    return True


# As csrc/images/colour.h has them, in its order.
_BY_KERNEL = (
    Operation.BRIGHTNESS,
    Operation.CONTRAST,
    Operation.SATURATION,
    Operation.HUE,
    Operation.GRAYSCALE,
    Operation.SOLARIZE,
    Operation.POSTERIZE,
    Operation.INVERT,
)


def by_kernel(images: Tensor, change: Change) -> bool:
    """Whether the compiled kernel can do the change to these images: to one, in channels-last memory on the CPU."""
    return change.operation in _BY_KERNEL and kernel.KERNEL is not None and _interleaved(images) is not None


def recolour_by_kernel(images: Tensor, changes: Sequence[Change]) -> None:
    """Those changes, in place: the same pixels as by `operated`, to the last bit."""
    records = np.zeros(len(changes), kernel.CHANGE)
    for record, (operation, _, values) in zip(records, changes, strict=True):
        record["operation"] = _BY_KERNEL.index(operation)
        match operation:
            case Operation.CONTRAST | Operation.SATURATION:
                record["values"] = values[0, 0], 1.0 - values[0, 0], 0.0
            case Operation.HUE:
                record["values"] = _places(values[:, 0])[0]
            case Operation.POSTERIZE:
                record["values"] = 2.0 ** (8 - values[0, 0])
            case Operation.BRIGHTNESS | Operation.SOLARIZE:
                record["values"] = values[0, 0]
    kernel.recolour(images[0].permute(1, 2, 0).numpy(), records)


def operated(planes: Tensor, operation: Operation, values: Values) -> Tensor:
    """One of the operations of this module."""
    match operation:
        case Operation.BRIGHTNESS:
            return _levelled(planes.mul_(_each(values[:, 0], planes)))
        case Operation.CONTRAST:
            means = _luminance(planes).sum((1, 2, 3), dtype=torch.float64) / planes[0, 0].numel()
            return _blended(planes, means.float().view(-1, 1, 1, 1), values[:, 0])
        case Operation.SATURATION:
            return _blended(planes, _luminance(planes), values[:, 0])
        case Operation.HUE:
            return _turned(planes, values[:, 0])
        case Operation.GRAYSCALE:
            return planes.copy_(_luminance(planes))
        case Operation.SOLARIZE:
            return torch.where(planes >= _each(values[:, 0], planes), 255.0 - planes, planes)
        case Operation.POSTERIZE:
            step = _each(2.0 ** (8 - values[:, 0]), planes)
            return planes.div_(step).floor_().mul_(step)
        case Operation.INVERT:
            return torch.sub(255.0, planes, out=planes)
        case Operation.AUTOCONTRAST:
            return _stretched(planes)
        case Operation.EQUALIZE:
            return _equalized(planes)
        case _:
            raise AssertionError(operation)


def _each(column: npt.NDArray[np.float64], like: Tensor) -> Tensor:
    """A number for each image, float32 (n, 1, 1, 1)."""
    return torch.from_numpy(column.astype(np.float32)).to(like.device).view(-1, 1, 1, 1)


def _levelled(planes: Tensor) -> Tensor:
    """Cut off at 0 and 255 and rounded down, as the cast to uint8 does it."""
    return planes.clamp_(0.0, 255.0).floor_()


def _luminance(planes: Tensor) -> Tensor:
    """(n, 1, height, width), whole numbers."""
    red, green, blue = (planes[:, channel : channel + 1] for channel in range(3))
    luminance, part = red * _RED, green * _GREEN
    luminance.add_(part).add_(torch.mul(blue, _BLUE, out=part))
    return luminance.floor_()


def _blended(planes: Tensor, other: Tensor, factors: npt.NDArray[np.float64]) -> Tensor:
    other.mul_(_each(1.0 - factors, planes))
    return _levelled(planes.mul_(_each(factors, planes)).add_(other))


def _turned(planes: Tensor, shifts: npt.NDArray[np.float64]) -> Tensor:
    """The hue shifted by a part of a turn: what conversion to HSV and back gives, without any division.

    With `low`, `high` the least and the greatest of a pixel's three values and `spread` their difference, its hue in
    units of a sixth of a turn over `spread` is a sum of differences of values, from -3 spread to 3 spread: 0 is red,
    2 green, -2 blue. Around each colour's own place its value is `high` for a sixth of a turn to both sides, and falls
    to `low` within the next.
    """
    red, green, blue = (planes[:, channel : channel + 1] for channel in range(3))
    greater, lesser = torch.maximum(green, blue), torch.minimum(green, blue)
    high, low = torch.maximum(red, greater), torch.minimum(red, lesser)
    spread = high.sub_(low)
    hue = torch.sub(lesser, red, out=lesser).clamp_(min=0.0).add_(greater).sub_(red).add_(spread)
    hue = torch.copysign(hue, torch.sub(green, blue, out=greater), out=greater)
    places = torch.from_numpy(_places(shifts)).to(planes.device)
    torch.mul(spread, places.view(-1, 3, 1, 1), out=planes)
    planes.add_(hue).abs_().sub_(hue_half := spread * 3.0).abs_().sub_(spread)
    del hue_half
    torch.minimum(planes.clamp_(min=0.0), spread, out=planes).add_(low)
    # torchvision multiplies values from 0 to 1 by 255.999 before it rounds them down.
    return planes.mul_(255.999 / 255.0).floor_()


def _places(shifts: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Those that keep hue less place within 7 spreads, where one expression serves: float32 (n, 3)."""
    ahead = np.where(shifts[:, np.newaxis] < 0, (0.0, -4.0, -2.0), (0.0, 2.0, 4.0))
    return (6.0 * shifts[:, np.newaxis] - ahead).astype(np.float32)


def _stretched(planes: Tensor) -> Tensor:
    least, most = planes.amin((2, 3), keepdim=True), planes.amax((2, 3), keepdim=True)
    flat = most == least
    scale = torch.where(flat, 1.0, (most - least) * (1.0 / 255.0))
    return _levelled(planes.sub_(torch.where(flat, 0.0, least)).div_(scale))


def _equalized(planes: Tensor) -> Tensor:
    """Pillow's table: (pixels below + step / 2) / step, where 255 steps are all pixels but those of the highest value.

    Where a step would be less than a pixel, nothing changes.
    """
    channels, pixels = planes.shape[0] * 3, planes.shape[2] * planes.shape[3]
    offsets = torch.arange(0, channels * 256, 256, device=planes.device)
    index = planes.view(channels, pixels).to(torch.int64).add_(offsets.view(-1, 1)).flatten()
    counts = torch.bincount(index, minlength=channels * 256).view(channels, 256)
    below = counts.cumsum(1)
    highest = below.argmax(1, keepdim=True)
    step = (pixels - counts.gather(1, highest)).div_(255, rounding_mode="floor")
    below = (below - counts).add_(step // 2).div_(step.clamp(min=1), rounding_mode="floor").clamp_(0, 255)
    unchanged = torch.arange(256, device=planes.device)
    table = torch.where(step == 0, unchanged, below).to(torch.float32).flatten()
    return table.index_select(0, index).view_as(planes)
