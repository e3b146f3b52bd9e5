import functools
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fastdata.errors import DecodeError, DrawError
from fastdata.images import pillow
from fastdata.images.cut import Cut, cut_stored
from fastdata.images.decode import decode
from fastdata.images.header import read_header
from fastdata.sample import Pixels
from fastdata.transforms.draw import draw
from fastdata.transforms.steps import CenterCrop, RandomResizedCrop, Resize
from fastdata.transforms.transform import Transform
from fastdata.transforms.view import Box, View
from support.pictures import encoded, jpeg, photo
from support.processes import LIB

decoding = sys.modules["fastdata.images.reference"]
ORIENTATIONS = range(1, 9)


def whole(width: int, height: int) -> View:
    """The view of an image as it is."""
    return View(Box(0, 0, width, height), (width, height), Box(0, 0, width, height), flip=False)


def by_pillow(data: bytes, view: View) -> np.ndarray:
    """What a view means, in Pillow's words: crop, then resize, then window (black outside), then mirror."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    image = image.crop(view.box).resize(view.size, Image.Resampling.BILINEAR).crop(view.window)
    return np.asarray(ImageOps.mirror(image) if view.flip else image)


def largest_difference(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


def test_what_pillow_decodes_is_converted_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    image = encoded(photo(40, 30), "PNG")
    assert np.array_equal(pillow.decode_by_pillow(image, (40, 30)), photo(40, 30))
    monkeypatch.setattr(pillow, "_PIXELS_AT_ONCE", 7 * 40)
    assert np.array_equal(pillow.decode_by_pillow(image, (40, 30)), photo(40, 30))


@given(st.data())
@settings(max_examples=150)
def test_antialiased_views_are_pillows_within_one_level(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 130)), data.draw(st.integers(1, 130))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = Box(left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    size = (data.draw(st.integers(1, 150)), data.draw(st.integers(1, 150)))
    x, y = data.draw(st.integers(-9, size[0] - 1)), data.draw(st.integers(-9, size[1] - 1))
    window = Box(
        x, y, data.draw(st.integers(max(x, 0) + 1, size[0] + 9)), data.draw(st.integers(max(y, 0) + 1, size[1] + 9))
    )
    view = View(box, size, window, data.draw(st.booleans()), reducing_gap=None)
    image = encoded(photo(width, height, seed=width), "PNG")
    assert largest_difference(decode(image, view), by_pillow(image, view)) <= 1


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [60, 95])
def test_jpeg_views_are_pillows_within_one_level(subsampling: str, quality: int) -> None:
    image = jpeg(333, 251, quality=quality, subsampling=subsampling)
    evaluate = Transform([Resize(100), CenterCrop(90)], reducing_gap=None)
    train = Transform([RandomResizedCrop(64)], reducing_gap=None)
    views = [
        draw(evaluate, (333, 251), 0),
        *(draw(train, (333, 251), i) for i in range(20)),
    ]
    for view in views:
        assert largest_difference(decode(image, view), by_pillow(image, view)) <= 1


def test_resize_256_and_center_crop_224_are_pillows_within_one_level_on_real_photos(photos: Path) -> None:
    evaluate = Transform([Resize(256), CenterCrop(224)], reducing_gap=None)
    for path in sorted(photos.glob("*/*/*.jpg"))[::20]:
        image = path.read_bytes()
        view = draw(evaluate, read_header(image).size, 0)
        assert largest_difference(decode(image, view), by_pillow(image, view)) <= 1


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("antialias", [True, False])
def test_all_eight_orientations_come_out_alike(format: str, antialias: bool) -> None:
    upright = photo(64, 48)
    view = View(Box(5, 3, 50, 44), (32, 24), Box(2, 1, 30, 20), flip=True, antialias=antialias, reducing_gap=None)
    options = (
        {"quality": 100, "subsampling": "4:4:4"} if format == "JPEG" else {"lossless": True} if format == "WEBP" else {}
    )
    for orientation in ORIENTATIONS:
        stored = np.asarray(ImageOps.exif_transpose(_tagged(upright, _UNDO[orientation])))
        image = encoded(stored, format, orientation, **options)
        header = read_header(image)
        assert header.size == (64, 48), orientation
        difference = largest_difference(decode(image, view, header=header), decode(encoded(upright, "PNG"), view))
        assert difference <= (3 if format == "JPEG" else 1), orientation


# Storing an image so that orientation o turns it upright is turning it by the inverse of o.
_UNDO = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}


def _tagged(pixels: np.ndarray, orientation: int) -> Image.Image:
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    return image


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_photo_far_larger_than_its_output_is_decoded_smaller_and_looks_the_same(antialias: bool, factor: int) -> None:
    width, height = 1203, 901
    image = jpeg(width, height, quality=95)
    box = Box(101, 53, 101 + 110 * factor, 53 + 90 * factor)
    box = Box(box.left, box.top, min(box.right, width), min(box.bottom, height))
    size = (int(box.width / factor / 2), int(box.height / factor / 2))
    view = View(box, size, Box(0, 0, *size), flip=False, antialias=antialias)
    scaled, full = decode(image, view), decode(image, view._replace(reducing_gap=None))
    assert not np.array_equal(scaled, full), "scaled decoding was not used"
    difference = np.abs(scaled.astype(int) - full)
    # Plain bilinear reads single pixels of what it is given, so grain that scaling averages away stays in it.
    assert difference.mean() < (1.0 if antialias else 4.0)
    shifted = np.abs(scaled[:, 1:].astype(int) - full[:, :-1])
    assert difference.mean() < shifted.mean() / 1.5, "the picture has moved"


def test_scaled_decoding_never_goes_below_the_gap() -> None:
    image = jpeg(800, 800)
    view = View(Box(0, 0, 800, 800), (401, 401), Box(0, 0, 401, 401), flip=False, reducing_gap=2.0)
    assert np.array_equal(decode(image, view), decode(image, view._replace(reducing_gap=None)))


def test_pixels_are_written_into_the_array_that_is_given() -> None:
    image = jpeg(60, 40)
    batch = np.zeros((3, 20, 30, 3), np.uint8)
    for flip in (False, True):
        view = View(Box(0, 0, 60, 40), (30, 20), Box(0, 0, 30, 20), flip)
        assert decode(image, view, out=batch[1]).base is batch
        assert np.array_equal(batch[1], decode(image, view))
        apart = np.zeros((20, 60, 3), np.uint8)[:, ::2]
        assert np.array_equal(decode(image, view, out=apart), batch[1])
    assert not batch[0].any()
    assert not batch[2].any()


def read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(
    "out",
    [np.zeros((20, 30, 3), np.float32), np.zeros((20, 31, 3), np.uint8), read_only(np.zeros((20, 30, 3), np.uint8))],
)
def test_an_array_that_does_not_fit_is_refused(out: Pixels) -> None:
    with pytest.raises(ValueError, match="out must be a writable uint8 array"):
        decode(jpeg(60, 40), View(Box(0, 0, 60, 40), (30, 20), Box(0, 0, 30, 20), flip=False), out=out)


def test_a_box_outside_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a box of an image"):
        decode(jpeg(60, 40), View(Box(0, 0, 61, 40), (30, 20), Box(0, 0, 30, 20), flip=False))


@pytest.mark.parametrize(
    ("format", "mode"),
    [("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("PNG", "1"), ("GIF", "P"),
     ("BMP", "RGB"), ("WEBP", "RGBA"), ("TIFF", "CMYK"), ("PPM", "L")],
)  # fmt: skip
def test_every_kind_of_image_becomes_rgb_as_pillows_convert_does(format: str, mode: str) -> None:
    image = encoded(photo(33, 21), format, mode=mode)
    assert np.array_equal(decode(image, whole(33, 21)), np.asarray(Image.open(io.BytesIO(image)).convert("RGB")))


@pytest.mark.parametrize("subsampling", ["4:1:1", "4:4:0", "4:1:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_of_rare_sampling_are_pillows(subsampling: str, progressive: bool) -> None:
    import cv2

    flags = {
        "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
        "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
        "4:1:0": 0x421111,
    }
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, flags[subsampling], cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    ok, buffer = cv2.imencode(".jpg", photo(61, 47), options)
    assert ok
    image = buffer.tobytes()
    assert np.array_equal(decode(image, whole(61, 47)), np.asarray(Image.open(io.BytesIO(image)).convert("RGB")))


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    grey = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    pixels = decode(file.getvalue(), whole(16, 16))
    assert np.array_equal(pixels[..., 0].ravel(), np.arange(256))


def test_pixels_without_a_range_are_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(np.ones((4, 4), np.float32)).save(file, "TIFF")
    with pytest.raises(DecodeError, match="no known range"):
        decode(file.getvalue(), whole(4, 4))


def test_the_content_decides_what_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "really.jpg"
    path.write_bytes(encoded(photo(8, 6), "PNG"))
    assert np.array_equal(decode(path.read_bytes(), whole(8, 6)), photo(8, 6))


def test_a_size_over_the_limit_is_refused_before_anything_is_allocated() -> None:
    image = bytearray(jpeg(16, 16))
    start = image.index(b"\xff\xc0")
    image[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(DecodeError, match="65535x65535 pixels, more than the limit of 178956970"):
        read_header(bytes(image))
    with pytest.raises(DecodeError, match="more than the limit of 100"):
        read_header(encoded(photo(11, 10), "PNG"), max_pixels=100)
    assert read_header(encoded(photo(10, 10), "PNG"), max_pixels=100).size == (10, 10)


def test_resizing_a_strip_to_an_immense_size_is_refused() -> None:
    image = encoded(photo(2000, 1), "PNG")
    with pytest.raises(DrawError, match="out of bounds"):
        decode(image, draw([Resize(400)], (2000, 1), 0))


@pytest.mark.parametrize(
    "damage",
    [
        lambda image: image[: len(image) // 2],
        lambda image: b"",
        lambda image: b"no image at all",
        lambda image: b"\xff\xd8\xff" + bytes(100),
        lambda image: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
    ],
)
def test_what_is_no_image_is_refused(damage: Callable[[bytes], bytes]) -> None:
    image = damage(jpeg(64, 64))
    with pytest.raises(DecodeError):
        decode(image, whole(64, 64))


@given(st.binary(max_size=40), st.integers(0, 900), st.sampled_from(["JPEG", "PNG", "GIF", "WEBP"]))
@settings(max_examples=200)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_bytes_decode_or_are_refused_and_nothing_else(junk: bytes, at: int, format: str) -> None:
    image = bytearray(encoded(photo(24, 24), format))
    at %= len(image)
    image[at : at + len(junk)] = junk
    try:
        header = read_header(bytes(image), max_pixels=10**6)
        pixels = decode(bytes(image), draw([Resize((8, 8))], header.size, 0), header=header)
    except DecodeError:
        return
    assert pixels.shape == (8, 8, 3)


def test_decoding_starts_no_threads() -> None:
    # In a new process, in which no other test has made torch or OpenCV start theirs.
    code = """
