"""Bytes and a view become pixels, on the CPU.

JPEG goes through simplejpeg (libjpeg-turbo, without the GIL); what that refuses, and everything that is not JPEG,
through Pillow, whose verdict counts. The content decides what a file is, never its name.
"""

import io
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
from PIL import Image, UnidentifiedImageError
from torch.nn import functional as F

from fastdata.crop_ready import cut_stored
from fastdata.jpeg import JpegError, JpegHeader, exif_orientation, is_jpeg, stored_box
from fastdata.jpeg import read_header as read_jpeg_header
from fastdata.transforms import Box, View

MAX_PIXELS = 178_956_970
"""Pillow's own limit: a larger image is taken for a decompression bomb."""

MAX_SCANS = 500

Pixels = npt.NDArray[np.uint8]

# Pillow's others are not asked: rare, and EPS would run Ghostscript on what was read.
_PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")


class DecodeError(ValueError):
    """These bytes are no image that can be decoded, or one that claims to be too large."""


class Header(NamedTuple):
    """What an image says of itself before it is decoded; `width` and `height` are those of the upright image."""

    width: int
    height: int
    orientation: int
    jpeg: JpegHeader | None

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height before EXIF orientation is applied."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


class Part(NamedTuple):
    """What is to be decoded for a view: a box, in stored orientation, of a JPEG of `size` (width, height).

    `data` are the image's own, or as much of them as the box needs. `factor` is what to scale down by; 0: the image is
    none for simplejpeg, and Pillow decodes it.
    """

    data: bytes
    size: tuple[int, int]
    box: Box
    factor: int


