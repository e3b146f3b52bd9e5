"""Crop-ready JPEG: cut the part of a photo that a crop needs out of its bytes, before anything is decoded.

`make_crop_ready` puts restart markers into a photo without changing a coefficient, every 64 pixels or so, and a
table of the segments that they make. `cut` joins the segments around a box into a smaller, valid JPEG that any
decoder decodes to the same pixels as the whole.
"""

import functools
import math
import re
import shutil
import struct
import subprocess
from typing import Final, NamedTuple

import numpy as np

from fastdata.jpeg import APP0, APP14, APP15, COM, FRAMES, SOS, Data, JpegError, JpegHeader, read_header, stored_box
from fastdata.restart import (
    Grid,
    add_table,
    following_markers,
    has_table,
    mcu_size,
    segment_edges,
    segment_grid,
)

BoxTuple = tuple[int, int, int, int]


class Cut(NamedTuple):
    """A smaller JPEG as stored, where (x, y) the box lies in it, and its size (width, height)."""

    data: bytes
    offset: tuple[int, int]
    size: tuple[int, int]


MAX_PIXELS: Final = 178_956_970
"""Pillow's own limit: what claims more is refused before anything is allocated."""

# A segment's marker, table entry and fresh DC values take some 7 bytes: large photos get wider ones.
_LEAST_INTERVAL = 64  # pixels
_INTERVALS = 8  # in a row of a large photo
# A cut takes the time of decoding some ten thousand pixels; it has to save more than that.
_LEAST_PIXELS_SAVED = 16_384
_LEAST_PART_SAVED = 0.1
# libjpeg smooths chroma only in rows of more than two samples: more than 16 pixels at 2:1, decoded at 1/4.
_LEAST_WIDTH = 32
# libjpeg-turbo's own advice: each scan works through the whole picture, and a few bytes make one.
_MOST_SCANS = 500
_EOI = 0xD9
_SIZE = struct.Struct(">HH")
_NEXT_SEGMENT = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def is_crop_ready(data: Data) -> bool:
    """Whether this is a JPEG with restart segments and a table of them that is right."""
    try:
        header = read_header(data)
    except JpegError:
        return False
    grid = segment_grid(data, header)
    return grid is not None and has_table(data, header, grid)


def make_crop_ready(data: Data, max_pixels: int = MAX_PIXELS) -> bytes:
    """The same picture, coefficient for coefficient, with restart segments, a table of them, and its metadata.

    Progressive files become baseline; what follows EOI is left out; what is crop-ready is returned as it is.
    Raises JpegError that says why for what can't be made so (CMYK, 12 bit, arithmetic, lossless) and for what
    is damaged, RuntimeError where the program jpegtran (libjpeg-turbo's) is missing or killed.
    """
    data = bytes(data)
    if is_crop_ready(data):
        return data
    header = read_header(data)
    if header.frame not in (0xC0, 0xC1, 0xC2) or header.precision != 8 or header.components == 4:
        kind = f"SOF{header.frame & 15}, {header.precision} bit, {header.components} components"
        raise JpegError(f"can't be made crop-ready: {kind}; only 8-bit Huffman-coded grey and colour can")
    if header.width * header.height > max_pixels:
        raise JpegError(f"claims {header.width}x{header.height} pixels, more than the limit of {max_pixels}")
    if header.progressive:
        _refuse_missing_scans(data, header)
    command = [_jpegtran(), "-copy", "all", "-optimize", "-restart", f"{restart_interval(header)}B"]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode < 0:
        raise RuntimeError(f"jpegtran was killed by signal {-done.returncode}: that says nothing about the image")
    if done.returncode or done.stderr:
        # Status 2 means warnings: a decoder should see that damage, jpegtran's output would hide it.
        raise JpegError(f"jpegtran refuses it: {done.stderr.decode(errors='replace').strip()}")
    return add_table(done.stdout)


