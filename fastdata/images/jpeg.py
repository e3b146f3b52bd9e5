"""What a JPEG's markers say, read without decoding: size, EXIF orientation, sampling, where its scan starts.

An own walk over the marker segments (ITU-T T.81, annex B) in pure Python, some microseconds a photo. Nothing
in the file is trusted: whatever does not fit raises `JpegError`, so that a decoder has the last word.
"""

import re
import struct
from typing import Final, NamedTuple

from fastdata.errors import JpegError

Data = bytes | bytearray | memoryview
Segment = tuple[int, int, int]
"""A marker segment: the marker's second byte, start and stop, so that `data[start:stop]` is all of it."""

EOI: Final = 0xD9
SOS: Final = 0xDA
DRI: Final = 0xDD
APP0: Final = 0xE0
APP1: Final = 0xE1
APP14: Final = 0xEE
APP15: Final = 0xEF
COM: Final = 0xFE
FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15: without DHT, JPG and DAC
NEXT_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""In a scan: FF 00 is data, FF D0 to FF D7 are restart markers, and FF may stand before any marker as a filler."""
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# What has no length, and no place before the scan: 00 (a stuffed byte), TEM, RST0 to RST7, SOI, EOI.
_NO_SEGMENT = frozenset({0x00, 0x01, *range(0xD0, 0xDA)})

_FRAME = struct.Struct(">BHHB")
_IFD_ENTRY = {b"II*\0": struct.Struct("<HHIHxx"), b"MM\0*": struct.Struct(">HHIHxx")}
_IFD_START = {b"II*\0": struct.Struct("<I"), b"MM\0*": struct.Struct(">I")}
_IFD_COUNT = {b"II*\0": struct.Struct("<H"), b"MM\0*": struct.Struct(">H")}
_ORIENTATION_TAG, _SHORT = 0x0112, 3


class JpegHeader(NamedTuple):
    """What stands before the first scan's entropy-coded data.

    Width and height are pixels as stored, before EXIF orientation (1..8, 1 is upright) is applied.
    """

    width: int
    height: int
    orientation: int
    components: int  # 1, 3 or 4
    progressive: bool
    sampling: tuple[tuple[int, int], ...]  # each component's (horizontal, vertical) factor, 1..4
    restart_interval: int  # in MCUs; 0: no restart markers
    precision: int  # bits
    frame: int  # SOF's second byte: C0 baseline, C1 extended, C2 progressive, C3 lossless, C9 arithmetic, …
    adobe_transform: int | None  # of APP14: 0 RGB or CMYK, 1 YCbCr, 2 YCCK; None: no such segment
    segments: tuple[Segment, ...]  # from after SOI up to and with SOS, in the file's order
    scan: int  # offset of the entropy-coded data


def is_jpeg(data: Data) -> bool:
    """Whether the content, whatever the file's name, says JPEG."""
    return data[:3] == b"\xff\xd8\xff"


def read_jpeg_header(data: Data) -> JpegHeader:
    """Walk the markers up to the first scan.

    Raises JpegError, which names the offset, for what has no usable header: lengths that run past the end,
    bytes between segments, no SOF before SOS, a size of zero (DNL), factors out of range. Fill bytes before a
    marker are legal. Malformed EXIF is no error: the orientation is 1 then.
    """
    segments = _segments(data)
    frame: tuple[int, int, int, tuple[tuple[int, int], ...]] | None = None
    frame_marker = restart_interval = 0
    orientation: int | None = None
    adobe_transform: int | None = None
    for marker, start, stop in segments:
        if marker in FRAMES:
            if frame is not None:
                raise JpegError(f"a second SOF at offset {start}")
            frame_marker, frame = marker, _frame(data, start, stop)
        elif marker == DRI:
            if stop - start != 6:
                raise JpegError(f"DRI at offset {start} has {stop - start - 4} bytes instead of 2")
            restart_interval = data[start + 4] << 8 | data[start + 5]
        elif marker == APP1 and orientation is None and data[start + 4 : start + 10] == b"Exif\0\0":
            orientation = exif_orientation(bytes(data[start + 10 : stop]))
        elif marker == APP14 and stop - start >= 16 and data[start + 4 : start + 9] == b"Adobe":
            adobe_transform = data[start + 15]
    if frame is None:
        raise JpegError(f"SOS at offset {segments[-1][1]} without a SOF before it")
    precision, height, width, sampling = frame
    return JpegHeader(
        width,
        height,
        orientation or 1,
        len(sampling),
        frame_marker in _PROGRESSIVE,
        sampling,
        restart_interval,
        precision,
        frame_marker,
        adobe_transform,
        tuple(segments),
        segments[-1][2],
    )


