"""A mask's file becomes an array of class indices."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastdata.errors import DecodeError, TargetError
from fastdata.images.bombs import refuse_bomb
from fastdata.images.header import Header
from fastdata.images.pillow import open_image
from fastdata.transforms.follow import upright_mask


def decode_mask(data: bytes, header: Header, upright: bool) -> npt.NDArray[Any]:
    """The mask (H, W) of an image that has this header, turned upright with it unless it is `upright`.

    uint8, or int32 where it has more than 8 bits; a palette's indices, 0 and 1 of one bit. TargetError where it can't
    be decoded, has several channels or another size than its image.
    """
    expected = header.size if upright else header.stored_size
    try:
        with open_image(data) as image:
            if image.size != expected:
                raise TargetError(_other_size(image.size, expected, header, upright))
            mask = _indices(image, data)
    except DecodeError as error:
        raise TargetError(f"is no mask: {error}") from error
    return mask if upright else upright_mask(mask, header.orientation)


def _indices(image: Image.Image, data: bytes) -> npt.NDArray[Any]:
    if image.mode not in ("1", "L", "P", "I") and not image.mode.startswith("I;16"):
        raise TargetError(f"is no mask: its pixels are {image.mode}, and a mask's have one channel of integers")
    try:
        refuse_bomb(image, data)
        pixels = np.asarray(image)
    except DecodeError:
        raise
    except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to
        raise TargetError(f"is no mask: Pillow can't decode this {image.format} image: {error}") from error
    if pixels.shape != image.size[::-1]:
        raise TargetError(f"says that it is {image.size}, and has pixels of {pixels.shape[::-1]}")
    return pixels.astype(np.int32 if pixels.dtype.itemsize > 1 else np.uint8)


def _other_size(size: tuple[int, int], expected: tuple[int, int], header: Header, upright: bool) -> str:
    problem = f"is {size[0]}x{size[1]}, its image {expected[0]}x{expected[1]}"
    if size == (header.stored_size if upright else header.size):
        seen = "before its EXIF orientation is applied" if upright else "as it is seen, EXIF orientation applied"
        return f"{problem}, and {size[0]}x{size[1]} {seen}: say upright={not upright}"
    return f"{problem}: a mask has its image's size"
