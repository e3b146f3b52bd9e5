"""A sequence of steps. It knows nothing of how pixels are made: `draw` folds it into a `View`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fastdata.transforms.steps import (
    CenterCrop,
    Pad,
    PixelStep,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    Step,
    TransformStep,
)
from fastdata.transforms.view import Interpolation

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
