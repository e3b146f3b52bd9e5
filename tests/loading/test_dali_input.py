"""What DALI is given, and what is said where it is not installed: all that can be told without it."""

import sys
from pathlib import Path
from typing import Any

import pytest

from fastdata.images.header import Header, read_header
from fastdata.images.jpeg import APP14, read_jpeg_header
from fastdata.images.reference import Encoded
from fastdata.loading.dali.encoded import DaliImage, dali_image
from fastdata.loading.dali.options import Dali
from fastdata.loading.loader import Loader
from fastdata.packing.crop_ready import make_crop_ready
from fastdata.transforms.draw import draw
from fastdata.transforms.steps import CenterCrop, RandomResizedCrop, Resize, Step
from fastdata.transforms.transform import Transform
from fastdata.transforms.view import View
from support.numbered import map_style
from support.pictures import encoded, jpeg, photo


def dali_encoded(data: bytes, header: Header, view: View) -> DaliImage | None:
    return dali_image(Encoded(data, header, view), Transform([], view.antialias))


def test_a_crop_ready_photo_is_cut_before_it_is_decoded() -> None:
    data = make_crop_ready(jpeg(1000, 800))
    header = read_header(data)
    transform = Transform([RandomResizedCrop(64, scale=(0.05, 0.1))], reducing_gap=None)
    view = draw(transform, header.size, 0)
    small = make_crop_ready(jpeg(150, 120))
    small_view = draw(transform, (150, 120), 0)
    uncut = dali_encoded(small, read_header(small), small_view)
    assert uncut is not None
    assert uncut.data is small, "a small one is not worth it"
    whole, part = dali_encoded(jpeg(1000, 800), header, view), dali_encoded(data, header, view)
    assert whole is not None
    assert part is not None
    assert len(part.data) < len(data) / 3
    assert (part.box.width, part.box.height) == (view.box.width, view.box.height)
    assert whole.box == view.box


def test_what_the_cpu_decoder_would_decode_at_a_fraction_is_left_to_it() -> None:
    data = jpeg(1000, 800)
    header = read_header(data)
    for size, is_for_dali in ((32, False), (224, True)):
        view = draw([Resize((size, size))], header.size, 0)
        assert (dali_encoded(data, header, view) is not None) == is_for_dali


def cut_off(data: bytes) -> bytes:
    return data[: len(data) // 2]


def with_marker(data: bytes) -> bytes:
    scan = data.index(b"\xff\xda")
    return data[: scan + 100] + b"\xff\xc4\x00\x05" + data[scan + 104 :]


def without_adobe(data: bytes) -> bytes:
    """Only the components' names, R, G and B, say then what they are."""
    (start, stop) = next((start, stop) for marker, start, stop in read_jpeg_header(data).segments if marker == APP14)
    return data[:start] + data[stop:]


@pytest.mark.parametrize("steps", [[Resize((40, 40))], [CenterCrop(30)]])
@pytest.mark.parametrize(
    "data",
    [jpeg(60, 50, mode="L"), *(jpeg(60, 50, subsampling=kind) for kind in ("4:4:4", "4:2:2", "4:2:0"))],
    ids=["grey", "4:4:4", "4:2:2", "4:2:0"],
)
def test_plain_photos_are_given_to_it(data: bytes, steps: list[Step]) -> None:
    header = read_header(data)
    assert dali_encoded(data, header, draw(steps, header.size, 0)) is not None


@pytest.mark.parametrize(
    "data",
    [
        encoded(photo(60, 50), "PNG"),
        encoded(photo(60, 50), "WEBP"),
        encoded(photo(60, 50), mode="CMYK"),
        encoded(photo(60, 50), keep_rgb=True),
        without_adobe(encoded(photo(60, 50), keep_rgb=True)),
        cut_off(jpeg(60, 50)),
        cut_off(jpeg(60, 50, progressive=True)),
        with_marker(jpeg(60, 50)),
    ],
    ids=["PNG", "WebP", "CMYK", "RGB", "RGB by its names", "cut off", "progressive, cut off", "marker within the scan"],
)
def test_what_dali_might_decode_otherwise_is_not_given_to_it(data: bytes) -> None:
    header = read_header(data)
    assert dali_encoded(data, header, draw([Resize((20, 20))], header.size, 0)) is None


def test_a_view_that_is_padded_is_not_given_to_it() -> None:
    data = jpeg(60, 50)
    assert dali_encoded(data, read_header(data), draw([CenterCrop(55)], (60, 50), 0)) is None
    assert dali_encoded(data, read_header(data), draw([CenterCrop(50)], (60, 50), 0)) is not None


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"hw_decoder_load": 1.5}, "hw_decoder_load must lie between 0 and 1"),
        ({"queue": 0}, "queue must be at least 1"),
    ],
)
def test_hints_out_of_range_are_refused(hints: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dali(**hints)


def test_without_dali_the_error_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    monkeypatch.delitem(sys.modules, "nvidia.dali.fn", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'fastdata-images\[dali\]'"):
        Loader(map_style(folder), 8, decoder="dali")


def test_what_resizes_by_plain_bicubic_or_otherwise_than_the_pipeline_is_left_to_the_cpu_decoder() -> None:
    data = jpeg(300, 200)
    header = read_header(data)
    bicubic = [Resize((100, 150), "bicubic")]
    for transform, pipelines, is_for_dali in (
        (Transform(bicubic), Transform(bicubic), True),
        (Transform(bicubic, antialias=False), Transform(bicubic, antialias=False), False),
        (Transform(bicubic), Transform([Resize((100, 150))]), False),
        (Transform([Resize((100, 150))], antialias=False), Transform([Resize((100, 150))]), False),
    ):
        image = Encoded(data, header, draw(transform, header.size, 0))
        assert (dali_image(image, pipelines) is not None) == is_for_dali


def test_dali_gets_our_reading_of_exif() -> None:
    plain = encoded(photo(60, 50), orientation=6)
    tag = plain.index(b"\x01\x12\0\x03\0\0\0\x01\0\x06")
    as_a_long = plain[: tag + 3] + b"\x04\0\0\0\x01\0\0\0\x06" + plain[tag + 12 :]
    for data, orientation in ((plain, 6), (as_a_long, 1)):
        header = read_header(data)
        image = dali_encoded(data, header, draw([Resize((20, 20))], header.size, 0))
        assert image is not None
        assert read_header(image.data).orientation == header.orientation == orientation
        assert image.data.count(b"Exif") == (orientation != 1)
