"""What to do with an image, declared once as frozen values, and one draw of it for one image.

Names, defaults, rounding and validation are torchvision's. A transform knows nothing of how pixels are made:
`draw` folds its steps into one `View`, and whatever decodes the image (CPU or DALI) carries the view out.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from fastdata.transforms.changes import Change

Interpolation = Literal["bilinear", "bicubic"]

Boxes = TypeVar("Boxes", bound=Any)
"""A tensor or an array: what comes in goes out."""


class Box(NamedTuple):
    """A rectangle in pixels, as Pillow has it: `right` and `bottom` are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


class View(NamedTuple):
    """One draw of a transform for one image: all that a decoder needs to know.

    The `box` of the upright image (EXIF orientation applied) is resized to `size` (width, height); `window` is
    cut out of that, black where it reaches beyond; then it is mirrored left to right if `flip`, top to bottom if
    `flip_vertical`. `antialias` and `reducing_gap` are the transform's, `interpolation` that of the step that resizes.
    """

    box: Box
    size: tuple[int, int]
    window: Box
    flip: bool
    antialias: bool = True
    reducing_gap: float | None = 2.0
    flip_vertical: bool = False
    interpolation: Interpolation = "bilinear"

    def to_source(self, boxes: Boxes) -> Boxes:
        """Boxes in the image that came out, as they lie in the upright source image: predictions mapped back.

        A tensor or float array of shape (..., 4), each (left, top, right, bottom) in pixels; so is the result, anew.
        What lies in padding maps beyond the box.
        """
        source: Boxes = boxes * 1.0
        left, top, right, bottom = (boxes[..., edge] for edge in range(4))
        if self.flip:
            left, right = self.window.width - right, self.window.width - left
        if self.flip_vertical:
            top, bottom = self.window.height - bottom, self.window.height - top
        across = self.box.width / self.size[0]
        down = self.box.height / self.size[1]
        source[..., 0] = (left + self.window.left) * across + self.box.left
        source[..., 1] = (top + self.window.top) * down + self.box.top
        source[..., 2] = (right + self.window.left) * across + self.box.left
        source[..., 3] = (bottom + self.window.top) * down + self.box.top
        return source


def _two_sizes(size: int | Sequence[int], name: str) -> tuple[int, int]:
    """(height, width) from an int (a square) or a sequence of one or two, as torchvision takes them."""
    sizes = (size,) if isinstance(size, int) else tuple(size)
    if len(sizes) not in (1, 2) or any(not isinstance(s, int) or s < 1 for s in sizes):
        raise ValueError(f"{name}: size must be one or two positive integers (height, width), got {size!r}")
    return sizes[0], sizes[-1]


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


class PixelStep(TransformStep):
    """A step that changes pixels and leaves them where a decoder put them; see `colour`.

    A view knows nothing of it: it is drawn and carried out on the batch, by `images.colour.recolour`.
    """

    @property
    def numbers(self) -> int:
        """How many random numbers of each sample it takes."""
        raise NotImplementedError

    @property
    def commutes_with_flips(self) -> bool:
        """Whether the same pixels come out if an image is mirrored before it or after it."""
        return True

    @property
    def moves_pixels(self) -> bool:
        """Whether it shows something elsewhere than where it was, so that masks and boxes are left behind."""
        return False

    def draw(self, numbers: npt.NDArray[np.float64], size: tuple[int, int]) -> list[Change]:
        """What it does, one after the other, to n images of `size` (width, height), by their random `numbers`.

        These are float64 (n, `self.numbers`) in [0, 1).
        """
        raise NotImplementedError


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
        one = isinstance(self.size, int) or len(self.size) == 1
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

_FLIPS = RandomHorizontalFlip | RandomVerticalFlip
_RANDOM = RandomResizedCrop | RandomCrop | _FLIPS