class Source(NamedTuple):
    """Decoded pixels, in stored orientation, that hold a view's box at (left, top, right, bottom) in them."""

    pixels: Pixels
    box: tuple[float, float, float, float]


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Size and EXIF orientation of an image, without decoding it.

    DecodeError where it is none that Pillow knows, or larger than `max_pixels`.
    """
    header = _read_header(data)
    if header.width * header.height > max_pixels:
        raise DecodeError(
            f"the image claims {header.width}x{header.height} pixels, more than the limit of {max_pixels}: "
            "raise max_pixels if that is meant"
        )
    # Each scan works through the whole picture and takes a few bytes: libjpeg-turbo's own advice is to limit them.
    if header.jpeg is not None and header.jpeg.progressive and data.count(b"\xff\xda") > MAX_SCANS:
        raise DecodeError(f"a progressive JPEG of more than {MAX_SCANS} scans: a decompression bomb")
    return header


def _read_header(data: bytes) -> Header:
    if is_jpeg(data):
        try:
            jpeg = read_jpeg_header(data)
        except JpegError:
            jpeg = None  # Pillow is more patient with odd markers; its verdict counts.
        if jpeg is not None:
            return _upright(jpeg.width, jpeg.height, jpeg.orientation, jpeg)
    with _open(data) as image:
        # Not by Pillow's getexif: for PNG it decodes the image first, and it believes XMP. TIFF is turned by Pillow.
        exif = image.info.get("exif") if image.format != "TIFF" else None
        orientation = exif_orientation(exif.removeprefix(b"Exif\0\0")) if isinstance(exif, bytes) else 1
        return _upright(*image.size, orientation, None)


def _upright(width: int, height: int, orientation: int, jpeg: JpegHeader | None) -> Header:
    return Header(height, width, orientation, jpeg) if orientation >= 5 else Header(width, height, orientation, jpeg)


def decode(data: bytes, view: View, out: Pixels | None = None, header: Header | None = None) -> Pixels:
    """The pixels of one view: uint8, shape (height, width, 3), RGB, written into `out` where it is given.

    `header` is `read_header(data)`, where the caller has it. DecodeError where the image can't be decoded,
    ValueError where `out` is not a writable uint8 array of the view's window, or the view is not of this image.
    """
    header = header or read_header(data)
    return resample(decode_box(data, view, header), view, header, out)


def find_part(data: bytes, view: View, header: Header) -> Part:
    """What `decode_box` will decode first: as much of the image as the view needs, where restart markers say where
    that lies, else the whole."""
    whole = _whole(data, view, header)
    if not whole.factor or header.jpeg is None or not header.jpeg.restart_interval:
        return whole
    cut = cut_stored(data, header.jpeg, whole.box, whole.factor)
    if cut is None:
        return whole
    smaller, (left, top), size = cut
    return Part(smaller, size, Box(left, top, left + whole.box.width, top + whole.box.height), whole.factor)


def decode_box(data: bytes, view: View, header: Header, part: Part | None = None) -> Source:
    """The first half of `decode`: at least the pixels of the view's box, scaled down by JPEG where that helps.

    `part` is `find_part(data, view, header)`, where the caller has it.
    """
    part = part or find_part(data, view, header)
    source = _decode_jpeg(part)
    if source is None and part.data is not data:
        part = _whole(data, view, header)  # whose verdict counts
        source = _decode_jpeg(part)
    return source or Source(_decode_by_pillow(data, header), part.box)


def resample(source: Source, view: View, header: Header, out: Pixels | None = None) -> Pixels:
    """The second half of `decode`: resize, turn upright, window and flip."""
    shape = (view.window.height, view.window.width, 3)
    if out is None:
        out = np.empty(shape, np.uint8)
    elif out.shape != shape or out.dtype != np.uint8 or not out.flags.writeable:
        raise ValueError(f"out must be a writable uint8 array of shape {shape}, got {out.dtype} of {out.shape}")
    at_once = view.window == (0, 0, *view.size) and not view.flip and header.orientation == 1
    into = out if at_once and out.flags.c_contiguous else None
    pixels = _resize(source, _stored_size(view, header), view.antialias, into)
    if pixels is into:
        return out
    if header.orientation != 1:
        transposed, flip_x, flip_y = _ORIENTATION[header.orientation]
        pixels = pixels.transpose(1, 0, 2) if transposed else pixels
        pixels = pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    _finish(pixels, view, out)
    return out


# How to turn stored pixels upright, by EXIF orientation: transpose?, then mirror in x?, in y?
_ORIENTATION = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def _stored_size(view: View, header: Header) -> tuple[int, int]:
    transposed = _ORIENTATION[header.orientation][0]
    return (view.size[1], view.size[0]) if transposed else view.size


def _whole(data: bytes, view: View, header: Header) -> Part:
    box, size = view.box, view.size
    if not (0 <= box.left < box.right <= header.width and 0 <= box.top < box.bottom <= header.height):
        raise ValueError(f"{box} is not a box of an image of {header.width}x{header.height}")
    # A strip of 1 x 60,000 pixels resized by its shorter side asks for as much memory as any bomb.
    if min(size) < 1 or (size != (box.width, box.height) and size[0] * size[1] > MAX_PIXELS):
        raise DecodeError(f"resizing {box.width}x{box.height} to {size[0]}x{size[1]} is out of bounds")
    box = Box(*stored_box(header.orientation, header.stored_size, box))
    factor = 0
    if header.jpeg is not None and header.jpeg.components != 4:  # simplejpeg's CMYK is a level off Pillow's
        factor = _scale_factor(box, _stored_size(view, header), view.reducing_gap)
    return Part(data, header.stored_size, box, factor)


def _decode_jpeg(part: Part) -> Source | None:
    """The whole of its picture at 1/factor of its size; None for what simplejpeg refuses."""
    factor = part.factor
    if not factor:
        return None
    width, height = -(-part.size[0] // factor), -(-part.size[1] // factor)
    try:
        # Asking for this very size makes libjpeg-turbo scale by 1/factor.
        pixels: Pixels = simplejpeg.decode_jpeg(part.data, min_width=width, min_height=height)
    except ValueError:
        return None  # Damaged, or a kind that it does not know (4:1:0, ...).
    if pixels.shape != (height, width, 3):
        return None
    if factor == 1:
        return Source(pixels, part.box)
    left, top, right, bottom = part.box
    return Source(pixels, (left / factor, top / factor, right / factor, bottom / factor))


def _scale_factor(box: Box, size: tuple[int, int], reducing_gap: float | None) -> int:
    """By how much JPEG may scale down; 3/8 and the like are left out, having no SIMD code in libjpeg-turbo."""
    if reducing_gap is None:
        return 1
    gap = min(box.width / size[0], box.height / size[1]) / reducing_gap
    return 8 if gap >= 8 else 4 if gap >= 4 else 2 if gap >= 2 else 1


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS)
    except UnidentifiedImageError:
        raise DecodeError(f"neither {', '.join(_PILLOW_FORMATS[:-1])} nor {_PILLOW_FORMATS[-1]}") from None
    except Image.DecompressionBombError as error:
        raise DecodeError(f"{error}: raise PIL.Image.MAX_IMAGE_PIXELS, too, if that is meant") from error
    except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to.
        raise DecodeError(f"not an image that Pillow can read: {error}") from error


def _decode_by_pillow(data: bytes, header: Header) -> Pixels:
    """The whole picture as it is stored."""
    with _open(data) as image:
        try:
            pixels = np.array(_to_rgb(image))  # copied, since torch wants memory that can be written
        except DecodeError:
            raise
        except Exception as error:  # as above
            raise DecodeError(f"Pillow can't decode this {image.format} image: {error}") from error
    height, width = pixels.shape[:2]
    if (width, height) != header.stored_size:
        raise DecodeError(f"the header says {header.stored_size}, the pixels are {(width, height)}")
    return pixels


def _to_rgb(image: Image.Image) -> Image.Image:
    """8 bit RGB. Pillow takes the high byte of 16 bit colour, but clips 16 bit grey and floats: not here."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise DecodeError(f"{image.format} pixels of mode {image.mode} have no known range: make them 8 or 16 bit")
    if "transparency" in image.info:
        image = image.convert("RGBA")  # at once to RGB is the same, but warns of palettes
    return image.convert("RGB")


