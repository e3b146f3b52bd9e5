"""Where restart segments lie: the table, the search, and what fits neither. Files are made by OpenCV."""

import struct

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.errors import JpegError
from fastdata.images.jpeg import read_jpeg_header
from fastdata.images.restart import Grid, add_table, has_table, segment_edges, segment_grid
from support.pictures import jpeg, photo

TABLE = 0xE9


def restarted(width: int, height: int, interval: int, quality: int = 90) -> bytes:
    """A grey photo-like JPEG, its MCUs 8x8, with a restart marker after every `interval` of them."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    return cv2.imencode(".jpg", photo(width, height)[:, :, 0], options)[1].tobytes()


def ends_of(data: bytes) -> list[int] | None:
    header = read_jpeg_header(data)
    grid = segment_grid(data, header)
    assert grid is not None
    edges = segment_edges(data, header, grid)
    if edges is None:
        return None
    assert edges[0] == header.scan
    ends: list[int] = edges[1:].tolist()
    return ends


def is_indexed(data: bytes) -> bool:
    header = read_jpeg_header(data)
    grid = segment_grid(data, header)
    return grid is not None and has_table(data, header, grid)


def relative(data: bytes) -> list[int]:
    ends = ends_of(data)
    assert ends is not None
    return [end - read_jpeg_header(data).scan for end in ends]


def tables(data: bytes) -> list[tuple[int, int]]:
    return [(start, stop) for marker, start, stop in read_jpeg_header(data).segments if marker == TABLE]


def with_lengths(data: bytes, lengths: npt.NDArray[np.uint16]) -> bytes:
    """The file with another table of as many lengths, its checksum as before."""
    ((_, stop),) = tables(data)
    content = lengths.astype("<u2").tobytes()
    return data[: stop - len(content)] + content + data[stop:]


PLAIN = restarted(100, 40, 13)  # one segment a row
INDEXED = add_table(restarted(128, 40, 4))  # four segments a row, five rows
LENGTHS = np.diff([0, *relative(INDEXED)]) - 2


@pytest.mark.parametrize(
    ("interval", "grid"),
    [
        (4, Grid(32, 8, 4, 5)),
        (16, Grid(128, 8, 1, 5)),
        (32, Grid(128, 16, 1, 3)),
        (800, Grid(128, 400, 1, 1)),
        (5, None),
        (24, None),
    ],
)
def test_segments_are_a_grid_where_they_divide_rows_or_are_whole_rows(interval: int, grid: Grid | None) -> None:
    data = restarted(128, 40, interval)
    assert segment_grid(data, read_jpeg_header(data)) == grid


def test_progressive_files_and_files_without_restart_markers_have_no_grid() -> None:
    for data in (
        jpeg(64, 64),
        jpeg(64, 64, progressive=True, restart_marker_rows=1),
        jpeg(64, 64, mode="CMYK", restart_marker_rows=1),
    ):
        assert segment_grid(data, read_jpeg_header(data)) is None


def test_each_segment_edges_with_its_marker() -> None:
    ends = ends_of(PLAIN)
    assert ends is not None
    markers = [PLAIN[end - 2 : end].hex() for end in ends]
    assert markers == ["ffd0", "ffd1", "ffd2", "ffd3", "ffd9"]


def test_the_table_says_what_a_search_finds() -> None:
    for data in (PLAIN, restarted(128, 40, 4), restarted(9, 300, 1), restarted(8, 8, 1)):
        indexed = add_table(data)
        assert is_indexed(indexed)
        assert not is_indexed(data)
        assert relative(indexed) == relative(data)


def test_a_table_is_replaced_rather_than_doubled() -> None:
    assert add_table(INDEXED) == INDEXED


def test_a_table_stands_behind_the_metadata_and_changes_no_pixel() -> None:
    data = jpeg(64, 48, restart_marker_rows=1, comment=b"hello")
    markers = [marker for marker, _, _ in read_jpeg_header(add_table(data)).segments]
    assert markers.index(TABLE) == markers.index(0xFE) + 1
    decoded = [cv2.imdecode(np.frombuffer(d, np.uint8), cv2.IMREAD_COLOR) for d in (data, add_table(data))]
    assert decoded[0] is not None
    assert decoded[1] is not None
    assert np.array_equal(decoded[0], decoded[1])


def test_a_table_too_long_for_one_segment_goes_into_several() -> None:
    indexed = add_table(restarted(1600, 1400, 1, quality=20))
    assert len(tables(indexed)) == 2
    assert is_indexed(indexed)
    assert len(relative(indexed)) == 200 * 175


def test_segments_longer_than_64_kib_are_listed_too() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 8192), np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_RST_INTERVAL, 1024]
    data = cv2.imencode(".jpg", noise, options)[1].tobytes()
    assert relative(data)[0] > 1 << 16
    assert is_indexed(add_table(data))
    assert relative(add_table(data)) == relative(data)


def test_a_file_without_usable_segments_gets_no_table() -> None:
    for data in (jpeg(64, 64), restarted(128, 40, 5)):
        with pytest.raises(JpegError, match="no usable restart segments"):
            add_table(data)


def test_a_table_that_does_not_fit_is_passed_over_for_a_search() -> None:
    for lengths in (LENGTHS[::-1], LENGTHS + 1, LENGTHS * 0, LENGTHS * 0 + 65535):
        lying = with_lengths(INDEXED, lengths)
        assert not is_indexed(lying)
        assert ends_of(lying) == ends_of(INDEXED)


def test_a_length_that_leads_to_a_markers_number_inside_the_data_does_not_fit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 64), np.uint8)
    data = add_table(cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_RST_INTERVAL, 8])[1].tobytes())
    scan, (first, last) = read_jpeg_header(data).scan, relative(data)
    inside = data.index(b"\xd0", scan) + 1 - scan
    assert inside < first
    lying = with_lengths(data, np.array([inside - 2, last - inside - 2]))
    assert ends_of(lying) == ends_of(data)


@given(st.binary(max_size=64), st.integers(0, 63))
def test_any_table_content_leads_to_the_true_segments_or_to_none(content: bytes, offset: int) -> None:
    ((start, stop),) = tables(INDEXED)
    at = min(start + 14 + offset, stop)
    content = content[: stop - at]
    ends = ends_of(INDEXED[:at] + content + INDEXED[at + len(content) :])
    assert ends is None or ends == ends_of(INDEXED)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_with_a_table_damage_anywhere_in_the_scan_is_noticed(offset: int, change: int) -> None:
    scan = read_jpeg_header(INDEXED).scan
    damaged = bytearray(INDEXED)
    damaged[scan + offset % (len(INDEXED) - scan)] ^= change
    assert ends_of(bytes(damaged)) is None


@pytest.mark.parametrize("data", [PLAIN, INDEXED])
def test_markers_other_than_the_expected_ones_leave_no_segments(data: bytes) -> None:
    ends = ends_of(data)
    assert ends is not None
    second = ends[1]
    for spoilt in (
        data[: second - 2] + data[second:],
        data[:second] + b"\xff\xd2" + data[second:],
        data[: second - 1] + b"\xd7" + data[second:],
        data[:second] + b"\xff\xdc\0\4\0\1" + data[second:],
        data[:-2],
        data[:-1],
        data[: second + 3],
        data[: read_jpeg_header(data).scan],
    ):
        assert ends_of(spoilt) is None


def test_fill_bytes_and_what_follows_eoi_do_not_disturb_the_search() -> None:
    ends = ends_of(PLAIN)
    assert ends is not None
    filled = PLAIN[: ends[0] - 2] + b"\xff\xff" + PLAIN[ends[0] - 2 :] + b"\xff\xd8\xff more"
    assert ends_of(filled) == [end + 2 for end in ends]


def test_a_lying_restart_interval_or_size_leaves_no_segments() -> None:
    for marker, offset, value in ((0xDD, 4, 8), (0xDD, 4, 2), (0xC0, 5, 48), (0xC0, 7, 256)):
        start = next(start for found, start, _ in read_jpeg_header(INDEXED).segments if found == marker)
        lying = INDEXED[: start + offset] + struct.pack(">H", value) + INDEXED[start + offset + 2 :]
        assert ends_of(lying) is None
