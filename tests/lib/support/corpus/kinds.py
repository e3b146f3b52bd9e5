"""A kind of input, what all of its cases get, and the table that docs/inputs.md shows of that."""

from collections.abc import Sequence
from typing import NamedTuple

from support.pictures import Pixels

PIXELS = "pixels"
"""Its pixels: those of Pillow, or those that the case itself says."""

AS_PILLOW = "as Pillow"
"""Pillow's pixels, or an error where Pillow refuses it."""

REFUSED = "refused"
"""An error in Pillow's words."""


class Kind(NamedTuple):
    """`gets` is PIXELS, AS_PILLOW, REFUSED or what the error says.

    `kernel` and `dali` are whether they decode it: "yes", "no", or "" where that differs from case to case.
    """

    what: str
    gets: str
    kernel: str = "no"
    dali: str = "no"


class Case(NamedTuple):
    """An image file. `pixels`, uint8 (height, width, 3), are what it shows, where that is not asked of Pillow."""

    kind: Kind
    name: str
    data: bytes
    pixels: Pixels | None = None


_WORDS = {PIXELS: "its pixels", AS_PILLOW: "what Pillow makes of it", REFUSED: "an error in Pillow's words"}


def table(kinds: Sequence[Kind]) -> list[str]:
    """The lines of the table of images in docs/inputs.md."""
    lines = ["| image | gets | compiled kernel | DALI |", "|---|---|---|---|"]
    for kind in kinds:
        gets = _WORDS.get(kind.gets, f"an error: `{kind.gets}`")
        lines.append(f"| {kind.what} | {gets} | {kind.kernel or 'some'} | {kind.dali or 'some'} |")
    return lines
