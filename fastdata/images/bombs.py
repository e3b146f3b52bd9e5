"""What no header says of an image that Pillow decodes: what its decoder would take for it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from fastdata.errors import DecodeError
from fastdata.images.limits import MAX_COMMENTS, MAX_SCANNED_PIXELS

# TIFF's tags of where its tiles or strips are, how many bytes they have, and their sides.
_TILES = {"offsets": 324, "sizes": 325, "width": 322, "height": 323}
_STRIPS = {"offsets": 273, "sizes": 279, "height": 278}


def refuse_bomb(image: Image.Image, data: bytes) -> None:
    """DecodeError for an image, not decoded yet, of these bytes, which would take gigabytes or minutes.

    Whatever damaged tags lead to is raised, too.
    """
    width, height = image.size
    match image.format:
        case "WEBP" if Image.MAX_IMAGE_PIXELS and width * height > Image.MAX_IMAGE_PIXELS:
            raise DecodeError(
                f"a WebP of {width}x{height} pixels, for each of which its decoder takes 16 bytes, and more than "
                f"{Image.MAX_IMAGE_PIXELS}: raise PIL.Image.MAX_IMAGE_PIXELS if that is meant"
            )
        case "TIFF" if image.info.get("compression") in ("jpeg", "tiff_jpeg"):
            _refuse_scans(image, data)
        case "PPM" if data[:2] in (b"P1", b"P2", b"P3") and data.count(b"#") > MAX_COMMENTS:
            raise DecodeError(f"a plain PPM of more than {MAX_COMMENTS} comments: a decompression bomb")


def _refuse_scans(image: Image.Image, data: bytes) -> None:
    """Each tile or strip is a JPEG, of a hundred scans at most, as libtiff has it; and all may be the same one."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]  # a TiffImageFile has them
    if _TILES["offsets"] in tags:
        at, width, height = _TILES, tags[_TILES["width"]], tags[_TILES["height"]]
    else:
        at, (width, height) = _STRIPS, image.size
        height = min(tags.get(_STRIPS["height"], height), height)
    starts, sizes = (np.array(_numbers(tags.get(at[name], ())), np.float64) for name in ("offsets", "sizes"))
    both = np.frombuffer(data, np.uint8)
    scans = np.flatnonzero((both[:-1] == 0xFF) & (both[1:] == 0xDA))
    if len(starts) == len(sizes):
        decoded = int((np.searchsorted(scans, starts + sizes) - np.searchsorted(scans, starts)).sum())
    else:
        decoded = len(scans) * max(1, len(starts))
    if decoded * width * height > MAX_SCANNED_PIXELS:
        raise DecodeError(f"a TIFF of {decoded} JPEG scans of {width}x{height} pixels: a decompression bomb")


def _numbers(value: int | Sequence[int]) -> Sequence[int]:
    return (value,) if isinstance(value, int) else value
