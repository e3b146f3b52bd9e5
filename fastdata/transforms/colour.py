"""Steps that change an image's colours, as frozen values with torchvision v2's names, defaults and distributions.

What they draw is carried out on the batch, on its device, by `fastdata.images.colour`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastdata.transforms.changes import Change, Operation, change_all, only
from fastdata.transforms.steps import PixelStep

Numbers = npt.NDArray[np.float64]

Range = float | tuple[float, float] | None


def check_probability(step: object, p: float) -> None:
    """ValueError where `p` is no probability."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{type(step).__name__}: p must lie between 0 and 1, got {p!r}")


def within(numbers: Numbers, limits: tuple[float, float]) -> Numbers:
    """Numbers in [0, 1), spread over the limits."""
    spread: Numbers = limits[0] + (limits[1] - limits[0]) * numbers
    return spread


def _range(name: str, value: Range, centre: float, bounds: tuple[float, float]) -> tuple[float, float] | None:
    """torchvision's reading of ColorJitter's parameters: the range of a factor, or None where it changes nothing."""
    if value is None:
        return None
    if isinstance(value, int | float):
        if not value >= 0:
            raise ValueError(f"ColorJitter: {name} must not be negative where it is one number, got {value!r}")
        low, high = centre - value, centre + value
        if centre:
            low = max(low, 0.0)
    elif isinstance(value, Sequence) and len(value) == 2:
        low, high = float(value[0]), float(value[1])
    else:
        raise TypeError(f"ColorJitter: {name} must be a number or (min, max), got {value!r}")
    if not bounds[0] <= low <= high <= bounds[1]:
        raise ValueError(f"ColorJitter: {name} must be increasing and lie within {bounds}, got {(low, high)}")
    return None if low == high == centre else (float(low), float(high))


@dataclass(frozen=True)
class ColorJitter(PixelStep):
    """Change brightness, contrast, saturation and hue by random factors, in a random order.

    `brightness`, `contrast` and `saturation` are x for a factor from [max(0, 1 - x), 1 + x], or (min, max); `hue` is x
    of at most 0.5 for a shift from [-x, x] of a turn of the colour wheel, or (min, max). None leaves it as it is.
    """

    brightness: Range = None
    contrast: Range = None
    saturation: Range = None
    hue: Range = None

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            object.__setattr__(self, name, _range(name, getattr(self, name), 1.0, (0.0, np.inf)))
        object.__setattr__(self, "hue", _range("hue", self.hue, 0.0, (-0.5, 0.5)))

    @property
    def numbers(self) -> int:
        return 8

    def draw(self, numbers: Numbers, size: tuple[int, int]) -> list[Change]:
        """Four numbers for the values, and four whose ranks are the order: each permutation is equally likely."""
        operations = Operation.BRIGHTNESS, Operation.CONTRAST, Operation.SATURATION, Operation.HUE
        limits = self.brightness, self.contrast, self.saturation, self.hue
        order = np.argsort(numbers[:, 4:], axis=1)
        changes = []
        for turn in order.T:
            for number, (operation, limit) in enumerate(zip(operations, limits, strict=True)):
                rows = (turn == number).nonzero()[0]
                if isinstance(limit, tuple) and rows.size:
                    changes.append(Change(operation, rows, within(numbers[rows, number, np.newaxis], limit)))
        return changes


@dataclass(frozen=True)
class Grayscale(PixelStep):
    """Luminance in all three channels: images stay RGB, so `num_output_channels` can only be 3."""

    num_output_channels: int = 3

    def __post_init__(self) -> None:
        if self.num_output_channels != 3:
            raise ValueError(
                f"Grayscale: images have 3 channels here, got num_output_channels={self.num_output_channels!r}. For "
                "one take images[:, :1] of a batch: the three are equal"
            )

    @property
    def numbers(self) -> int:
        return 0

    def draw(self, numbers: Numbers, size: tuple[int, int]) -> list[Change]:
        return [change_all(Operation.GRAYSCALE, count=len(numbers))]


class _WithProbability(PixelStep):
    """One operation, done with probability `p`."""

    p: float

    def __post_init__(self) -> None:
        check_probability(self, self.p)

    @property
    def numbers(self) -> int:
        return 1

    def draw(self, numbers: Numbers, size: tuple[int, int]) -> list[Change]:
        operation, *columns = self._operation()
        return only([change_all(operation, *columns, count=len(numbers))], numbers[:, 0] < self.p)

    @abstractmethod
    def _operation(self) -> tuple[Operation, *tuple[float, ...]]: ...


@dataclass(frozen=True)
class RandomGrayscale(_WithProbability):
    """Luminance in all three channels, with probability `p`."""

    p: float = 0.1

    def _operation(self) -> tuple[Operation, *tuple[float, ...]]:
        return (Operation.GRAYSCALE,)


@dataclass(frozen=True)
class RandomInvert(_WithProbability):
    """255 less each value, with probability `p`."""

    p: float = 0.5

    def _operation(self) -> tuple[Operation, *tuple[float, ...]]:
        return (Operation.INVERT,)


@dataclass(frozen=True)
class RandomSolarize(_WithProbability):
    """Invert values of at least `threshold` (0 to 255), with probability `p`."""

    threshold: float
    p: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.threshold <= 255:
            raise ValueError(f"RandomSolarize: threshold must lie between 0 and 255, got {self.threshold!r}")

    def _operation(self) -> tuple[Operation, *tuple[float, ...]]:
        return Operation.SOLARIZE, self.threshold


@dataclass(frozen=True)
class RandomPosterize(_WithProbability):
    """Keep the `bits` (0 to 8) highest bits of each value, with probability `p`."""

    bits: int
    p: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.bits, int) or not 0 <= self.bits <= 8:
            raise ValueError(f"RandomPosterize: bits must be an integer from 0 to 8, got {self.bits!r}")

    def _operation(self) -> tuple[Operation, *tuple[float, ...]]:
        return Operation.POSTERIZE, self.bits


@dataclass(frozen=True)
class RandomAutocontrast(_WithProbability):
    """Stretch each channel so that its values reach from 0 to 255, with probability `p`."""

    p: float = 0.5

    def _operation(self) -> tuple[Operation, *tuple[float, ...]]:
        return (Operation.AUTOCONTRAST,)


@dataclass(frozen=True)
class RandomEqualize(_WithProbability):
    """Equalize each channel's histogram, with probability `p`."""

    p: float = 0.5

    def _operation(self) -> tuple[Operation, *tuple[float, ...]]:
        return (Operation.EQUALIZE,)


@dataclass(frozen=True)
class RandomAdjustSharpness(_WithProbability):
    """Make an image sharper (`sharpness_factor` above 1) or smoother (below, 0 at the least), with probability `p`."""

    sharpness_factor: float
    p: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.sharpness_factor < np.inf:
            raise ValueError(
                f"RandomAdjustSharpness: sharpness_factor must not be negative, got {self.sharpness_factor!r}"
            )

    def _operation(self) -> tuple[Operation, *tuple[float, ...]]:
        return Operation.SHARPNESS, self.sharpness_factor
