"""Pillow decodes what is not JPEG, and has the last word on what libjpeg-turbo refuses."""

import ctypes
import functools
import io
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError

from fastdata.errors import DecodeError
from fastdata.images.bombs import refuse_bomb
from fastdata.sample import Pixels

# Pillow's others are not asked: rare, and EPS would run Ghostscript on what was read.
_PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")


def open_image(data: bytes) -> Image.Image:
    """An image that is not decoded yet. DecodeError where Pillow knows none in these bytes."""
    if not data:
        raise DecodeError("it is empty: it has no bytes")
    try:
        return Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS)
    except UnidentifiedImageError:
        raise DecodeError(f"neither {', '.join(_PILLOW_FORMATS[:-1])} nor {_PILLOW_FORMATS[-1]}") from None
    except Image.DecompressionBombError as error:
        raise DecodeError(f"{error}: raise PIL.Image.MAX_IMAGE_PIXELS, too, if that is meant") from error
    except MemoryError:  # the machine's fault, for which no image is to blame: its size was looked at
        raise
    except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to.
        raise DecodeError(f"not an image that Pillow can read: {error}") from error


def decode_by_pillow(data: bytes, stored_size: tuple[int, int]) -> Pixels:
    """The whole picture as it is stored, of that (width, height). DecodeError where it is not; MemoryError."""
    with open_image(data) as image:
        if image.format == "TIFF":
            _silence_libtiff()
        try:
            refuse_bomb(image, data)
            pixels = _pixels(image)
        except (DecodeError, MemoryError):
            raise
        except Exception as error:  # as above
            raise DecodeError(f"Pillow can't decode this {image.format} image: {error}") from error
    height, width = pixels.shape[:2]
    if (width, height) != stored_size:
        raise DecodeError(f"the header says {stored_size}, the pixels are {(width, height)}")
    return pixels


@functools.cache
def _silence_libtiff() -> None:
    """Keeps Pillow's own libtiff from printing to stderr, by C, a line for each damaged row of an image.

    What is wrong is said by the error that is raised. A libtiff of the system, which others in this process may use,
    is left as it is, and so is one that has no such function to be called.
    """
    for library in Path(PIL.__file__).parent.parent.glob("pillow.libs/libtiff*"):
        set_error_handler = getattr(ctypes.CDLL(str(library)), "TIFFSetErrorHandler", None)
        if set_error_handler is not None:
            set_error_handler.argtypes, set_error_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_error_handler(None)


def _pixels(image: Image.Image) -> Pixels:
    """8 bit RGB, in memory that can be written, which torch wants.

    Some rows at a time: what Pillow converts and copies would take the memory of a large picture four times more.
    """
    image.load()
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _PIXELS_AT_ONCE // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        part = image if rows >= height else image.crop((0, top, width, bottom))
        pixels[top:bottom] = np.asarray(_to_rgb(part, image.format))
    return pixels


_PIXELS_AT_ONCE = 1 << 22


def _to_rgb(image: Image.Image, format: str | None) -> Image.Image:
    """8 bit RGB. Pillow takes the high byte of 16 bit colour, but clips 16 bit grey and floats: not here."""
    if image.mode.startswith("I;16") or (image.mode == "I" and format == "PPM"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise DecodeError(f"{format} pixels of mode {image.mode} have no known range: make them 8 or 16 bit")
    if "transparency" in image.info:
        image = image.convert("RGBA")  # at once to RGB is the same, but warns of palettes
    return image if image.mode == "RGB" else image.convert("RGB")
