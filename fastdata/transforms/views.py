"""Several views of one image, for methods that compare them: SimCLR, BYOL, DINO."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from fastdata import splitmix
from fastdata.transforms.steps import TransformStep
from fastdata.transforms.transform import Transform, as_transform

T = TypeVar("T")

_FIRST_NUMBER = 1 << 48  # of a sample's random numbers: those that other views start from, beyond what steps use


@dataclass(frozen=True)
class Group:
    """Views that are alike: the `count` draws of one transform, from view number `first` on."""

    name: str
    first: int
    count: int
    transform: Transform


class Views:
    """Several views of each image, read and decoded once: groups of them, by name, each (how many, their steps).

    `Views(global_=(2, [RandomResizedCrop(224), …]), local=(6, [RandomResizedCrop(96), …]))`. A batch's images are a
    dict of uint8 tensors of shape (N, count, 3, H, W): `images["global"]` and `images["local"]`. (An underscore at the
    end of a name is left out, since Python has words that can't be one; a mapping takes any name.)

    The views of a sample are independent draws, functions of seed, epoch and key; the first is that which its
    transform draws alone. ValueError where a count is below 1, or images come out in no fixed size.
    """

    def __init__(
        self, groups: Mapping[str, tuple[int, Transform | Iterable[TransformStep]]] | None = None, **named: object
    ) -> None:
        given = [*(groups or {}).items(), *((name.removesuffix("_"), group) for name, group in named.items())]
        made: list[Group] = []
        first = 0
        for name, group in given:
            _check_name(name, [other.name for other in made])
            count, transform = _checked(name, group)
            made.append(Group(name, first, count, transform))
            first += count
        if not made:
            raise ValueError("Views needs at least one group, such as views=(2, [RandomResizedCrop(224)])")
        self.groups = tuple(made)
        self.transforms = tuple(group.transform for group in made for _ in range(group.count))

    def __repr__(self) -> str:
        return f"Views({ {group.name: (group.count, group.transform) for group in self.groups} })"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Views) and self.groups == other.groups

    def __hash__(self) -> int:
        return hash(self.groups)

    def grouped(self, views: Sequence[T], join: Callable[[list[T]], T]) -> dict[str, T]:
        """Of something for each view, those of each group joined to one, by its name."""
        return {g.name: join(list(views[g.first : g.first + g.count])) for g in self.groups}

    @property
    def output(self) -> tuple[Any, ...]:
        """What is the same for all samples of a batch: names, numbers and sizes."""
        return tuple((group.name, group.count, group.transform.output_size) for group in self.groups)

    @property
    def is_fixed(self) -> bool:
        """Whether every group draws the same views of an image every time."""
        return all(group.transform.is_fixed for group in self.groups)


def _check_name(name: object, others: Sequence[str]) -> None:
    if not isinstance(name, str):
        raise TypeError(f"Views: names are strings, got {name!r}")
    if not name:
        raise ValueError("Views: a group needs a name, such as views=(2, [RandomResizedCrop(224)])")
    if name in others:
        raise ValueError(f"Views: {name!r} is given twice (an underscore at a keyword's end is left out)")


def _checked(name: str, group: object) -> tuple[int, Transform]:
    if not isinstance(group, tuple) or len(group) != 2 or type(group[0]) is not int:
        raise TypeError(f"Views: {name} must be (how many, their steps), got {group!r}")
    count, transform = group[0], as_transform(group[1])
    if count < 1:
        raise ValueError(f"Views: {name} must have at least one view, got {count}")
    if transform.output_size is None:
        raise ValueError(f"Views: {name} gives images of different sizes: end its steps with a fixed one")
    return count, transform


def rngs_of_view(rngs: splitmix.Words, view: int) -> splitmix.Words:
    """Where the random numbers of view number `view` of some samples start, by those of the samples."""
    return rngs if view == 0 else splitmix.words(rngs, np.array(_FIRST_NUMBER + view, np.uint64))


def rng_of_view(rng: int, view: int) -> int:
    """The same for one sample, without numpy."""
    return rng if view == 0 else splitmix.word(rng, _FIRST_NUMBER + view)
