"""The report as a page: one file, without scripts, that loads nothing else."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fastdata import __version__
from fastdata.commands.report.duplicates import Group
from fastdata.commands.report.histogram import HEIGHT, WIDTH, Histogram, histogram
from fastdata.commands.report.looks import Looks
from fastdata.commands.report.pictures import Gallery, Picture, galleries, pictures
from fastdata.commands.report.source import SIDE, Source
from fastdata.commands.report.survey import Survey
from fastdata.commands.report.verdicts import verdicts
from fastdata.commands.terminal import printable
from fastdata.datasets.base import ImageDataset

_CLASSES, _FOLDED_CLASSES = 25, 1000  # rows of the table of classes
_FAULTS, _FOLDED_FAULTS = 20, 500
_GROUPS, _OF_GROUP = 20, 6  # duplicates, and names of each


class Shape(NamedTuple):
    """A histogram with its heading and the unit of its numbers."""

    name: str
    unit: str
    drawn: Histogram


class Same(NamedTuple):
    """Duplicates: a thumbnail, the first of their keys and how many more, their classes' names."""

    picture: Picture
    keys: list[str]
    more: int
    classes: list[str]


def page(source: Source, found: Survey, looks: Looks) -> str:
    """The page's HTML. Names and causes that were read are escaped, whatever they hold."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True)
    environment.filters |= {"number": _number, "size": _size}
    template = environment.from_string(files(__package__).joinpath("page.html").read_text("utf-8"))
    names = {one.class_index: one.name for one in found.classes}
    return template.render(
        found=found,
        version=__version__,
        verdicts=verdicts(found),
        shapes=_shapes(looks.good),
        galleries=_galleries(source, found),
        same=_same(source.dataset, found.duplicates.groups[:_GROUPS], names),
        names=names,
        most=max((one.samples for one in found.classes), default=0),
        limits={"classes": _CLASSES, "folded_classes": _FOLDED_CLASSES, "faults": _FAULTS, "groups": _GROUPS}
        | {"folded_faults": _FOLDED_FAULTS, "width": WIDTH, "height": HEIGHT, "side": SIDE},
    )


def _shapes(good: npt.NDArray[np.void]) -> list[Shape]:
    width, height = good["width"].astype(np.float64), good["height"].astype(np.float64)
    values = [
        ("Width", "px", width),
        ("Height", "px", height),
        ("Width : height", "", width / np.maximum(height, 1)),
        ("Bytes of an image", "B", good["bytes"].astype(np.float64)),
    ]
    drawn = [(name, unit, histogram(numbers)) for name, unit, numbers in values]
    return [Shape(name, unit, shape) for name, unit, shape in drawn if shape is not None]


def _galleries(source: Source, found: Survey) -> list[Gallery]:
    return galleries(source.dataset, source.classes, [one.class_index for one in found.classes if one.samples])


def _same(dataset: ImageDataset, groups: list[Group], names: Mapping[int, str]) -> list[Same]:
    first = pictures(dataset, [group.numbers[0] for group in groups])
    return [
        Same(
            first[group.numbers[0]],
            [dataset.key(number) for number in group.numbers[:_OF_GROUP]],
            max(0, len(group.numbers) - _OF_GROUP),
            [names[index] for index in group.classes if index in names],
        )
        for group in groups
    ]


def _shown(value: Any) -> Any:
    """What the template prints: of what was read nothing that turns a line around, or that UTF-8 can't say."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _number(value: float) -> str:
    """With three figures at least, and none too many."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _size(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count / size:,.0f} {unit}"
    return f"{count:.0f} B"
