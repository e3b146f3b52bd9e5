"""Operations on pixels and their neighbours: blur, sharpness and affine maps.

Planes are float32 (n, 3, height, width), contiguous, of whole numbers from 0 to 255. They may be overwritten.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from fastdata.transforms.changes import Operation, Values


def operated(planes: Tensor, operation: Operation, values: Values) -> Tensor:
    """One of the operations of this module."""
    match operation:
        case Operation.BLUR:
            return _blurred(planes, values)
        case Operation.SHARPNESS:
            return _sharpened(planes, values[:, 0])
        case Operation.NEAREST:
            return _mapped(planes, values, "nearest")
        case Operation.BILINEAR:
            return _mapped(planes, values, "bilinear")
        case _:
            raise AssertionError(operation)


def _blurred(planes: Tensor, values: Values) -> Tensor:
    """By rows, then by columns, with mirrored borders."""
    wide, high = int(values[0, 0]) // 2, int(values[0, 1]) // 2
    for dimension, radius in ((3, wide), (2, high)):
        weights = _gaussian(radius, values[:, 2])
        reach = int(np.flatnonzero(weights.any(axis=0)).max())
        padding = (reach, reach, 0, 0) if dimension == 3 else (0, 0, reach, reach)
        planes = _weighted(F.pad(planes, padding, mode="reflect"), weights[:, : reach + 1], dimension)
    return planes.round_()


def _gaussian(radius: int, sigmas: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The weights of a pixel itself and of those at a distance of 1 to `radius`; float32 (n, radius + 1).

    What is too small to change a level is exactly 0, and costs nothing where it is 0 for all images.
    """
    distances = np.arange(radius + 1)
    weights = np.exp(-((distances / sigmas[:, np.newaxis]) ** 2) / 2.0)
    weights[weights < 1e-8] = 0.0
    total = weights[:, :1] + 2.0 * weights[:, 1:].sum(axis=1, keepdims=True)
    return (weights / total).astype(np.float32)


def _weighted(padded: Tensor, weights: npt.NDArray[np.float32], dimension: int) -> Tensor:
    """Sums of neighbours along a dimension, which was padded by as many as there are weights beside the first."""
    reach = weights.shape[1] - 1
    columns = torch.from_numpy(weights).to(padded.device).view(len(weights), -1, 1, 1, 1).unbind(1)
    length = padded.shape[dimension] - 2 * reach
    total = padded.narrow(dimension, reach, length) * columns[0]
    pair = torch.empty_like(total)
    for distance in range(1, reach + 1):
        before, after = (padded.narrow(dimension, reach + side, length) for side in (-distance, distance))
        total.add_(torch.add(before, after, out=pair).mul_(columns[distance]))
    return total


def _sharpened(planes: Tensor, factors: npt.NDArray[np.float64]) -> Tensor:
    """Moved away from, or towards, a mean of 3 by 3 pixels in which the middle one counts five times.

    The outermost pixels stay as they are, and images of less than 3 by 3.
    """
    if min(planes.shape[2:]) <= 2:
        return planes
    rows = planes[:, :, :-2] + planes[:, :, 1:-1]
    rows.add_(planes[:, :, 2:])
    smooth = rows[..., :-2] + rows[..., 1:-1]
    smooth.add_(rows[..., 2:])
    inner = planes[:, :, 1:-1, 1:-1]
    smooth.add_(inner * 4.0).div_(13.0).round_()
    strength = torch.from_numpy((1.0 - factors).astype(np.float32)).to(planes.device).view(-1, 1, 1, 1)
    inner.add_(smooth.sub_(inner).mul_(strength))
    return planes.clamp_(0.0, 255.0).floor_()


def _mapped(planes: Tensor, values: Values, mode: str) -> Tensor:
    """Pixels from where a matrix says, by torch's `grid_sample`; outside is black, or the given colour."""
    height, width = planes.shape[2:]
    scale = np.array([[width / 2], [height / 2]])
    matrices = (values[:, :6].reshape(-1, 2, 3).astype(np.float32) / scale.astype(np.float32)).astype(np.float32)
    theta = torch.from_numpy(matrices).to(planes.device).view(-1, 1, 1, 2, 3)
    x, y = (
        torch.arange(side, dtype=torch.float32, device=planes.device).sub_((side - 1) / 2) for side in (width, height)
    )
    grid = x.view(1, 1, -1, 1) * theta[..., 0] + (y.view(1, -1, 1, 1) * theta[..., 1] + theta[..., 2])
    fill = torch.from_numpy(values[:, 6:].astype(np.float32))
    if fill.isnan().all():
        return _sampled(planes, grid, mode).round_()
    inside = planes.new_ones(len(planes), 1, height, width)
    sampled, inside = _sampled(torch.cat([planes, inside], dim=1), grid, mode).split((3, 1), dim=1)
    outside = fill.to(planes.device).view(-1, 3, 1, 1)
    return sampled.sub(outside).mul_(inside).add_(outside).round_()


def _sampled(planes: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(planes, grid, mode, padding_mode="zeros", align_corners=False)