def _resize(source: Source, size: tuple[int, int], antialias: bool, into: Pixels | None) -> Pixels:
    """The source's box, resized to `size` (width, height), where that is possible in the memory of `into`."""
    left, top = int(source.box[0]), int(source.box[1])
    right, bottom = -int(-source.box[2] // 1), -int(-source.box[3] // 1)
    box = source.pixels[top:bottom, left:right]
    if source.box != (left, top, right, bottom):
        inside = (source.box[0] - left, source.box[1] - top, source.box[2] - left, source.box[3] - top)
        return _resize_between_pixels(Source(box, inside), size, antialias)
    if size == (right - left, bottom - top):
        return box
    if not antialias:
        return np.asarray(cv2.resize(box, size, into, interpolation=cv2.INTER_LINEAR), np.uint8)
    # Contiguous, since torch's AVX2 kernel starts threads to make it so; and with strides of which torch says
    # "channels last": else it gives planes, and interleaving them takes as long again. By numpy, since each of torch's
    # own views lets go of the interpreter's lock, and waits for it.
    height, width = box.shape[:2]
    tensor = torch.from_numpy(np.ascontiguousarray(box).reshape(1, height, width, 3).transpose(0, 3, 1, 2))
    resized = F.interpolate(tensor, (size[1], size[0]), mode="bilinear", antialias=True)
    return np.asarray(resized.numpy()[0].transpose(1, 2, 0), np.uint8)


def _resize_between_pixels(source: Source, size: tuple[int, int], antialias: bool) -> Pixels:
    """The same for a box that ends between pixels, as boxes do in a JPEG decoded at a fraction of its size."""
    if antialias:
        image = Image.fromarray(np.ascontiguousarray(source.pixels))
        return np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=source.box))
    left, top, right, bottom = source.box
    step_x, step_y = (right - left) / size[0], (bottom - top) / size[1]
    # From the centres of output pixels to the source's, as cv2.resize does for whole boxes.
    to_source = np.array([[step_x, 0, left + step_x / 2 - 0.5], [0, step_y, top + step_y / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    resized = cv2.warpAffine(source.pixels, to_source, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(resized, np.uint8)


def _finish(pixels: Pixels, view: View, out: Pixels) -> None:
    """Window and flip, copied into `out`."""
    window = view.window
    if window.left < 0 or window.top < 0 or window.right > view.size[0] or window.bottom > view.size[1]:
        pixels = _padded(pixels, window)
    else:
        pixels = pixels[window.top : window.bottom, window.left : window.right]
    if not view.flip:
        np.copyto(out, pixels)
    elif out.flags.c_contiguous:
        cv2.flip(pixels, 1, dst=out)  # a thirtieth of the time that numpy takes for negative strides
    else:
        np.copyto(out, pixels[:, ::-1])


def _padded(pixels: Pixels, window: Box) -> Pixels:
    """The window of `pixels`, black where it reaches beyond them."""
    padded = np.zeros((window.height, window.width, 3), np.uint8)
    shown = pixels[max(window.top, 0) : window.bottom, max(window.left, 0) : window.right]
    top, left = max(-window.top, 0), max(-window.left, 0)
    padded[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return padded
