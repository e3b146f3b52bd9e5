"""What the marker walk says, against Pillow's reading of the same bytes."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fastdata.errors import JpegError
from fastdata.images.jpeg import JpegHeader, is_jpeg, read_jpeg_header, stored_box
from support.pictures import encoded, jpeg, photo

SMALL = jpeg(40, 30)


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """The JPEG with one more segment, right after SOI."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + data[2:]


def exif(order: str, tag: int = 0x0112, kind: int = 3, count: int = 1, value: int = 6) -> bytes:
    """An EXIF segment's content with two entries, the second one as given; `order` is < or >."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    make = struct.pack(order + "HHI4s", 0x010F, 2, 4, b"abc\0")
    entry = struct.pack(order + "HHIHH", tag, kind, count, value, 0)
    return b"Exif\0\0" + start + struct.pack(order + "IH", 8, 2) + make + entry + struct.pack(order + "I", 0)


def at(marker: int, data: bytes = SMALL) -> int:
    """Offset of the first segment with this marker."""
    return next(start for found, start, _ in read_jpeg_header(data).segments if found == marker)


def patched(offset: int, content: bytes, data: bytes = SMALL) -> bytes:
    return data[:offset] + content + data[offset + len(content) :]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(("subsampling", "luma"), [("4:4:4", (1, 1)), ("4:2:2", (2, 1)), ("4:2:0", (2, 2))])
def test_the_header_says_what_was_encoded(subsampling: str, luma: tuple[int, int], progressive: bool) -> None:
    header = read_jpeg_header(jpeg(123, 45, subsampling=subsampling, progressive=progressive))
    assert (header.width, header.height) == (123, 45)
    assert header.sampling == (luma, (1, 1), (1, 1))
    assert header.progressive is progressive
    assert (header.components, header.precision, header.orientation, header.restart_interval) == (3, 8, 1, 0)


def test_grey_has_one_component_and_cmyk_four_with_adobes_transform() -> None:
    assert read_jpeg_header(jpeg(20, 10, mode="L")).components == 1
    header = read_jpeg_header(jpeg(20, 10, mode="CMYK"))
    assert (header.components, header.adobe_transform) == (4, 0)
    assert read_jpeg_header(SMALL).adobe_transform is None


def test_the_restart_interval_is_read_from_the_file() -> None:
    assert read_jpeg_header(jpeg(64, 64, restart_marker_blocks=3)).restart_interval == 3


def test_segments_are_contiguous_from_soi_to_the_scan() -> None:
    header = read_jpeg_header(SMALL)
    assert header.segments[0][1] == 2
    assert all(first[2] == second[1] for first, second in zip(header.segments, header.segments[1:], strict=False))
    assert header.segments[-1][0] == 0xDA
    assert header.segments[-1][2] == header.scan


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_in_both_byte_orders_as_pillow_reads_it(order: str, orientation: int) -> None:
    data = with_segment(SMALL, 0xE1, exif(order, value=orientation))
    assert read_jpeg_header(data).orientation == orientation
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == orientation


@pytest.mark.parametrize(
    "content",
    [
        exif("<", value=0),
        exif(">", value=9),
        exif("<", kind=2),
        exif("<", count=2),
        exif("<", tag=0x0113),
        exif("<").replace(b"II*\0", b"II*\1"),
        exif("<")[:20],
        exif("<")[:6],
        b"Exif\0\0II*\0" + struct.pack("<I", 2**32 - 1),
        b"http://ns.adobe.com/xap/1.0/\0",
        b"",
    ],
)
def test_exif_that_is_malformed_or_out_of_range_means_upright(content: bytes) -> None:
    assert read_jpeg_header(with_segment(SMALL, 0xE1, content)).orientation == 1


@given(st.sampled_from(["<", ">"]), st.binary(max_size=80))
def test_no_exif_content_is_an_error(order: str, content: bytes) -> None:
    start = exif(order)[:14]
    assert 1 <= read_jpeg_header(with_segment(SMALL, 0xE1, start + content)).orientation <= 8


def test_the_first_exif_segment_counts_and_other_app1_segments_do_not() -> None:
    data = with_segment(with_segment(SMALL, 0xE1, exif("<", value=3)), 0xE1, exif("<", value=8))
    assert read_jpeg_header(with_segment(data, 0xE1, b"http://ns.adobe.com/xap/1.0/\0")).orientation == 8


def test_fill_bytes_before_a_marker_are_legal() -> None:
    offset = at(0xDB)
    data = SMALL[:offset] + b"\xff\xff" + SMALL[offset:]
    assert read_jpeg_header(data)[:-2] == read_jpeg_header(SMALL)[:-2]
    assert read_jpeg_header(data).scan == read_jpeg_header(SMALL).scan + 2


def test_what_starts_with_soi_and_a_marker_is_taken_for_a_jpeg() -> None:
    assert is_jpeg(SMALL)
    assert is_jpeg(memoryview(SMALL))
    assert not is_jpeg(b"\xff\xd8")
    assert not is_jpeg(encoded(photo(4, 4), "PNG"))


SOF, SOS = at(0xC0), at(0xDA)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "offset 0"),
        (b"\x89PNG", "offset 0"),
        (SMALL[: SOF + 3], f"ends at offset {SOF + 3}"),
        (SMALL[: SOF + 6], f"at offset {SOF} claims"),
        (patched(SOF + 2, b"\xff\xff"), f"at offset {SOF} claims"),
        (patched(SOF + 2, b"\x00\x01"), f"at offset {SOF} claims"),
        (patched(SOF + 5, b"\0\0"), f"offset {SOF} says 40x0"),
        (patched(SOF + 7, b"\0\0"), f"offset {SOF} says 0x30"),
        (patched(SOF + 9, b"\2"), f"offset {SOF} has 2 components"),
        (patched(SOF + 11, b"\x05"), f"offset {SOF} has sampling factors"),
        (patched(SOF, b"\xff\xfe"), f"SOS at offset {SOS} without a SOF"),
        (SMALL[:SOF] + b"junk" + SMALL[SOF:], f"no marker at offset {SOF}"),
        (SMALL[:SOF] + b"\xff\xd9" + SMALL[SOF:], f"FF D9 at offset {SOF}"),
        (SMALL[:SOS] + SMALL[SOF:], f"a second SOF at offset {SOS}"),
        (with_segment(SMALL, 0xDD, b"\0"), "DRI at offset 2"),
        (with_segment(SMALL, 0xC0, b"\x08"), "SOF at offset 2 is cut short"),
    ],
)
def test_a_header_that_does_not_fit_is_an_error_that_names_the_offset(data: bytes, message: str) -> None:
    with pytest.raises(JpegError, match=message):
        read_jpeg_header(data)


@pytest.mark.parametrize("marker", [0x00, 0x01, *range(0xD0, 0xDA)])
def test_what_has_no_length_has_no_place_before_the_scan(marker: int) -> None:
    with pytest.raises(JpegError, match=f"FF {marker:02X} at offset 2 has no place"):
        read_jpeg_header(with_segment(SMALL, marker, b""))


@given(st.integers(0, SOS + 20), st.binary(min_size=1, max_size=8), st.integers(0, len(SMALL)))
def test_mutated_headers_are_read_or_refused_alike_from_bytes_and_memoryview(
    offset: int, content: bytes, length: int
) -> None:
    data = patched(offset, content)[:length]
    assert outcome(data) == outcome(memoryview(data))


def outcome(data: bytes | memoryview) -> JpegHeader | str:
    try:
        return read_jpeg_header(data)
    except JpegError as error:
        return str(error)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_stored_box_holds_the_pixels_of_the_upright_one(orientation: int) -> None:
    stored = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    header = read_jpeg_header(SMALL)._replace(width=7, height=5, orientation=orientation)
    box = (1, 2, 3, 5) if orientation < 5 else (2, 1, 5, 3)
    left, top, right, bottom = stored_box(header.orientation, (header.width, header.height), box)
    assert set(stored[top:bottom, left:right].flat) == set(upright[box[1] : box[3], box[0] : box[2]].flat)