def stored_box(
    orientation: int, stored_size: tuple[int, int], box: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """Where a (left, top, right, bottom) box of the upright picture lies in the picture as stored (width, height)."""
    left, top, right, bottom = box
    width, height = stored_size
    if orientation >= 5:  # upright and stored have their axes exchanged
        left, top, right, bottom = top, left, bottom, right
    if orientation in (2, 3, 7, 8):
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def _segments(data: Data) -> list[Segment]:
    """All marker segments from after SOI up to and with SOS, whose lengths lie within the data."""
    if not is_jpeg(data):
        raise JpegError("no JPEG: FF D8 FF is missing at offset 0")
    segments: list[Segment] = []
    marker, at, end = 0, 2, len(data)
    try:
        while marker != SOS:
            if data[at] != 0xFF:
                raise JpegError(f"no marker at offset {at}: {data[at]:02X} stands between two segments")
            while (marker := data[at + 1]) == 0xFF:
                at += 1
            if marker in _NO_SEGMENT:
                raise JpegError(f"marker FF {marker:02X} at offset {at} has no place before the first scan")
            stop = at + 2 + (data[at + 2] << 8 | data[at + 3])
            if stop < at + 4 or stop > end:
                length = f"{stop - at - 2} of the {end - at - 2} bytes left"
                raise JpegError(f"segment FF {marker:02X} at offset {at} claims {length}")
            segments.append((marker, at, stop))
            at = stop
    except IndexError:
        raise JpegError(f"the JPEG ends at offset {end}, before its first scan") from None
    return segments


def _frame(data: Data, start: int, stop: int) -> tuple[int, int, int, tuple[tuple[int, int], ...]]:
    """SOF's precision, height, width, and each component's sampling factors."""
    if stop - start < 10:
        raise JpegError(f"SOF at offset {start} is cut short")
    precision, height, width, components = _FRAME.unpack_from(data, start + 4)
    if components not in (1, 3, 4) or stop - start != 10 + 3 * components:
        raise JpegError(f"SOF at offset {start} has {components} components in {stop - start} bytes")
    if not width or not height:
        raise JpegError(f"SOF at offset {start} says {width}x{height} pixels")
    factors = data[start + 11 : stop : 3]
    sampling = tuple([(factor >> 4, factor & 15) for factor in factors])
    for pair in sampling:
        if not (1 <= pair[0] <= 4 and 1 <= pair[1] <= 4):
            raise JpegError(f"SOF at offset {start} has sampling factors {pair}, not within 1..4")
    return precision, height, width, sampling


def exif_orientation(tiff: bytes) -> int:
    """Tag 0x0112 of IFD0 in EXIF's TIFF bytes, where it is one SHORT within 1..8; 1 for everything else."""
    order = tiff[:4]
    if order not in _IFD_ENTRY:
        return 1
    try:
        (start,) = _IFD_START[order].unpack_from(tiff, 4)
        (count,) = _IFD_COUNT[order].unpack_from(tiff, start)
    except struct.error:
        return 1
    entries = tiff[start + 2 : start + 2 + 12 * count]
    for tag, kind, values, value in _IFD_ENTRY[order].iter_unpack(entries[: len(entries) // 12 * 12]):
        if tag == _ORIENTATION_TAG:
            return value if kind == _SHORT and values == 1 and 1 <= value <= 8 else 1
    return 1