import os
from fastdata.images.decode import decode
from fastdata.transforms.view import Box, View
from support.pictures import jpeg
image = jpeg(900, 700)
before = len(os.listdir("/proc/self/task"))
for antialias in (True, False):
    decode(image, View(Box(3, 3, 880, 600), (224, 224), Box(0, 0, 224, 224), True, antialias))
assert len(os.listdir("/proc/self/task")) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=LIB)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("exif", [b"junk", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0", b"", bytes(90)])
def test_malformed_exif_is_no_orientation_and_no_error(format: str, exif: bytes) -> None:
    image = encoded(photo(12, 8), format, exif=exif)
    assert read_header(image).orientation == 1
    assert decode(image, whole(12, 8)).shape == (8, 12, 3)


def test_a_palette_with_transparency_is_no_warning() -> None:
    image = Image.fromarray(photo(12, 8)).convert("P")
    file = io.BytesIO()
    image.save(file, "PNG", transparency=bytes(range(200)))
    expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(decode(file.getvalue(), whole(12, 8)), expected)


@pytest.mark.parametrize(
    ("progressive", "after_soi"),
    [(True, b""), (True, b"\xff\x00"), (False, b"\xff\x00")],  # of others the next test tells
    ids=["progressive", "progressive, by Pillow alone", "by Pillow alone"],
)
def test_a_jpeg_of_thousands_of_scans_is_refused_before_they_are_decoded(progressive: bool, after_soi: bytes) -> None:
    image = encoded(photo(64, 64), "JPEG", progressive=progressive)
    image = image[:2] + after_soi + image[2:]
    start = image.rindex(b"\xff\xda")
    last_scan = image[start : image.rindex(b"\xff\xd9")]
    with pytest.raises(DecodeError, match="more than 500 scans"):
        read_header(image[:start] + last_scan * 600 + b"\xff\xd9")


def test_scans_behind_one_of_all_components_are_an_error_and_those_of_one_each_are_counted() -> None:
    image = encoded(photo(64, 64), "JPEG")
    start = image.rindex(b"\xff\xda")
    of_one_component = bytes.fromhex("ffda0008010100003f0000000000")
    behind = image[:-2] + of_one_component * 600 + b"\xff\xd9"
    with pytest.raises(DecodeError, match="can't decode"):
        decode(behind, whole(64, 64))
    with pytest.raises(DecodeError, match="more than 500 scans"):
        read_header(image[:start] + of_one_component * 600 + b"\xff\xd9")


def test_the_limit_can_be_raised_for_images_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 100)
    image = encoded(photo(30, 20), "JPEG")
    assert decoding.decode(image, whole(30, 20), header=read_header(image, max_pixels=10**6)).shape == (20, 30, 3)


@given(
    orientation=st.sampled_from(ORIENTATIONS),
    antialias=st.booleans(),
    shrink=st.sampled_from([1, 2, 3, 6, 12]),
    left=st.floats(0, 0.6),
    top=st.floats(0, 0.6),
    side=st.floats(0.2, 0.4),
    flip=st.booleans(),
)
@settings(max_examples=60)
def test_what_is_cut_out_decodes_to_the_pixels_of_the_whole(
    orientation: int, antialias: bool, shrink: int, left: float, top: float, side: float, flip: bool
) -> None:
    image = _with_restarts(orientation)
    header = read_header(image)
    width, height = header.size
    box = Box(*(int(part) for part in (left * width, top * height, (left + side) * width, (top + side) * height)))
    size = (max(1, box.width // shrink), max(1, box.height // shrink))
    view = View(box, size, Box(0, 0, *size), flip, antialias, reducing_gap=1.0)
    cuts = []

    def noted(*args: Any) -> Cut | None:
        cuts.append(cut_stored(*args))
        return cuts[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "cut_stored", noted)
        cut = decoding.decode(image, view)
        assert [part is not None for part in cuts] == [True], "nothing was cut out"
        patch.setattr(decoding, "cut_stored", lambda *_: None)
        assert np.array_equal(cut, decoding.decode(image, view))


@functools.cache
def _with_restarts(orientation: int) -> bytes:
    """A JPEG with a restart marker after every 64 pixels."""
    return encoded(photo(640, 485), "JPEG", orientation, quality=90, subsampling="4:2:0", restart_marker_blocks=4)


def test_a_cut_that_is_refused_leaves_the_verdict_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    image = _with_restarts(1)
    view = View(Box(100, 100, 300, 300), (64, 64), Box(0, 0, 64, 64), flip=False)
    expected = decoding.decode(image, view)
    broken = Cut(b"\xff\xd8\xff\xd9", (4, 4), (208, 208))
    monkeypatch.setattr(decoding, "cut_stored", lambda *_: broken)
    assert np.array_equal(decoding.decode(image, view), expected)


def test_a_damaged_jpeg_is_tried_once_before_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    tries, decode_jpeg = [], simplejpeg.decode_jpeg

    def noted(data: bytes, **how: Any) -> Any:
        tries.append(data)
        return decode_jpeg(data, **how)

    monkeypatch.setattr(simplejpeg, "decode_jpeg", noted)
    with pytest.raises(DecodeError):
        decoding.decode(jpeg(333, 251)[:2000], whole(333, 251))
    assert len(tries) == 1


@pytest.mark.parametrize("flip", [False, True])
def test_memory_with_gaps_gets_the_same_pixels(flip: bool) -> None:
    image = jpeg(333, 251)
    view = View(Box(10, 20, 300, 200), (64, 48), Box(0, 0, 64, 48), flip, antialias=False)
    gaps = np.zeros((48, 128, 3), np.uint8)
    decode(image, view, gaps[:, ::2])
    assert np.array_equal(gaps[:, ::2], decode(image, view))
    assert not gaps[:, 1::2].any()


def test_scaling_is_bounded_by_the_tighter_side() -> None:
    image = jpeg(800, 400)
    view = View(Box(0, 0, 800, 400), (100, 190), Box(0, 0, 100, 190), flip=False)
    assert np.array_equal(decode(image, view), decode(image, view._replace(reducing_gap=None)))


def test_edges_between_pixels_are_not_black() -> None:
    image = encoded(np.full((805, 805, 3), 200, np.uint8), "JPEG", quality=100)
    view = View(Box(1, 1, 805, 805), (201, 201), Box(0, 0, 201, 201), flip=False, antialias=False)
    assert decode(image, view).min() >= 198
