"""What to do with an image, declared as frozen values. Names, defaults, rounding and validation are torchvision's."""

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastdata.transforms.changes import Change
from fastdata.transforms.view import Interpolation


def _two_sizes(size: int | Sequence[int], name: str) -> tuple[int, int]:
    """(height, width) from an int (a square) or a sequence of one or two, as torchvision takes them."""
    try:
        sizes = tuple(map(operator.index, size if isinstance(size, Iterable) else (size,)))
    except TypeError:
        sizes = ()
    if len(sizes) not in (1, 2) or not all(1 <= s <= MAX_SIDE for s in sizes):
        raise ValueError(f"{name}: size must be one or two integers from 1 to {MAX_SIDE} (height, width), got {size!r}")
    return sizes[0], sizes[-1]


MAX_SIDE = 1 << 20  # pixels: of 32 bits are sums of sides


def _check_range(name: str, values: tuple[float, float]) -> tuple[float, float]:
    if len(values) != 2 or not 0 < values[0] <= values[1] < math.inf:
        raise ValueError(f"RandomResizedCrop: {name} must be (min, max) with 0 < min <= max, got {values!r}")
    return float(values[0]), float(values[1])


def _check_probability(step: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{step}: p must lie between 0 and 1, got {p!r}")


def _interpolation(step: str, value: object) -> Interpolation:
    """The name of it, also where torchvision's InterpolationMode is given."""
    name = getattr(value, "value", value)
    if name == "bilinear" or name == "bicubic":
        return name
    raise ValueError(f"{step}: interpolation must be 'bilinear' or 'bicubic', got {value!r}")


def _padding(step: str, padding: int | Sequence[int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) from one, two (left and right, top and bottom) or four, as torchvision takes them."""
    values = (padding,) if isinstance(padding, int) else tuple(padding)
    if len(values) not in (1, 2, 4) or any(not isinstance(v, int) or not 0 <= v <= MAX_PADDING for v in values):
        raise ValueError(
            f"{step}: padding must be one, two or four integers from 0 to {MAX_PADDING} (left, top, right, bottom), "
            f"got {padding!r}"
        )
    left, top, right, bottom = values * (4 // len(values))
    return left, top, right, bottom


MAX_PADDING = 1 << 16


class TransformStep:
    """What the steps of a transform have in common for type checkers: a list of any of them is one of these."""


class PixelStep(TransformStep, ABC):
    """A step that changes pixels and leaves them where a decoder put them; see `colour`.

    A view knows nothing of it: it is drawn and carried out on the batch, by `images.colour.recolour`.
    """

    @property
    @abstractmethod
    def numbers(self) -> int:
        """How many random numbers of each sample it takes."""

    @property
    def commutes_with_flips(self) -> bool:
        """Whether the same pixels come out if an image is mirrored before it or after it."""
        return True

    @property
    def moves_pixels(self) -> bool:
        """Whether it shows something elsewhere than where it was, so that masks and boxes are left behind."""
        return False

    @abstractmethod
    def draw(self, numbers: npt.NDArray[np.float64], size: tuple[int, int]) -> list[Change]:
        """What it does, one after the other, to n images of `size` (width, height), by their random `numbers`.

        These are float64 (n, `self.numbers`) in [0, 1).
        """


@dataclass(frozen=True)
class RandomResizedCrop(TransformStep):
    """Crop a random area and aspect ratio, resized to `size` ((height, width), or a square's side).

    `scale` is the range of the crop's share of the image's area, `ratio` that of its width over its height,
    `interpolation` "bilinear" or "bicubic".
    """

    size: int | Sequence[int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _two_sizes(self.size, "RandomResizedCrop"))
        object.__setattr__(self, "scale", _check_range("scale", self.scale))
        object.__setattr__(self, "ratio", _check_range("ratio", self.ratio))
        object.__setattr__(self, "interpolation", _interpolation("RandomResizedCrop", self.interpolation))


@dataclass(frozen=True)
class RandomHorizontalFlip(TransformStep):
    """Mirror left to right with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        _check_probability("RandomHorizontalFlip", self.p)


@dataclass(frozen=True)
class RandomVerticalFlip(TransformStep):
    """Mirror top to bottom with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        _check_probability("RandomVerticalFlip", self.p)


@dataclass(frozen=True)
class Resize(TransformStep):
    """Resize to (height, width), or so that the shorter side is `size` (an int, or a sequence of one).

    There `max_size` bounds the longer side: where it would be longer, it gets that length, and the shorter side less.
    `interpolation` is "bilinear" or "bicubic".
    """

    size: int | Sequence[int]
    interpolation: Interpolation = "bilinear"
    max_size: int | None = None

    def __post_init__(self) -> None:
        height, width = _two_sizes(self.size, "Resize")
        one = not isinstance(self.size, Sequence) or len(self.size) == 1
        object.__setattr__(self, "size", height if one else (height, width))
        object.__setattr__(self, "interpolation", _interpolation("Resize", self.interpolation))
        if self.max_size is not None and (not one or self.max_size <= height):
            raise ValueError(
                f"Resize: max_size bounds the longer side where size is the shorter one's, and must be larger; got "
                f"size={self.size!r}, max_size={self.max_size!r}"
            )


@dataclass(frozen=True)
class CenterCrop(TransformStep):
    """Cut `size` ((height, width), or a square's side) from the middle, padded with black where it is larger."""

    size: int | Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _two_sizes(self.size, "CenterCrop"))


@dataclass(frozen=True)
class RandomCrop(TransformStep):
    """Cut `size` ((height, width), or a square's side) out at a random place.

    First the image gets `padding` in black, as `Pad` has it. One that is smaller than `size` is an error, or padded on
    both sides by what is missing with `pad_if_needed`.
    """

    size: int | Sequence[int]
    padding: int | Sequence[int] | None = None
    pad_if_needed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _two_sizes(self.size, "RandomCrop"))
        object.__setattr__(self, "padding", _padding("RandomCrop", 0 if self.padding is None else self.padding))


@dataclass(frozen=True)
class Pad(TransformStep):
    """Black around the image: `padding` pixels, or (left and right, top and bottom), or (left, top, right, bottom)."""

    padding: int | Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "padding", _padding("Pad", self.padding))


Step = RandomResizedCrop | RandomHorizontalFlip | RandomVerticalFlip | Resize | CenterCrop | RandomCrop | Pad