def restart_interval(header: JpegHeader) -> int:
    """MCUs from one restart marker to the next: a divisor of a row; a whole row where there is none near.

    Near 64 pixels, or an eighth of the row where that is more.
    """
    mcu_width, _ = mcu_size(header)
    row = -(-header.width // mcu_width)
    wanted = max(_LEAST_INTERVAL, header.width / _INTERVALS) / mcu_width
    near = [n for n in range(1, row + 1) if row % n == 0 and wanted / 2 <= n <= wanted * 2]
    return min(near, key=lambda n: abs(math.log(n / wanted)), default=row)


def cut(data: Data, box: BoxTuple, header: JpegHeader | None = None) -> tuple[bytes, tuple[int, int]] | None:
    """`cut_stored` for a box of the upright picture: the smaller JPEG, without EXIF, and the offset of the box in it.

    Raises JpegError where no header is given and `data` has none that can be read.
    """
    header = header or read_header(data)
    made = cut_stored(data, header, stored_box(header.orientation, (header.width, header.height), box))
    return made and (made.data, made.offset)


def cut_stored(data: Data, header: JpegHeader, box: BoxTuple, scale: int = 1) -> Cut | None:
    """A smaller JPEG that has the box's pixels, and (x, y) of the box in it.

    `box` is left, top, right, bottom in pixels as stored. Its pixels are those of the whole picture decoded,
    exactly; also with both decoded at 1/`scale` (1, 2, 4 or 8), the box rounded outwards to that. The smaller
    picture begins at a multiple of 8 pixels of the whole one, left - x and top - y.

    None where a full decode is as fast (most of the picture is needed, there are no restart segments), and where
    anything does not fit, so that the full decode gives the verdict on the file.
    """
    left, top, right, bottom = box
    if not (0 <= left < right <= header.width and 0 <= top < bottom <= header.height):
        raise ValueError(f"box {tuple(box)} does not lie within {header.width}x{header.height} pixels")
    grid = segment_grid(data, header)
    if grid is None:
        return None
    columns, rows = _window(header, grid, box, scale)
    x, y = columns.start * grid.segment_width, rows.start * grid.segment_height
    width = min(columns.stop * grid.segment_width, header.width) - x
    height = min(rows.stop * grid.segment_height, header.height) - y
    pixels = header.width * header.height
    if pixels - width * height < max(_LEAST_PIXELS_SAVED, _LEAST_PART_SAVED * pixels):
        return None
    edges = segment_edges(data, header, grid)
    if edges is None:
        return None
    head = _cut_head(data, header, width, height)
    # In each row the wanted segments lie side by side: from the first one's start to the last one's end.
    row_starts, row_stop = rows.start * grid.columns, rows.stop * grid.columns
    starts = edges[row_starts + columns.start : row_stop : grid.columns].tolist()
    stops = edges[row_starts + columns.stop : row_stop + 1 : grid.columns].tolist()
    smaller = bytearray().join([head, *[data[start:stop] for start, stop in zip(starts, stops, strict=True)]])
    lengths = (edges[1:] - edges[:-1]).reshape(grid.rows, grid.columns)[rows, columns]
    markers = lengths.cumsum() + (len(head) - 1)
    np.frombuffer(smaller, np.uint8)[markers] = np.frombuffer(following_markers(markers.size), np.uint8)
    return Cut(bytes(smaller), (left - x, top - y), (width, height))


def _window(header: JpegHeader, grid: Grid, box: BoxTuple, scale: int) -> tuple[slice, slice]:
    """The columns and rows of segments that the box's pixels depend on.

    Smooth upsampling mixes in the chroma sample on either side: that of the next pixel, as decoded.
    """
    left, top, right, bottom = box
    left = max(0, min(left // scale * scale - scale, header.width - _LEAST_WIDTH))
    right = max(-(-right // scale) * scale + scale, left + _LEAST_WIDTH)
    top = max(0, top // scale * scale - scale)
    bottom = -(-bottom // scale) * scale + scale
    columns = slice(left // grid.segment_width, min(-(-right // grid.segment_width), grid.columns))
    rows = slice(top // grid.segment_height, min(-(-bottom // grid.segment_height), grid.rows))
    return columns, rows


def _cut_head(data: Data, header: JpegHeader, width: int, height: int) -> bytearray:
    """SOI to SOS with the new size; of the metadata only what says which colours these are."""
    head = bytearray(b"\xff\xd8")
    for marker, start, stop in header.segments:
        if APP0 <= marker <= APP15 or marker == COM:
            jfif = marker == APP0 and data[start + 4 : start + 9] == b"JFIF\0"
            adobe = marker == APP14 and data[start + 4 : start + 9] == b"Adobe"
            if not (jfif or adobe):
                continue
        head += data[start:stop]
        if marker in FRAMES:
            _SIZE.pack_into(head, len(head) - (stop - start) + 5, height, width)
    return head


def _refuse_missing_scans(data: bytes, header: JpegHeader) -> None:
    """Raise JpegError where a progressive file stops before its low frequencies are complete.

    Decoders smooth the blocks of such a picture, and can no more tell once it is baseline.
    """
    _, start, stop = next(segment for segment in header.segments if segment[0] in FRAMES)
    missing = {(component, k) for component in data[start + 10 : stop : 3] for k in range(10)}
    marker, start, stop = header.segments[-1]
    scans = 0
    while marker != _EOI and stop <= len(data):
        if marker == SOS:
            scans += 1
            first, last, approximation = data[stop - 3 : stop]
            if approximation & 15 == 0:
                missing -= {(c, k) for c in data[start + 5 : stop - 3 : 2] for k in range(first, last + 1)}
        found = _NEXT_SEGMENT.search(data, stop)
        if found is None:
            break
        marker, start = data[found.start() + 1], found.start()
        stop = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    if missing:
        raise JpegError(f"a progressive JPEG without all of its scans: it has {scans}, ending at offset {stop}")
    if scans > _MOST_SCANS:
        raise JpegError(f"a progressive JPEG of {scans} scans, more than the limit of {_MOST_SCANS}")


@functools.cache
def _jpegtran() -> str:
    path = shutil.which("jpegtran")
    if path is None:
        raise RuntimeError(
            "jpegtran is not installed; it comes with libjpeg-turbo: `apt install libjpeg-turbo-progs` (Debian, "
            "Ubuntu), `conda install -c conda-forge libjpeg-turbo` or `brew install jpeg-turbo`"
        )
    return path
