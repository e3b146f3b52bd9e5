"""Bytes and views become pixels, in Python: the reference for the compiled kernel, and what stands in where it is not.

JPEG goes through simplejpeg (libjpeg-turbo, without the GIL); what that refuses, and everything that is not JPEG,
through Pillow, whose verdict counts.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import simplejpeg

from fastdata.errors import DecodeError
from fastdata.images.cut import cut_stored
from fastdata.images.header import Header, read_header
from fastdata.images.jobs import jobs, view_of
from fastdata.images.jpeg import stored_box
from fastdata.images.limits import MAX_PIXELS
from fastdata.images.pillow import decode_by_pillow
from fastdata.images.resize import Source, resample, stored_size
from fastdata.sample import Pixels
from fastdata.transforms.view import Box, View


class Part(NamedTuple):
    """What libjpeg-turbo is to decode for a view: a box, in stored orientation, of a JPEG of `size` (width, height).

    `data` are the image's own, or as much of them as the box needs. `factor` (1, 2, 4 or 8) is what to scale down by.
    """

    data: bytes
    size: tuple[int, int]
    box: Box
    factor: int


class Encoded:
    """An image, what it says of itself, and the view of it that is wanted.

    A view that the kernel has drawn is a JOB's bytes, which go back to it as they are; a `View` is made of them only
    where someone asks.
    """

    __slots__ = ("_job", "_view", "data", "header")

    def __init__(
        self, data: bytes | memoryview, header: Header, view: View | None = None, job: bytes | None = None
    ) -> None:
        self.data = data
        self.header = header
        self._view = view
        self._job = job

    @property
    def view(self) -> View:
        if self._view is None:
            self._view = view_of(self.job)
        return self._view

    @property
    def drawn(self) -> View | bytes:
        """The view or a JOB, whichever is there: what `LazyViews` takes."""
        return self.view if self._job is None else self._job

    @property
    def job(self) -> bytes:
        """What the kernel is told: a JOB."""
        if self._job is None:
            self._job = jobs([self.view], [self.header.orientation]).tobytes()
        return self._job

    def complete(self) -> "Encoded":
        """The same with the markers of its header, which the kernel does not tell, and with bytes."""
        if not self.header.by_kernel:
            return self
        data = bytes(self.data)
        return Encoded(data, read_header(data, max_pixels=self.header.width * self.header.height), self.view)


class Decoded(NamedTuple):
    """What became of some images: for each what is wrong with it, or None; and nanoseconds spent on all of them."""

    errors: list[DecodeError | None]
    decode_ns: int
    resize_ns: int


def decode(data: bytes, view: View, out: Pixels | None = None, header: Header | None = None) -> Pixels:
    """The pixels of one view, as `fastdata.decode` gives them."""
    image = Encoded(data, header or read_header(data), view).complete()
    return resample(_decode(image, _part(image)), view, image.header, out)


def decode_into(images: Sequence[Encoded], rows: Sequence[Pixels]) -> Decoded:
    """Each image's view, as uint8 RGB, into its row, of shape (window's height, window's width, 3)."""
    begun = time.perf_counter_ns()
    images = [image.complete() for image in images]
    # Decoding leaves the CPU's caches without what cutting needs, which would then take twice as long: so all are cut
    # first.
    parts = [_part_or_error(image) for image in images]
    decode_ns, resize_ns = time.perf_counter_ns() - begun, 0
    errors: list[DecodeError | None] = []
    for image, part, row in zip(images, parts, rows, strict=True):
        error = part if isinstance(part, DecodeError) else None
        begun = decoded = time.perf_counter_ns()
        if not isinstance(part, DecodeError):
            try:
                source = _decode(image, part)
                decoded = time.perf_counter_ns()
                resample(source, image.view, image.header, row)
                del source  # before the next is made: else two take turns, and their memory is given back and taken
            except DecodeError as caught:
                error = caught.without_frames()
        done = time.perf_counter_ns()
        decode_ns += decoded - begun
        resize_ns += done - decoded
        errors.append(error)
    return Decoded(errors, decode_ns, resize_ns)


def _part_or_error(image: Encoded) -> Part | DecodeError | None:
    try:
        return _part(image)
    except DecodeError as error:
        return error.without_frames()


def _part(image: Encoded) -> Part | None:
    """As much of the image as the view needs, where restart markers say where that lies, else the whole; None where
    libjpeg-turbo is not asked."""
    data, header, view = bytes(image.data), image.header, image.view
    box = _checked_box(view, header)
    if header.jpeg is None or header.jpeg.components == 4:  # simplejpeg's CMYK is a level off Pillow's
        return None
    whole = _whole(image, box)
    cut = cut_stored(data, header.jpeg, box, whole.factor) if header.jpeg.restart_interval else None
    if cut is None:
        return whole
    smaller, (left, top), size = cut
    return Part(smaller, size, Box(left, top, left + box.width, top + box.height), whole.factor)


def _checked_box(view: View, header: Header) -> Box:
    """The view's box in the picture as it is stored."""
    box, size = view.box, view.size
    if not (0 <= box.left < box.right <= header.width and 0 <= box.top < box.bottom <= header.height):
        raise ValueError(f"{box} is not a box of an image of {header.width}x{header.height}")
    # A strip of 1 x 60,000 pixels resized by its shorter side asks for as much memory as any bomb.
    if min(size) < 1 or (size != (box.width, box.height) and size[0] * size[1] > MAX_PIXELS):
        raise DecodeError(f"resizing {box.width}x{box.height} to {size[0]}x{size[1]} is out of bounds")
    return Box(*stored_box(header.orientation, header.stored_size, box))


def is_scaled(image: Encoded) -> bool:
    """Whether a JPEG is decoded at a fraction of its size for this view. ValueError, or DecodeError, for a bad view."""
    return _factor(image, _checked_box(image.view, image.header)) > 1


def _factor(image: Encoded, box: Box) -> int:
    return _scale_factor(box, stored_size(image.view, image.header), image.view.reducing_gap)


def _whole(image: Encoded, box: Box) -> Part:
    factor = _factor(image, box)
    return Part(bytes(image.data), image.header.stored_size, box, factor)


def _decode(image: Encoded, part: Part | None) -> Source:
    """At least the pixels of the view's box, scaled down by JPEG where that helps."""
    source = None if part is None else _decode_jpeg(part)
    if source is not None:
        return source
    box = _checked_box(image.view, image.header)
    if part is not None and part.data is not image.data:
        source = _decode_jpeg(_whole(image, box))  # whose verdict counts
    return source or Source(decode_by_pillow(bytes(image.data), image.header.stored_size), box)


def _decode_jpeg(part: Part) -> Source | None:
    """The whole of its picture at 1/factor of its size; None for what simplejpeg refuses."""
    factor = part.factor
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
