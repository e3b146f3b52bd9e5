"""RandAugment and TrivialAugmentWide, with torchvision v2's operations, magnitudes and distributions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from fastdata.transforms.affine import rotate, shear, translate
from fastdata.transforms.changes import Change, Operation, table
from fastdata.transforms.colour import Numbers
from fastdata.transforms.steps import PixelStep

Interpolation = Literal["nearest", "bilinear"]
Fill = float | Sequence[float] | None


class _Space(NamedTuple):
    """The strongest magnitudes of each kind of operation."""

    shear: float
    translate: float | None  # in pixels, or None for 150 of 331 of a side
    rotate: float  # in degrees
    factor: float  # of brightness, colour, contrast and sharpness, to more and to less
    bits: int  # that posterizing takes away


_RAND, _TRIVIAL = _Space(0.3, None, 30.0, 0.9, 4), _Space(0.99, 32.0, 135.0, 0.99, 6)

_OPERATIONS = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
_FACTORS = {
    "Brightness": Operation.BRIGHTNESS,
    "Color": Operation.SATURATION,
    "Contrast": Operation.CONTRAST,
    "Sharpness": Operation.SHARPNESS,
}


def _linspace(start: float, end: float, bins: int) -> npt.NDArray[np.float64]:
    """torch's: in float32, from both ends, each sum of a product rounded once. `int` of it may depend on that."""
    step = np.float64((np.float32(end) - np.float32(start)) / np.float32(bins - 1))
    index = np.arange(bins)
    values = np.where(index < bins // 2, np.float32(start) + step * index, np.float32(end) - step * index[::-1])
    return values.astype(np.float32).astype(np.float64)


class _Rounds(NamedTuple):
    """What both draw: for some samples this operation, for some that, each with a magnitude and a sign."""

    space: _Space
    bins: int
    resampling: Operation
    fill: tuple[float, float, float]
    size: tuple[int, int]  # width, height of the images

    def changes(self, chosen: Numbers, magnitudes: Numbers, signs: Numbers) -> list[Change]:
        """Numbers in [0, 1), each (n,): which operation, and its sign; `magnitudes` are numbers of bins."""
        which = np.floor(chosen * len(_OPERATIONS))
        bins, sign = magnitudes.astype(np.intp), np.where(signs < 0.5, -1.0, 1.0)
        changes = []
        for number, name in enumerate(_OPERATIONS):
            rows = (which == number).nonzero()[0]
            if name != "Identity" and rows.size:
                operation, columns = self._lowered(name, bins[rows], sign[rows])
                changes.append(Change(operation, rows, table(columns, len(rows))))
        return changes

    def _lowered(self, name: str, bins: npt.NDArray[np.intp], sign: Numbers) -> tuple[Operation, Sequence[Numbers]]:
        """The operation, and a column for each of its values."""
        match name:
            case "AutoContrast":
                return Operation.AUTOCONTRAST, ()
            case "Equalize":
                return Operation.EQUALIZE, ()
            case "Solarize":
                return Operation.SOLARIZE, (255.0 * _linspace(1.0, 0.0, self.bins)[bins],)
            case "Posterize":
                taken = bins.astype(np.float32) / np.float32((self.bins - 1) / self.space.bits)
                return Operation.POSTERIZE, (np.rint(np.float32(8) - taken).astype(np.float64),)
            case "Brightness" | "Color" | "Contrast" | "Sharpness":
                return _FACTORS[name], (1.0 + self._signed(self.space.factor, bins, sign),)
            case "Rotate":
                matrix = rotate(self._signed(self.space.rotate, bins, sign))
            case "ShearX" | "ShearY":
                matrix = shear(self._signed(self.space.shear, bins, sign), name[-1], self.size)
            case _:
                side = self.size[name[-1] == "Y"]
                furthest = 150.0 / 331.0 * side if self.space.translate is None else self.space.translate
                matrix = translate(np.trunc(self._signed(furthest, bins, sign)), name[-1])
        return self.resampling, (*matrix, *(np.full(len(bins), level) for level in self.fill))

    def _signed(self, strongest: float, bins: npt.NDArray[np.intp], sign: Numbers) -> Numbers:
        signed: Numbers = sign * _linspace(0.0, strongest, self.bins)[bins]
        return signed


def _check(step: object, bins: int, interpolation: object, fill: Fill) -> tuple[Interpolation, Fill]:
    """The name of the interpolation, also where torchvision's InterpolationMode is given, and the colour."""
    name, what = type(step).__name__, getattr(interpolation, "value", interpolation)
    if not isinstance(bins, int) or bins < 2:
        raise ValueError(f"{name}: num_magnitude_bins must be an integer of at least 2, got {bins!r}")
    if what not in ("nearest", "bilinear"):
        raise ValueError(f'{name}: interpolation must be "nearest" or "bilinear", got {interpolation!r}')
    levels = () if fill is None else (fill,) if isinstance(fill, int | float) else tuple(fill)
    if len(levels) not in (0, 1, 3) or not all(0 <= level <= 255 for level in levels):
        raise ValueError(f"{name}: fill must be None, or one or three numbers from 0 to 255, got {fill!r}")
    return what, levels * (3 // len(levels)) if levels else None


def _resampling(interpolation: Interpolation) -> Operation:
    return Operation.NEAREST if interpolation == "nearest" else Operation.BILINEAR


def _levels(fill: Fill) -> tuple[float, float, float]:
    """NaN stands for none: torchvision's fill of 0 differs from that at the border of what is interpolated."""
    return cast("tuple[float, float, float]", (math.nan,) * 3 if fill is None else fill)


@dataclass(frozen=True)
class RandAugment(PixelStep):
    """`num_ops` random operations of one strength, one after the other (Cubuk et al., arXiv 1909.13719).

    There are fourteen: nothing, shears, translations, a rotation, brightness, colour, contrast, sharpness, posterize,
    solarize, autocontrast and equalize. `magnitude` is the number of one of `num_magnitude_bins` strengths; its sign is
    random. What comes in from outside has the colour `fill` (one number or three from 0 to 255; None: black).
    """

    num_ops: int = 2
    magnitude: int = 9
    num_magnitude_bins: int = 31
    interpolation: Interpolation = "nearest"
    fill: Fill = None

    def __post_init__(self) -> None:
        interpolation, fill = _check(self, self.num_magnitude_bins, self.interpolation, self.fill)
        object.__setattr__(self, "interpolation", interpolation)
        object.__setattr__(self, "fill", fill)
        if not isinstance(self.num_ops, int) or not 0 <= self.num_ops <= 1000:
            raise ValueError(f"RandAugment: num_ops must be an integer from 0 to 1000, got {self.num_ops!r}")
        if not isinstance(self.magnitude, int) or not 0 <= self.magnitude < self.num_magnitude_bins:
            raise ValueError(
                f"RandAugment: magnitude must be an integer from 0 to num_magnitude_bins - 1 = "
                f"{self.num_magnitude_bins - 1}, got {self.magnitude!r}"
            )

    @property
    def numbers(self) -> int:
        return 2 * self.num_ops

    @property
    def commutes_with_flips(self) -> bool:
        return False

    @property
    def moves_pixels(self) -> bool:
        return True

    def draw(self, numbers: Numbers, size: tuple[int, int]) -> list[Change]:
        rounds = _Rounds(_RAND, self.num_magnitude_bins, _resampling(self.interpolation), _levels(self.fill), size)
        magnitudes = np.full(len(numbers), float(self.magnitude))
        each = (rounds.changes(numbers[:, 2 * i], magnitudes, numbers[:, 2 * i + 1]) for i in range(self.num_ops))
        return [change for changes in each for change in changes]


@dataclass(frozen=True)
class TrivialAugmentWide(PixelStep):
    """One of RandAugment's operations, of any of `num_magnitude_bins` strengths (Müller and Hutter, arXiv 2103.10158).

    The strongest are stronger than RandAugment's. `interpolation` and `fill` as there.
    """

    num_magnitude_bins: int = 31
    interpolation: Interpolation = "nearest"
    fill: Fill = None

    def __post_init__(self) -> None:
        interpolation, fill = _check(self, self.num_magnitude_bins, self.interpolation, self.fill)
        object.__setattr__(self, "interpolation", interpolation)
        object.__setattr__(self, "fill", fill)

    @property
    def numbers(self) -> int:
        return 3

    @property
    def commutes_with_flips(self) -> bool:
        return False

    @property
    def moves_pixels(self) -> bool:
        return True

    def draw(self, numbers: Numbers, size: tuple[int, int]) -> list[Change]:
        bins = self.num_magnitude_bins
        rounds = _Rounds(_TRIVIAL, bins, _resampling(self.interpolation), _levels(self.fill), size)
        return rounds.changes(numbers[:, 0], np.floor(numbers[:, 1] * bins), numbers[:, 2])
