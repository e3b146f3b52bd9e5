"""Where a JPEG's restart segments lie: by a table in the file, or by searching it for markers.

Entropy-coded data can only be read from its start, but restart markers (ITU-T T.81, B.2.4.4) divide it into
segments that stand alone. Where they divide the picture into columns and rows, any part of it can be cut out.

The table is one or more APP9 segments, each starting with `fastdata`, 0, version 1 and the bytes of a length (2
or 4). Their contents joined are the CRC-32 of the scan from its first byte up to and with EOI, then each
segment's length in bytes without its marker; all little-endian.
"""

import struct
import zlib
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdata.errors import JpegError
from fastdata.images.jpeg import APP0, APP15, COM, Data, JpegHeader, Segment, read_jpeg_header

MARKER_SIZE: Final = 2
_APP9 = 0xE9
_TABLE_NAME = b"fastdata\0\1"
_TABLE_HEAD = 4 + len(_TABLE_NAME)
_TABLE_PART = 65_520  # of the 65,533 bytes that a segment holds; a multiple of 4
_RST, _EOI = bytes(range(0xD0, 0xD8)), b"\xd9"


class Grid(NamedTuple):
    """How restart segments divide a picture; sizes in pixels, the last column and row may be smaller."""

    segment_width: int
    segment_height: int
    columns: int
    rows: int


class _Table(NamedTuple):
    checksum: int
    edges: NDArray[np.int64]


def mcu_size(header: JpegHeader) -> tuple[int, int]:
    """Width and height in pixels; a scan of one component is not interleaved: its MCU is one block."""
    if header.components == 1:
        return 8, 8
    return 8 * max(h for h, _ in header.sampling), 8 * max(v for _, v in header.sampling)


def segment_grid(data: Data, header: JpegHeader) -> Grid | None:
    """None where the segments are no grid, or not all that there is: progressive or several scans."""
    _, start, stop = header.segments[-1]
    one_scan = stop - start == 8 + 2 * header.components and data[start + 4] == header.components
    sequential = header.frame in (0xC0, 0xC1) and header.precision == 8
    interval = header.restart_interval
    if not interval or not sequential or not one_scan or header.components == 4:
        return None
    mcu_width, mcu_height = mcu_size(header)
    row, rows = -(-header.width // mcu_width), -(-header.height // mcu_height)
    if row % interval == 0:
        return Grid(interval * mcu_width, mcu_height, row // interval, rows)
    if interval % row == 0:
        mcu_rows = interval // row
        return Grid(row * mcu_width, mcu_rows * mcu_height, 1, -(-rows // mcu_rows))
    return None


def segment_edges(data: Data, header: JpegHeader, grid: Grid) -> NDArray[np.int64] | None:
    """Where the first segment starts, then for each, row by row, the offset right after the marker that follows it.

    By the table where there is one that fits, else by search. None where the markers are not as the header says,
    or where the table fits and the data are not what it was made for: damaged.
    """
    count = grid.columns * grid.rows
    table = _read_table(data, header, count)
    if table is None:
        return _search(data, header, count)
    return table.edges if _is_intact(data, header, table) else None


def has_table(data: Data, header: JpegHeader, grid: Grid) -> bool:
    """Whether the file has a table of its segments that is right."""
    table = _read_table(data, header, grid.columns * grid.rows)
    return table is not None and _is_intact(data, header, table)


def add_table(data: Data) -> bytes:
    """The same JPEG with a table of its restart segments, in place of any that it has; nothing after EOI.

    Raises JpegError where it has no restart segments that divide the picture into columns and rows.
    """
    header = read_jpeg_header(data)
    grid = segment_grid(data, header)
    edges = _search(data, header, grid.columns * grid.rows) if grid else None
    if edges is None:
        raise JpegError(f"no usable restart segments (interval {header.restart_interval}) at offset {header.scan}")
    scan = bytes(data[header.scan : edges[-1]])
    lengths = np.diff(edges) - MARKER_SIZE
    width = 2 if lengths.max() < 1 << 16 else 4
    content = struct.pack("<I", zlib.crc32(scan)) + lengths.astype(f"<u{width}").tobytes()
    parts = [content[at : at + _TABLE_PART] for at in range(0, len(content), _TABLE_PART)]
    table = [
        struct.pack(">BBH", 0xFF, _APP9, _TABLE_HEAD - 1 + len(part)) + _TABLE_NAME + bytes([width]) + part
        for part in parts
    ]
    kept = [segment for segment in header.segments if not _is_table(data, segment)]
    copies = [bytes(data[start:stop]) for _, start, stop in kept]
    # After the metadata: readers expect JFIF or EXIF first.
    first = next(i for i, (marker, _, _) in enumerate(kept) if not (APP0 <= marker <= APP15 or marker == COM))
    return b"".join([b"\xff\xd8", *copies[:first], *table, *copies[first:], scan])


def following_markers(count: int) -> bytes:
    """The second bytes of the markers that follow `count` segments: RST0 to RST7 in turn, EOI at the end."""
    return (_RST * (count // 8 + 1))[: count - 1] + _EOI


def _is_table(data: Data, segment: Segment) -> bool:
    marker, start, stop = segment
    return marker == _APP9 and stop - start > _TABLE_HEAD and data[start + 4 : start + _TABLE_HEAD] == _TABLE_NAME


def _read_table(data: Data, header: JpegHeader, count: int) -> _Table | None:
    """None where there is none, or one that does not fit: every length must lead to the marker it should."""
    parts = [bytes(data[s[1] + _TABLE_HEAD : s[2]]) for s in header.segments if _is_table(data, s)]
    width = parts[0][0] if parts else 0
    content = b"".join([part[1:] for part in parts])
    if width not in (2, 4) or len(content) != 4 + width * count:
        return None
    (checksum,) = struct.unpack_from("<I", content)
    edges = np.empty(count + 1, np.int64)
    edges[0] = header.scan
    np.add(np.frombuffer(content, f"<u{width}", offset=4), MARKER_SIZE, out=edges[1:], dtype=np.int64)
    np.cumsum(edges, out=edges)
    if edges[-1] > len(data):
        return None
    stored, markers = np.frombuffer(data, np.uint8), edges[1:] - MARKER_SIZE
    ff = stored[markers].tobytes()
    markers += 1
    fits = stored[markers].tobytes() == following_markers(count) and ff == b"\xff" * count
    return _Table(checksum, edges) if fits else None


def _is_intact(data: Data, header: JpegHeader, table: _Table) -> bool:
    return zlib.crc32(memoryview(data)[header.scan : table.edges[-1]]) == table.checksum


def _search(data: Data, header: JpegHeader, count: int) -> NDArray[np.int64] | None:
    """None unless the scan's markers are the `count` expected ones and no others."""
    scan = np.frombuffer(data, np.uint8)[header.scan :]
    places = (scan[:-1] == 0xFF).nonzero()[0]
    following = scan[places + 1]
    is_marker = (following != 0x00) & (following != 0xFF)  # neither a stuffed byte nor fill before a marker
    places = places[is_marker][:count]
    if places.size < count or scan[places + 1].tobytes() != following_markers(count):
        return None
    edges = np.empty(count + 1, np.int64)
    edges[0] = header.scan
    np.add(places, header.scan + MARKER_SIZE, out=edges[1:])
    return edges
