"""What no header says of an image that Pillow decodes: what its decoder would take for it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from fastdata.errors import DecodeError
from fastdata.images.limits import MAX_COMMENTS, MAX_SCANNED_PIXELS

# TIFF's tags of a tile's sides and of a strip's height; and of where tiles or strips are, and how many bytes they have:
# of these each has a number for tiles and one for strips, which libtiff takes for the same.
_TILE_WIDTH, _TILE_HEIGHT, _STRIP_HEIGHT = 322, 323, 278
_OFFSETS, _SIZES = (324, 273), (325, 279)

_SMALL_TILE = 1 << 22  # pixels: a smaller tile is none too large for any picture


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
        case "TIFF":
            _refuse_tiff(image, data)
        case "PPM" if data[:2] in (b"P1", b"P2", b"P3") and data.count(b"#") > MAX_COMMENTS:
            raise DecodeError(f"a plain PPM of more than {MAX_COMMENTS} comments: a decompression bomb")


def _refuse_tiff(image: Image.Image, data: bytes) -> None:
    """Of a tile all is decoded, however little of it the picture has; it may be far larger than the picture."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]  # a TiffImageFile has them
    width, height = image.size
    if _TILE_WIDTH in tags or _TILE_HEIGHT in tags:
        tile = tags[_TILE_WIDTH], tags[_TILE_HEIGHT]
        if min(tile) < 1 or tile[0] * tile[1] > max(4 * width * height, _SMALL_TILE):
            what = f"a TIFF of {width}x{height} pixels in tiles of {tile[0]}x{tile[1]}"
            raise DecodeError(f"{what}: a decompression bomb")
    else:
        rows = tags.get(_STRIP_HEIGHT, height)
        tile = width, rows if 0 < rows < height else height
    if image.info.get("compression") in ("jpeg", "tiff_jpeg"):
        _refuse_scans(tags, *tile, data)


def _refuse_scans(tags: Any, width: int, height: int, data: bytes) -> None:
    """Each tile or strip is a JPEG, of a hundred scans at most, as libtiff has it; and all may be the same one."""
    starts, sizes = (np.array(_numbers(_one_of(tags, names)), np.float64) for names in (_OFFSETS, _SIZES))
    both = np.frombuffer(data, np.uint8)
    scans = np.flatnonzero((both[:-1] == 0xFF) & (both[1:] == 0xDA))
    if len(starts) == len(sizes) and (sizes > 0).all():
        decoded = int((np.searchsorted(scans, starts + sizes) - np.searchsorted(scans, starts)).sum())
    else:  # libtiff estimates the sizes
        decoded = len(scans) * max(1, len(starts))
    if decoded * width * height > MAX_SCANNED_PIXELS:
        raise DecodeError(f"a TIFF of {decoded} JPEG scans of {width}x{height} pixels: a decompression bomb")


def _one_of(tags: Any, names: tuple[int, int]) -> int | Sequence[int]:
    """What is under the one tag or the other; DecodeError for both, of which nobody knows which one libtiff takes."""
    if all(name in tags for name in names):
        raise DecodeError("a TIFF that says twice where its tiles or strips are, or of how many bytes: it is damaged")
    value: int | Sequence[int] = next((tags[name] for name in names if name in tags), ())
    return value


def _numbers(value: int | Sequence[int]) -> Sequence[int]:
    return (value,) if isinstance(value, int) else value
