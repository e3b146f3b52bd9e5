"""What becomes of an image's bytes on the way into a shard: nothing, restart markers, or a smaller JPEG."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, assert_never

from fastdata.errors import JpegError
from fastdata.images.jpeg import JpegHeader, read_jpeg_header
from fastdata.images.restart import add_table
from fastdata.packing.crop_ready import can_make_crop_ready, make_crop_ready, restart_interval

if TYPE_CHECKING:
    from fastdata.sample import Pixels


@dataclass(frozen=True)
class Keep:
    """The file's own bytes, whatever they are."""

    def __str__(self) -> str:
        return "keep"


@dataclass(frozen=True)
class CropReady:
    """The same picture, coefficient for coefficient, with restart markers and a table: see `make_crop_ready`."""

    def __str__(self) -> str:
        return "crop-ready"


@dataclass(frozen=True)
class Encode:
    """A crop-ready JPEG of the upright picture, its longer side at most `max_side`, of `quality` 1 to 100.

    An upright JPEG that would have more bytes so keeps its coefficients, and with them its sides, even where these are
    longer: to encode it anew would cost bytes and sharpness, for nothing. It is made crop-ready all the same. What is
    not upright is always turned, and what is no JPEG always becomes one.
    """

    max_side: int = 512
    quality: int = 92

    def __post_init__(self) -> None:
        if self.max_side < 1:
            raise ValueError(f"max_side must be at least 1, not {self.max_side}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be from 1 to 100, not {self.quality}")

    def __str__(self) -> str:
        return f"encode(max_side={self.max_side}, quality={self.quality})"


Conversion = Keep | CropReady | Encode


class Converted(NamedTuple):
    """An image as it goes into a shard. One that can't be converted is `refused`, and stays as it was."""

    data: bytes
    extension: str
    refused: bool = False


def convert(data: bytes, extension: str, conversion: Conversion) -> Converted:
    """The converted image and its extension. RuntimeError where it should be crop-ready, which can't be done here."""
    match conversion:
        case Keep():
            return Converted(data, extension)
        case CropReady():
            try:
                return Converted(make_crop_ready(data), extension)
            except JpegError:
                return Converted(data, extension, refused=True)
        case Encode():
            return _encode(data, extension, conversion)
    assert_never(conversion)


def _encode(data: bytes, extension: str, how: Encode) -> Converted:
    import cv2  # takes, with decode's torch, half a second, for which packing without encoding need not wait

    from fastdata.errors import DecodeError

    try:
        pixels = _upright(data, how.max_side)
    except DecodeError:
        return Converted(data, extension, refused=True)
    height, width, _ = pixels.shape
    options = [cv2.IMWRITE_JPEG_QUALITY, how.quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    interval = restart_interval(_header_of_420()._replace(width=width, height=height))
    options += [cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    if not done:  # a side of more than 65,500 pixels
        return Converted(data, extension, refused=True)
    return Converted(min([add_table(encoded.tobytes()), *_as_it_is(data)], key=len), "jpg")


def _as_it_is(data: bytes) -> list[bytes]:
    """The image with its coefficients kept, where it is an upright JPEG; else nothing.

    It is made crop-ready where that can be done here.
    """
    try:
        if read_jpeg_header(data).orientation != 1:
            return []
        return [make_crop_ready(data) if can_make_crop_ready() else data]
    except JpegError:
        return []


def _upright(data: bytes, max_side: int) -> "Pixels":
    from fastdata.images.decode import decode
    from fastdata.images.header import read_header
    from fastdata.transforms.view import Box, View

    header = read_header(data)
    scale = min(1.0, max_side / max(header.size))
    width, height = (max(1, round(side * scale)) for side in header.size)
    whole = Box(0, 0, header.width, header.height)
    return decode(data, View(whole, (width, height), Box(0, 0, width, height), flip=False), header=header)


@functools.cache
def _header_of_420() -> JpegHeader:
    import cv2
    import numpy as np

    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    return read_jpeg_header(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8), options)[1].tobytes())
