"""Crop-ready JPEG: cut the part of a photo that a crop needs out of its bytes, before anything is decoded.

`make_crop_ready` puts restart markers into a photo without changing a coefficient, every 64 pixels or so, and a
table of the segments that they make. `cut` joins the segments around a box into a smaller, valid JPEG that any
decoder decodes to the same pixels as the whole.
"""

import struct
from typing import NamedTuple

import numpy as np

from fastdata.errors import JpegError
from fastdata.images.jpeg import APP0, APP14, APP15, COM, FRAMES, Data, JpegHeader, read_jpeg_header, stored_box
from fastdata.images.restart import Grid, following_markers, has_table, segment_edges, segment_grid

BoxTuple = tuple[int, int, int, int]


class Cut(NamedTuple):
    """A smaller JPEG as stored, where (x, y) the box lies in it, and its size (width, height)."""

    data: bytes
    offset: tuple[int, int]
    size: tuple[int, int]


# A cut takes the time of decoding some ten thousand pixels; it has to save more than that.
_LEAST_PIXELS_SAVED = 16_384
_LEAST_PART_SAVED = 0.1
# libjpeg smooths chroma only in rows of more than two samples: more than 16 pixels at 2:1, decoded at 1/4.
_LEAST_WIDTH = 32
_SIZE = struct.Struct(">HH")


def is_crop_ready(data: Data) -> bool:
    """Whether this is a JPEG with restart segments and a table of them that is right."""
    try:
        header = read_jpeg_header(data)
    except JpegError:
        return False
    grid = segment_grid(data, header)
    return grid is not None and has_table(data, header, grid)


def cut(data: Data, box: BoxTuple, header: JpegHeader | None = None) -> tuple[bytes, tuple[int, int]] | None:
    """`cut_stored` for a box of the upright picture: the smaller JPEG, without EXIF, and the offset of the box in it.

    Raises JpegError where no header is given and `data` has none that can be read.
    """
    header = header or read_jpeg_header(data)
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
