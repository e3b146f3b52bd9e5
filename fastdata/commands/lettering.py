"""Text in pictures, in a font that has its letters."""

from functools import cache, lru_cache
from typing import Any, NamedTuple
from unicodedata import normalize

from PIL import ImageFont

from fastdata.commands.terminal import printable

_SYSTEM = (  # those of Linux, macOS and Windows that have most letters
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "msyh.ttc",
)
_NO_LETTER = "\U0010ffff"  # no font has it, so it is drawn as whatever is missing


class Lettering(NamedTuple):
    """A text, and a font of Pillow's to draw it in."""

    text: str
    font: Any


def lettering(text: object, size: int) -> Lettering:
    """The text, printable, in Pillow's own font of this size (in pixels), which has ASCII and little else; or in the
    first of the system's that has all of its letters. Where none has, those that are missing are escaped."""
    said = normalize("NFC", printable(text))
    own = _own(size)
    if said.isascii():
        return Lettering(said, own)
    for font in (own, *filter(None, (_installed(name, size) for name in _SYSTEM))):
        if all(_has(font, letter) for letter in said):
            return Lettering(said, font)
    return Lettering("".join(c if _has(own, c) else c.encode("unicode_escape").decode("ascii") for c in said), own)


@cache
def _own(size: int) -> Any:
    """Pillow's font, which it would make anew each time; `_has` keeps those that it was asked about."""
    return ImageFont.load_default(size)


@cache
def _installed(name: str, size: int) -> Any:
    """A font of the system's, or None."""
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@lru_cache(10_000)
def _has(font: Any, letter: str) -> bool:
    if letter.isascii():
        return True
    drawn, missing = font.getmask(letter), font.getmask(_NO_LETTER)
    return bool(drawn.size != missing.size or bytes(drawn) != bytes(missing))
