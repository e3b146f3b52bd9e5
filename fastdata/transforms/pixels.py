"""Steps that blur and erase, and the one that applies others with a probability; as torchvision v2 has them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from fastdata.transforms.changes import Change, Operation, change_all, only, table
from fastdata.transforms.colour import Numbers, check_probability, within
from fastdata.transforms.steps import PixelStep

_ATTEMPTS = 10


@dataclass(frozen=True)
class GaussianBlur(PixelStep):
    """Blur by a Gaussian kernel of `kernel_size` (a square's side, or (width, height); odd).

    `sigma` is its standard deviation in pixels, or (min, max) to draw it from. Images must be larger than half the
    kernel, as their borders are mirrored.
    """

    kernel_size: int | Sequence[int]
    sigma: float | Sequence[float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        sizes = (self.kernel_size,) if isinstance(self.kernel_size, int) else tuple(self.kernel_size)
        if len(sizes) not in (1, 2) or any(not isinstance(s, int) or s < 1 or s % 2 == 0 for s in sizes):
            raise ValueError(
                f"GaussianBlur: kernel_size must be one or two odd integers (width, height), got {self.kernel_size!r}"
            )
        sigmas = (self.sigma,) if isinstance(self.sigma, int | float) else tuple(self.sigma)
        if len(sigmas) not in (1, 2) or not 0.0 < sigmas[0] <= sigmas[-1] < math.inf:
            raise ValueError(f"GaussianBlur: sigma must be positive, or (min, max) with min <= max, got {self.sigma!r}")
        object.__setattr__(self, "kernel_size", (sizes[0], sizes[-1]))
        object.__setattr__(self, "sigma", (float(sigmas[0]), float(sigmas[-1])))

    @property
    def numbers(self) -> int:
        return 1

    def draw(self, numbers: Numbers, size: tuple[int, int]) -> list[Change]:
        kernel, sigma = cast("tuple[int, int]", self.kernel_size), cast("tuple[float, float]", self.sigma)
        if min(size[0] - kernel[0] // 2, size[1] - kernel[1] // 2) < 1:
            raise ValueError(f"{self}: an image of {size[0]}x{size[1]} can't be mirrored by half of the kernel's size")
        return [change_all(Operation.BLUR, *kernel, within(numbers[:, 0], sigma), count=len(numbers))]


@dataclass(frozen=True)
class RandomErasing(PixelStep):
    """Erase a random rectangle with probability `p` (Zhong et al., arXiv 1708.04896).

    `scale` is the range of its share of the image's area, `ratio` that of its height over its width. `value` is what
    stands there afterwards, from 0 to 255: one number or (red, green, blue). "random" is a colour of its own for each
    pixel, from the normal distribution with the mean and standard deviation of ImageNet's images: after
    `Normalize.imagenet()` it has mean 0 and deviation 1, as timm's and torchvision's have it, cut off at 0 and 255.
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float | Sequence[float] | str = 0

    def __post_init__(self) -> None:
        check_probability(self, self.p)
        if len(self.scale) != 2 or not 0 <= self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"RandomErasing: scale must be (min, max) within 0 and 1, got {self.scale!r}")
        if len(self.ratio) != 2 or not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise ValueError(f"RandomErasing: ratio must be (min, max) with 0 < min <= max, got {self.ratio!r}")
        object.__setattr__(self, "scale", tuple(self.scale))
        object.__setattr__(self, "ratio", tuple(self.ratio))
        if self.value != "random":
            object.__setattr__(self, "value", _colour(self.value))

    @property
    def numbers(self) -> int:
        return 2 + 4 * _ATTEMPTS

    @property
    def commutes_with_flips(self) -> bool:
        return False

    def draw(self, numbers: Numbers, size: tuple[int, int]) -> list[Change]:
        """torchvision's attempts; where none of the ten fits, nothing is erased."""
        attempts = numbers[:, 2:].reshape(-1, _ATTEMPTS, 4)
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        area = size[0] * size[1] * within(attempts[:, :, 0], self.scale)
        ratio = np.exp(within(attempts[:, :, 1], (low, high)))
        heights, widths = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (widths < size[0]) & (heights < size[1])
        chosen = np.arange(len(numbers)), fits.argmax(axis=1)
        width, height = widths[chosen], heights[chosen]
        top = np.floor(attempts[(*chosen, 2)] * (size[1] - height + 1))
        left = np.floor(attempts[(*chosen, 3)] * (size[0] - width + 1))
        how: tuple[object, ...]
        if self.value == "random":
            operation, how = Operation.ERASE_WITH_NOISE, (np.floor(numbers[:, 1] * 2.0**53),)
        else:
            operation, how = Operation.ERASE, cast("tuple[float, float, float]", self.value)
        values = table((left, top, width, height, *how), len(numbers))
        erased = fits[chosen] & (width * height > 0) & (numbers[:, 0] < self.p)
        return only([Change(operation, np.arange(len(numbers)), values)], erased)


def _colour(value: object) -> tuple[float, float, float]:
    colours = (value,) if isinstance(value, int | float) else tuple(value) if isinstance(value, Sequence) else ()
    if len(colours) not in (1, 3) or any(not isinstance(c, int | float) or not 0 <= c <= 255 for c in colours):
        raise ValueError(f'RandomErasing: value must be "random", or one or three numbers from 0 to 255, got {value!r}')
    red, green, blue = cast("tuple[float, ...]", colours * (3 // len(colours)))
    return red, green, blue


@dataclass(frozen=True)
class RandomApply(PixelStep):
    """Apply `transforms`, steps that change pixels, all of them or none, with probability `p`."""

    transforms: Sequence[PixelStep]
    p: float = 0.5

    def __post_init__(self) -> None:
        check_probability(self, self.p)
        object.__setattr__(self, "transforms", tuple(self.transforms))
        if not self.transforms:
            raise ValueError("RandomApply: give it at least one step")
        for step in self.transforms:
            if not isinstance(step, PixelStep):
                raise TypeError(
                    f"RandomApply: steps that change pixels only, got {step!r}. A crop or a resize is always done, and "
                    "a flip has a probability of its own"
                )

    @property
    def numbers(self) -> int:
        return 1 + sum(step.numbers for step in self.transforms)

    @property
    def commutes_with_flips(self) -> bool:
        return all(step.commutes_with_flips for step in self.transforms)

    @property
    def moves_pixels(self) -> bool:
        return any(step.moves_pixels for step in self.transforms)

    def draw(self, numbers: Numbers, size: tuple[int, int]) -> list[Change]:
        changes, used = [], 1
        for step in self.transforms:
            changes += step.draw(numbers[:, used : used + step.numbers], size)
            used += step.numbers
        return only(changes, numbers[:, 0] < self.p)