@dataclass(frozen=True)
class Transform:
    """A sequence of steps and how they resample.

    With `antialias` resizing is bilinear (or bicubic) as Pillow and torchvision do it, without it OpenCV's plain one.
    `reducing_gap` lets a JPEG that is far larger than its output be decoded at 1/2, 1/4 or 1/8 of its size, never
    below `reducing_gap` times the output's (None: never; as in Pillow's `Image.thumbnail`).

    Pixels are resampled once, so only one of the steps may resize; otherwise ValueError. So it is where a step that
    crops or resizes comes after one that changes pixels: these are changed where they are shown. Flips may come after
    those steps to whose result it makes no difference.
    """

    steps: Sequence[TransformStep]
    antialias: bool = True
    reducing_gap: float | None = 2.0

    def __post_init__(self) -> None:
        steps = tuple(self.steps)
        object.__setattr__(self, "steps", steps)
        for step in steps:
            if not isinstance(step, Step | PixelStep):
                raise TypeError(f"a transform's steps are fastdata's, as fd.CenterCrop(224), got {step!r}{_HINT}")
        _check_order(steps)
        resizing = [step for step in steps if isinstance(step, RandomResizedCrop | Resize)]
        if len(resizing) > 1:
            raise ValueError(f"only one step of a transform may resize, got {resizing}")
        if self.reducing_gap is not None and not self.reducing_gap >= 1.0:
            raise ValueError(f"reducing_gap must be None or at least 1.0, got {self.reducing_gap!r}")

    @property
    def closed_steps(self) -> tuple[Step, ...]:
        """The steps that a view is drawn from, of which each is one of those that exist."""
        return tuple(cast("Step", step) for step in self.steps if not isinstance(step, PixelStep))

    @property
    def pixel_steps(self) -> tuple[tuple[int, PixelStep], ...]:
        """The steps that change pixels, each with its position among all steps."""
        return tuple((position, step) for position, step in enumerate(self.steps) if isinstance(step, PixelStep))

    @property
    def is_fixed(self) -> bool:
        """Whether it makes the same of an image every time."""
        random = any(isinstance(step, _RANDOM) for step in self.steps)
        return not random and not any(step.numbers for _, step in self.pixel_steps)

    @property
    def interpolation(self) -> Interpolation:
        """That of the step that resizes."""
        return next((s.interpolation for s in self.steps if isinstance(s, RandomResizedCrop | Resize)), "bilinear")

    @property
    def transforms(self) -> "tuple[Transform, ...]":
        """That of each of an image's views: of the only one."""
        return (self,)

    @property
    def output(self) -> tuple[Any, ...] | None:
        """What is the same for all samples of a batch: their size; None where it is not."""
        return self.output_size

    @property
    def output_size(self) -> tuple[int, int] | None:
        """(width, height) of what comes out, or None where that depends on the image."""
        size = None
        for step in self.closed_steps:
            match step:
                case RandomHorizontalFlip() | RandomVerticalFlip():
                    pass
                case (
                    RandomResizedCrop(size=(height, width))
                    | Resize(size=(height, width))
                    | CenterCrop(size=(height, width))
                    | RandomCrop(size=(height, width))
                ):
                    size = (width, height)
                case Pad(padding=(left, top, right, bottom)) if size is not None:
                    size = (size[0] + left + right, size[1] + top + bottom)
                case _:
                    size = None
        return size


def _check_order(steps: Sequence[TransformStep]) -> None:
    """ValueError where what is cropped or resized would have to be changed in its pixels before."""
    before: list[PixelStep] = []
    for step in steps:
        if isinstance(step, PixelStep):
            before.append(step)
        elif before and not (isinstance(step, _FLIPS) and all(b.commutes_with_flips for b in before)):
            raise ValueError(
                f"{step} can't follow {before[-1]}: put steps that move pixels before those that change them"
            )


_HINT = "; fd.from_torchvision(compose) makes these of torchvision's, and any other function is a dataset's map="


def as_transform(transform: Transform | TransformStep | Iterable[TransformStep] | None) -> Transform:
    """`transform` itself, a step or a list of steps with the defaults; for None, what leaves images as they are."""
    if isinstance(transform, Transform):
        return transform
    if isinstance(transform, TransformStep):
        return Transform((transform,))
    if transform is not None and not isinstance(transform, Iterable):
        raise TypeError(f"a transform is a step, a list of them, a Transform or None, got {transform!r}{_HINT}")
    return Transform(tuple(transform or ()))
