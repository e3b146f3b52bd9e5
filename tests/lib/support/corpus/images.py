"""All images of the corpus, and what each is to get."""

import functools
import io
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from support.corpus import broken_jpegs, jpegs, others, pngs
from support.corpus.kinds import AS_PILLOW, PIXELS, REFUSED, Case, Kind
from support.pictures import Pixels

KINDS: list[Kind] = [*jpegs.KINDS, *broken_jpegs.KINDS, *pngs.KINDS, *others.KINDS]

SIZE = (jpegs.HEIGHT, jpegs.WIDTH)
"""To which all of them are resized."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")


class Expected(NamedTuple):
    """Pixels of SIZE, or None where the image is refused, for a reason with these words in it."""

    pixels: Pixels | None
    words: str = ""


@functools.cache
def cases() -> dict[str, Case]:
    """By a number that is their key."""
    made = [*jpegs.good_jpegs(), *broken_jpegs.broken_jpegs(), *pngs.pngs(), *others.others()]
    return {f"{number:04}": case for number, case in enumerate(made)}


@functools.cache
def expected() -> dict[str, Expected]:
    """What each of them is to get, by its key."""
    return {key: _expected(case) for key, case in cases().items()}


def _expected(case: Case) -> Expected:
    if case.kind.gets == REFUSED:
        return Expected(None)
    if case.kind.gets not in (PIXELS, AS_PILLOW):
        return Expected(None, case.kind.gets)
    shown = Image.fromarray(case.pixels) if case.pixels is not None else _by_pillow(case.data)
    if shown is None:
        assert case.kind.gets == AS_PILLOW, f"Pillow refuses {case.kind.what}, {case.name}"
        return Expected(None)
    return Expected(np.asarray(shown.resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR)))


def _by_pillow(data: bytes) -> Image.Image | None:
    """Upright, in 8 bits RGB; None where Pillow refuses it, or where it is larger than Pillow's limit for bombs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged EXIF
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                upright = ImageOps.exif_transpose(image)
                if upright.mode.startswith("I;16") or (upright.mode, image.format) == ("I", "PPM"):  # Pillow clips it
                    upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
                return upright.convert("RGB")
        except Exception:  # noqa: BLE001 - whatever Pillow raises, it refuses the image
            return None
