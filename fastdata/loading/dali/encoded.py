"""What DALI gets to decode for a view: encoded bytes and a box of them, or nothing where the CPU decoder must do it.

DALI's decoders (libjpeg-turbo, nvJPEG) are trusted with whole, plain JPEGs; all else goes through the CPU decoder,
so that what is good or bad, and what it looks like, does not depend on the decoder.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg

from fastdata.images.cut import cut_stored
from fastdata.images.jpeg import APP1, FRAMES, NEXT_MARKER, JpegHeader, read_jpeg_header, stored_box
from fastdata.images.limits import MAX_PIXELS
from fastdata.images.reference import Encoded, is_scaled
from fastdata.transforms.transform import Transform
from fastdata.transforms.view import Box, View


class DaliImage(NamedTuple):
    """An image for DALI: a JPEG, the box of it (upright) that is decoded, and the view whose box that is."""

    data: bytes
    box: Box
    view: View


def dali_image(image: Encoded, transform: Transform) -> DaliImage | None:
    """What a pipeline that resizes as `transform` says decodes for a view.

    None where it might give other pixels or another verdict than the CPU decoder: where that decodes at a fraction of
    the size, by `reducing_gap`, which DALI has not; where it resizes by plain bicubic, DALI's being another; and where
    the view is of a part of a mixture that resizes otherwise.
    """
    view = image.view
    resized = view.interpolation, view.antialias
    if resized != (transform.interpolation, transform.antialias) or resized == ("bicubic", False):
        return None
    image = image.complete()
    data, header = bytes(image.data), image.header
    jpeg, window = header.jpeg, view.window
    inside = window.left >= 0 and window.top >= 0 and window.right <= view.size[0] and window.bottom <= view.size[1]
    if jpeg is None or not inside or not 0 < view.size[0] * view.size[1] <= MAX_PIXELS or not _is_plain(data, jpeg):
        return None
    if is_scaled(image):
        return None
    outside = 1 - view.box.width * view.box.height / (header.width * header.height)
    if jpeg.restart_interval and outside * len(data) > _LEAST_BYTES_SAVED and (part := _cut(data, jpeg, view)):
        return part
    return DaliImage(_with_our_exif(data, jpeg), view.box, view) if _looks_whole(data, jpeg) else None


# DALI decodes only a box as it is; cutting the rest off takes the time that Huffman decoding so much of it would.
_LEAST_BYTES_SAVED = 24_000

# Luma's sampling factors; chroma's are 1x1.
_SAMPLINGS = {(1, 1), (2, 1), (2, 2), (1, 2), (4, 1)}


def _is_plain(data: bytes, jpeg: JpegHeader) -> bool:
    """Huffman coded, 8 bit, grey or YCbCr: libjpeg and nvJPEG agree on what such a JPEG shows."""
    luma, *chroma = jpeg.sampling
    if jpeg.frame not in (0xC0, 0xC1, 0xC2) or jpeg.precision != 8 or jpeg.adobe_transform not in (None, 1):
        return False
    if not chroma:
        return True
    start = next(start for marker, start, _ in jpeg.segments if marker in FRAMES)
    named_rgb = data[start + 10 : start + 19 : 3] == b"RGB"
    return len(chroma) == 2 and luma in _SAMPLINGS and set(chroma) == {(1, 1)} and not named_rgb


_EOI = b"\xff\xd9"


def _looks_whole(data: bytes, jpeg: JpegHeader) -> bool:
    """Whether the scan runs up to the end of the image, no marker being cut off or in the midst of it.

    Where one is, the CPU decoder refuses; DALI does not look below the box. (A progressive file it reads whole.)
    """
    if jpeg.progressive:
        return data.rfind(_EOI) > jpeg.scan
    marker = NEXT_MARKER.search(data, jpeg.scan)
    return marker is not None and marker.group() == _EOI


def _cut(data: bytes, jpeg: JpegHeader, view: View) -> DaliImage | None:
    """The same view of a smaller JPEG that is cut around its box, where that saves time."""
    stored = stored_box(jpeg.orientation, (jpeg.width, jpeg.height), view.box)
    part = cut_stored(data, jpeg, stored)
    if part is None:
        return None
    smaller, (left, top), _ = part
    header = read_jpeg_header(smaller)
    if not _looks_whole(smaller, header):
        return None
    box = (left, top, left + stored[2] - stored[0], top + stored[3] - stored[1])
    if jpeg.orientation != 1:
        # Back upright: orientations 6 and 8 undo each other, all others themselves.
        sides = (header.width, header.height)[:: -1 if jpeg.orientation >= 5 else 1]
        inverse = {6: 8, 8: 6}.get(jpeg.orientation, jpeg.orientation)
        box = stored_box(inverse, (sides[0], sides[1]), box)
        smaller = smaller[:2] + _exif(jpeg.orientation) + smaller[2:]  # cutting leaves EXIF out
    return DaliImage(smaller, Box(*box), view)


def _with_our_exif(data: bytes, jpeg: JpegHeader) -> bytes:
    """The same with no APP1 segment but one that says our orientation, where that is not 1.

    DALI reads malformed EXIF otherwise. It would turn such an image otherwise, or fail at its box: at the whole batch,
    of which it gives the memory back while its threads are still at work on it, so that the process may end.
    """
    others = [data[start:stop] for marker, start, stop in jpeg.segments if marker != APP1]
    if len(others) == len(jpeg.segments):
        return data
    own = b"" if jpeg.orientation == 1 else _exif(jpeg.orientation)
    return b"".join([data[:2], own, *others, data[jpeg.scan :]])


@functools.cache
def _exif(orientation: int) -> bytes:
    """An APP1 segment that says nothing but the orientation: a TIFF header, and one directory of one SHORT."""
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0]) + bytes(4)
    content = b"Exif\0\0" + tiff
    return bytes([0xFF, APP1]) + (len(content) + 2).to_bytes(2, "big") + content


@functools.cache
def placeholder() -> DaliImage:
    """For a batch without any image for DALI, which takes at least one."""
    box = Box(0, 0, 64, 64)
    return DaliImage(simplejpeg.encode_jpeg(np.zeros((64, 64, 3), np.uint8)), box, View(box, (64, 64), box, flip=False))


def layout(images: list[DaliImage]) -> tuple[list[npt.NDArray[np.uint8]], *tuple[npt.NDArray[Any], ...]]:
    """The bytes of N images, and of shape (N, 2): origin and size of their boxes (x, y), and where in the box the
    window begins and ends (y, x), in pixels of the box; mirrored, it begins on the right, or below."""
    boxes = np.array([image.box for image in images], np.int32)
    sizes = np.array([image.view.size for image in images])
    windows = np.array([image.view.window for image in images])
    shapes = boxes[:, 2:] - boxes[:, :2]
    edges = windows.reshape(-1, 2, 2) * (shapes / sizes)[:, np.newaxis]
    flips = np.array([(image.view.flip, image.view.flip_vertical) for image in images])
    for axis in (0, 1):
        flipped = flips[:, axis]
        edges[flipped, :, axis] = edges[flipped, ::-1, axis]
    begin, end = edges.transpose(1, 0, 2)[:, :, ::-1].astype(np.float32, order="C")  # DALI takes no strides
    data = [np.frombuffer(image.data, np.uint8) for image in images]
    return data, np.ascontiguousarray(boxes[:, :2]), shapes, begin, end
