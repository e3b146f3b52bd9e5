"""Images of which few bytes would take gigabytes or minutes are refused by name, and those like them are decoded."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from fastdata.errors import DecodeError, TargetError
from fastdata.images.header import read_header
from fastdata.images.mask import decode_mask
from fastdata.images.pillow import decode_by_pillow


def progressive(side: int, more: int) -> bytes:
    """A grey JPEG whose last scan comes so many times more."""
    out = io.BytesIO()
    Image.new("L", (side, side), 128).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * more + b"\xff\xd9"


def tiff_of_jpegs(side: int, tile: int, jpeg: bytes) -> bytes:
    """A grey TIFF whose tiles are all the same JPEG."""
    tiles = (side // tile) ** 2
    tags = {256: side, 257: side, 258: 8, 259: 7, 262: 1, 277: 1, 322: tile, 323: tile, 324: 0, 325: len(jpeg)}
    lists = 8 + 2 + 12 * len(tags) + 4
    at = lists + 8 * tiles
    tags[324], where = (at, ()) if tiles == 1 else (lists, (at,) * tiles + (len(jpeg),) * tiles)
    if tiles > 1:
        tags[325] = lists + 4 * tiles
    entries = b"".join(
        struct.pack("<HHII", tag, 4, tiles if tag in (324, 325) else 1, value) for tag, value in tags.items()
    )
    head = struct.pack("<4sIH", b"II*\0", 8, len(tags)) + entries + bytes(4)
    return head + struct.pack(f"<{len(where)}I", *where).ljust(8 * tiles, b"\0") + jpeg


def tiff(data: bytes, **tags: int) -> bytes:
    """A grey TIFF of one JPEG with these tags (`t256`, ...) besides those that say so."""
    of_tags = {258: 8, 259: 7, 262: 1, 277: 1} | {int(name[1:]): value for name, value in tags.items()}
    at = 8 + 2 + 12 * len(of_tags) + 4
    entries = (struct.pack("<HHII", tag, 4, 1, at if value == AT else value) for tag, value in sorted(of_tags.items()))
    return struct.pack("<4sIH", b"II*\0", 8, len(of_tags)) + b"".join(entries) + bytes(4) + data


AT = (1 << 32) - 1
"""Stands for the offset of the data."""


def of_height(jpeg: bytes, side: int) -> bytes:
    """The same JPEG, which claims to have these sides."""
    at = jpeg.index(b"\xff\xc2") + 5
    return jpeg[:at] + side.to_bytes(2, "big") * 2 + jpeg[at + 4 :]


def plain(comments: int) -> bytes:
    return b"P3 2 1 255 " + b"#\n" * comments + b"1 2 3 4 5 6 "


@pytest.mark.parametrize(("side", "tile", "more"), [(512, 512, 40), (1024, 256, 40)])
def test_a_tiff_of_some_jpeg_scans_is_decoded(side: int, tile: int, more: int) -> None:
    data = tiff_of_jpegs(side, tile, progressive(tile, more))
    assert np.ptp(decode_by_pillow(data, (side, side))) == 0


def test_a_tiff_of_too_many_jpeg_scans_over_all_of_its_tiles_is_refused() -> None:
    data = tiff_of_jpegs(13312, 1024, progressive(1024, 85))
    assert len(data) < 20_000
    refused = r"a TIFF of \d+ JPEG scans of 1024x1024 pixels: a decompression bomb"
    with pytest.raises(DecodeError, match=refused), pytest.warns(Image.DecompressionBombWarning):
        decode_by_pillow(data, (13312, 13312))
    with pytest.raises(TargetError, match=refused), pytest.warns(Image.DecompressionBombWarning):
        decode_mask(data, read_header(data), upright=True)


def test_a_tile_may_be_larger_than_its_picture_but_not_by_far() -> None:
    sides = {"t256": 16, "t257": 16}
    jpeg = progressive(2048, 0)
    data = tiff(jpeg, **sides, t322=2048, t323=2048, t324=AT, t325=len(jpeg))
    assert decode_by_pillow(data, (16, 16)).shape == (16, 16, 3)
    small = of_height(progressive(16, 0), 40960)
    for compression in (7, 8):  # JPEG, and Deflate
        bomb = tiff(small, **sides, t259=compression, t322=40960, t323=40960, t324=AT, t325=len(small))
        with pytest.raises(DecodeError, match="TIFF of 16x16 pixels in tiles of 40960x40960: a decompression bomb"):
            decode_by_pillow(bomb, (16, 16))
    broad = tiff(small, t256=5000, t257=1000, t322=1 << 24, t323=16, t324=AT, t325=len(small))
    with pytest.raises(DecodeError, match="in tiles of 16777216x16"):
        decode_by_pillow(broad, (5000, 1000))


@pytest.mark.parametrize(
    ("tags", "refused"),
    [
        ({"t322": 13312, "t323": 13312, "t324": AT, "t325": 1 << 30}, "JPEG scans of 13312x13312"),
        ({"t278": 1, "t322": 13312, "t323": 13312, "t273": AT, "t279": 1 << 30}, "JPEG scans of 13312x13312"),
        ({"t322": 13312, "t323": 13312, "t324": AT, "t325": 1, "t273": AT, "t279": 1 << 30}, "says twice"),
        ({"t278": 13312, "t273": AT, "t279": 1 << 30}, "JPEG scans of 13312x13312"),
        ({"t278": 13312, "t324": AT, "t325": 1 << 30}, "JPEG scans of 13312x13312"),
        ({"t278": 13312, "t273": AT, "t279": 0}, "JPEG scans of 13312x13312"),
        ({"t278": 0, "t273": AT, "t279": 1 << 30}, "JPEG scans of 13312x13312"),
        ({"t322": 0, "t323": 13312, "t324": AT, "t325": 1 << 30}, "in tiles of 0x13312"),
        ({"t278": 13312, "t273": AT}, "JPEG scans of 13312x13312"),
    ],
)
def test_scans_are_counted_under_whichever_tags_libtiff_finds_them(tags: dict[str, int], refused: str) -> None:
    data = tiff(of_height(progressive(16, 80), 13312), t256=13312, t257=13312, **tags)
    with pytest.raises(DecodeError, match=refused), pytest.warns(Image.DecompressionBombWarning):
        decode_by_pillow(data, (13312, 13312))


def test_a_plain_ppm_of_thousands_of_comments_is_refused() -> None:
    assert decode_by_pillow(plain(100), (2, 1)).tolist() == [[[1, 2, 3], [4, 5, 6]]]
    with pytest.raises(DecodeError, match="a plain PPM of more than 100 comments: a decompression bomb"):
        decode_by_pillow(plain(101), (2, 1))


def test_a_webp_that_takes_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    Image.new("RGB", (40, 30)).save(out, "WEBP")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1200)
    assert decode_by_pillow(out.getvalue(), (40, 30)).shape == (30, 40, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1199)
    with (
        pytest.raises(DecodeError, match=r"a WebP of 40x30 pixels, .* raise PIL\.Image\.MAX_IMAGE_PIXELS"),
        pytest.warns(Image.DecompressionBombWarning),
    ):
        decode_by_pillow(out.getvalue(), (40, 30))
