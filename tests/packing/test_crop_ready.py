"""Pixels through a cut are the full decode's, exactly; whatever does not fit is decoded in full."""

import io
import os
import shutil
import subprocess
import warnings
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fastdata.errors import JpegError
from fastdata.images import cut as cutting
from fastdata.images.cut import cut, cut_stored, is_crop_ready
from fastdata.images.jpeg import read_jpeg_header
from fastdata.images.restart import add_table, segment_grid
from fastdata.packing.crop_ready import make_crop_ready, restart_interval
from support.pictures import jpeg, photo

Pixels = npt.NDArray[np.uint8]
BoxTuple = tuple[int, int, int, int]

needs_jpegtran = pytest.mark.skipif(
    shutil.which("jpegtran") is None and os.environ.get("FASTDATA_REQUIRE_TOOLS") != "1",
    reason="jpegtran is not installed (libjpeg-turbo-progs)",
)
SUBSAMPLINGS = {
    "grey": None,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}


@pytest.fixture
def every_cut_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts are made of small pictures too, and of all of a picture."""
    monkeypatch.setattr(cutting, "_LEAST_PIXELS_SAVED", 0)
    monkeypatch.setattr(cutting, "_LEAST_PART_SAVED", 0)


def encoded(width: int, height: int, subsampling: str, seed: int = 0, **options: int) -> bytes:
    """By OpenCV, whose options are given without IMWRITE_JPEG_. Noise, so that every neighbour matters."""
    flags = [item for name, value in options.items() for item in (getattr(cv2, f"IMWRITE_JPEG_{name}"), value)]
    noise = np.random.default_rng(seed).integers(-60, 60, (height, width, 3))
    pixels = (photo(width, height, seed) + noise).clip(0, 255).astype(np.uint8)
    factor = SUBSAMPLINGS[subsampling]
    if factor is None:
        pixels = pixels[:, :, 0]
    else:
        flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    return cv2.imencode(".jpg", pixels, flags)[1].tobytes()


def decoded(data: bytes, scale: int = 1) -> Pixels:
    """The whole picture at 1/scale by a strict decoder, grey as one channel."""
    header = read_jpeg_header(data)
    width, height = -(-header.width // scale), -(-header.height // scale)
    colours = "GRAY" if header.components == 1 else "RGB"
    pixels: Pixels = simplejpeg.decode_jpeg(data, colours, min_width=width, min_height=height)
    assert pixels.shape[:2] == (height, width)
    return pixels


def region(pixels: Pixels, box: BoxTuple, origin: tuple[int, int] = (0, 0), scale: int = 1) -> Pixels:
    """The box's pixels, rounded outwards, of a picture at 1/scale that begins at `origin` of the whole one."""
    x, y = origin[0] // scale, origin[1] // scale
    left, top = box[0] // scale - x, box[1] // scale - y
    right, bottom = -(-box[2] // scale) - x, -(-box[3] // scale) - y
    return pixels[top:bottom, left:right]


def assert_the_cut_has_the_pixels(data: bytes, box: BoxTuple, scale: int = 1) -> None:
    made = cut_stored(data, read_jpeg_header(data), box, scale)
    assert made is not None
    smaller, (x, y), size = made
    assert size == read_jpeg_header(smaller)[:2]
    origin = (box[0] - x, box[1] - y)
    assert origin[0] % 8 == origin[1] % 8 == 0
    expected = region(decoded(data, scale), box, scale=scale)
    assert np.array_equal(region(decoded(smaller, scale), box, origin, scale), expected)


@st.composite
def sizes_and_boxes(draw: st.DrawFn, largest: int = 200) -> tuple[tuple[int, int], BoxTuple]:
    width, height = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
    return (width, height), (left, top, right, bottom)


@needs_jpegtran
@pytest.mark.usefixtures("every_cut_pays")
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@settings(max_examples=25)
@given(sizes_and_boxes(), st.sampled_from([1, 2, 4, 8]), st.integers(0, 1), st.integers(0, 99))
def test_a_cut_of_a_crop_ready_photo_has_the_full_decodes_pixels(
    subsampling: str, where: tuple[tuple[int, int], BoxTuple], scale: int, progressive: int, seed: int
) -> None:
    (width, height), box = where
    data = encoded(width, height, subsampling, seed, PROGRESSIVE=progressive)
    ready = make_crop_ready(data)
    assert is_crop_ready(ready)
    assert np.array_equal(decoded(ready), decoded(data))
    assert_the_cut_has_the_pixels(ready, box, scale)


@pytest.mark.usefixtures("every_cut_pays")
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@settings(max_examples=25)
@given(sizes_and_boxes(120), st.sampled_from([1, 2, 4, 8]), st.integers(0, 99), st.booleans())
def test_a_cut_of_what_another_encoder_gave_restart_markers_has_the_full_decodes_pixels(
    subsampling: str, where: tuple[tuple[int, int], BoxTuple], scale: int, choice: int, with_table: bool
) -> None:
    (width, height), box = where
    mcu_width = {"grey": 8, "4:4:4": 8, "4:4:0": 8, "4:1:1": 32}.get(subsampling, 16)
    row = -(-width // mcu_width)
    intervals = [n for n in range(1, row + 1) if row % n == 0] + [2 * row, 3 * row]
    data = encoded(width, height, subsampling, RST_INTERVAL=intervals[choice % len(intervals)], OPTIMIZE=1)
    assert_the_cut_has_the_pixels(add_table(data) if with_table else data, box, scale)


@pytest.mark.usefixtures("every_cut_pays")
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_the_margin_is_enough_wherever_a_box_ends(subsampling: str, scale: int) -> None:
    data = encoded(131, 67, subsampling, RST_INTERVAL=1)
    for left in (*range(0, 70, scale), 128, 129, 130):
        for width in (1, 2, 17, 40):
            top, right = (left + width) % 60, min(left + width, 131)
            assert_the_cut_has_the_pixels(data, (left, top, right, min(top + width, 67)), scale)


@pytest.mark.usefixtures("every_cut_pays")
def test_a_grey_photos_mcu_is_one_block_whatever_its_sampling_factors() -> None:
    data = encoded(90, 60, "grey", RST_INTERVAL=4)
    frame = next(start for marker, start, _ in read_jpeg_header(data).segments if marker == 0xC0)
    data = data[: frame + 11] + b"\x22" + data[frame + 12 :]
    assert read_jpeg_header(data).sampling == ((2, 2),)
    assert_the_cut_has_the_pixels(data, (20, 20, 40, 40))


@needs_jpegtran
@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_upright_and_exif_orientation_leads_to_the_stored_pixels(orientation: int) -> None:
    ready = make_crop_ready(encoded(320, 400, "4:2:0"))
    image = Image.fromarray(decoded(ready))
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    box = (90, 21, 170, 130)
    made = cut(ready, box, read_jpeg_header(ready)._replace(orientation=orientation))
    assert made is not None
    smaller, (x, y) = made
    width, height = (80, 109) if orientation < 5 else (109, 80)
    piece = Image.fromarray(decoded(smaller)[y : y + height, x : x + width])
    piece.getexif()[0x0112] = orientation
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(piece)), region(upright, box))


@needs_jpegtran
def test_metadata_stays_in_a_crop_ready_photo_and_out_of_its_cuts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(400, 300, exif=exif, icc_profile=b"a profile" * 100, comment=b"a comment")
    ready = make_crop_ready(data)
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(ready))
    assert after.info["icc_profile"] == before.info["icc_profile"]
    assert after.info["comment"] == before.info["comment"]
    assert after.getexif() == before.getexif()
    assert read_jpeg_header(ready).orientation == 6
    made = cut(ready, (0, 0, 100, 100))
    assert made is not None
    assert {marker for marker, _, _ in read_jpeg_header(made[0]).segments} <= {0xE0, 0xDB, 0xC0, 0xC4, 0xDD, 0xDA}
    assert read_jpeg_header(made[0]).orientation == 1


@pytest.mark.usefixtures("every_cut_pays")
@pytest.mark.parametrize("transform", [0, 1])
def test_a_cut_keeps_what_says_whether_the_colours_are_rgb_or_ycbcr(transform: int) -> None:
    data = encoded(96, 64, "4:4:4", RST_INTERVAL=3)
    (_, jfif, jfif_stop), *_ = read_jpeg_header(data).segments
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])
    data = data[:jfif] + adobe + data[jfif_stop:]
    assert read_jpeg_header(data).adobe_transform == transform
    assert_the_cut_has_the_pixels(data, (30, 20, 60, 50))


@needs_jpegtran
def test_what_is_crop_ready_is_returned_as_it_is() -> None:
    ready = make_crop_ready(encoded(150, 90, "4:2:0"))
    assert make_crop_ready(ready) == ready
    assert not is_crop_ready(encoded(150, 90, "4:2:0"))
    assert not is_crop_ready(b"no JPEG")


@needs_jpegtran
def test_a_stale_table_is_replaced() -> None:
    ready = make_crop_ready(encoded(320, 128, "4:2:0"))
    rotate = ["jpegtran", "-copy", "all", "-restart", "2B", "-rotate", "90"]
    rotated = subprocess.run(rotate, input=ready, capture_output=True, check=True).stdout
    assert not is_crop_ready(rotated)
    again = make_crop_ready(rotated)
    assert is_crop_ready(again)
    assert [marker for marker, _, _ in read_jpeg_header(again).segments].count(0xE9) == 1


@needs_jpegtran
def test_cuts_satisfy_djpeg_without_a_warning(tmp_path: Path) -> None:
    for subsampling in SUBSAMPLINGS:
        made = cut(make_crop_ready(encoded(500, 375, subsampling)), (130, 77, 311, 222))
        assert made is not None
        done = subprocess.run(["djpeg", "-outfile", tmp_path / "out.ppm"], input=made[0], capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("width", "mcus"), [(500, 4), (512, 4), (400, 5), (333, 3), (496, 31), (17, 2), (1, 1), (3600, 25)]
)
def test_the_interval_divides_a_row_near_64_pixels_or_an_eighth_or_is_a_row(width: int, mcus: int) -> None:
    assert restart_interval(read_jpeg_header(encoded(width, 16, "4:2:0"))) == mcus


def with_frame(data: bytes, marker: int = 0xC0, precision: int = 8) -> bytes:
    start = next(start for found, start, _ in read_jpeg_header(data).segments if found in (0xC0, 0xC2))
    return data[: start + 1] + bytes([marker]) + data[start + 2 : start + 4] + bytes([precision]) + data[start + 5 :]


def without_last_scan(data: bytes) -> bytes:
    return data[: data.rindex(b"\xff\xda")] + b"\xff\xd9"


PLAIN = encoded(160, 120, "4:2:0")


@needs_jpegtran
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (jpeg(64, 64, mode="CMYK"), "4 components"),
        (with_frame(PLAIN, precision=12), "12 bit"),
        (with_frame(PLAIN, marker=0xC9), "SOF9"),
        (with_frame(PLAIN, marker=0xC3), "SOF3"),
        (PLAIN[:-200], "libjpeg refuses it: Premature end"),
        (PLAIN[:1000] + bytes(200) + PLAIN[1200:], "libjpeg refuses it"),
        (jpeg(64, 64, progressive=True)[: -len(b"\xff\xd9") - 40], "libjpeg refuses it"),
        (without_last_scan(jpeg(64, 64, progressive=True)), "without all of its scans"),
        (b"no JPEG", "offset 0"),
    ],
)
def test_what_cant_be_made_crop_ready_or_is_damaged_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(JpegError, match=reason):
        make_crop_ready(data)


def test_a_claimed_size_beyond_the_limit_is_refused_before_jpegtran_sees_it() -> None:
    with pytest.raises(JpegError, match="claims 160x120 pixels, more than the limit of 19199"):
        make_crop_ready(PLAIN, max_pixels=160 * 120 - 1)


def test_a_missing_jpegtran_is_an_error_that_names_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdata.images.kernel.KERNEL", None)
    monkeypatch.setenv("PATH", "")
    for package in ("libjpeg-turbo-progs", "conda-forge libjpeg-turbo", "jpeg-turbo"):
        with pytest.raises(RuntimeError, match=package):
            make_crop_ready(PLAIN)


def test_nothing_is_cut_where_nothing_is_gained() -> None:
    ready = add_table(encoded(512, 384, "4:2:0", RST_INTERVAL=4))
    assert cut(ready, (100, 100, 300, 300)) is not None
    assert cut(ready, (0, 0, 512, 384)) is None
    assert cut(ready, (5, 5, 500, 370)) is None
    assert cut(encoded(512, 384, "4:2:0"), (100, 100, 300, 300)) is None
    assert cut(encoded(512, 384, "4:2:0", PROGRESSIVE=1, RST_INTERVAL=4), (100, 100, 300, 300)) is None
    assert cut(encoded(64, 64, "4:2:0", RST_INTERVAL=4), (0, 0, 9, 9)) is None
    assert cut(with_frame(encoded(512, 384, "4:2:0", RST_INTERVAL=4), precision=12), (100, 100, 300, 300)) is None


@needs_jpegtran
def test_a_photo_whose_components_are_in_scans_of_their_own_is_not_cut_but_can_be_made_crop_ready(
    tmp_path: Path,
) -> None:
    script = tmp_path / "scans"
    script.write_text("0; 1; 2;")
    apart: list[str | Path] = ["jpegtran", "-scans", script, "-restart", "4B"]
    data = subprocess.run(apart, input=encoded(512, 384, "4:2:0"), capture_output=True, check=True).stdout
    first_scan_only = data[: data.index(b"\xff\xda", read_jpeg_header(data).scan)] + b"\xff\xd9"
    assert segment_grid(data, read_jpeg_header(data)) is None
    assert cut(data, (100, 100, 300, 300)) is None
    assert cut(first_scan_only, (100, 100, 300, 300)) is None
    assert_the_cut_has_the_pixels(make_crop_ready(data), (100, 100, 300, 300))


@pytest.mark.parametrize("box", [(0, 0, 513, 10), (0, 0, 10, 385), (-1, 0, 10, 10), (10, 10, 10, 20), (0, 9, 9, 9)])
def test_a_box_outside_the_picture_or_without_pixels_is_an_error(box: BoxTuple) -> None:
    with pytest.raises(ValueError, match="does not lie within 512x384"):
        cut(encoded(512, 384, "4:2:0", RST_INTERVAL=4), box)


FUZZED = [
    add_table(encoded(200, 90, "4:2:0", RST_INTERVAL=1)),
    encoded(200, 90, "4:2:0", RST_INTERVAL=1),
    encoded(131, 77, "4:2:2", RST_INTERVAL=3),
    encoded(96, 64, "grey", RST_INTERVAL=24),
]


def verdict(data: bytes) -> Pixels | None:
    """The full decode as RGB: what simplejpeg refuses Pillow decides."""
    try:
        decoded: Pixels = simplejpeg.decode_jpeg(data, "RGB")
        return decoded
    except ValueError:
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return np.asarray(Image.open(io.BytesIO(data), formats=("JPEG",)).convert("RGB"))
        except Exception:  # noqa: BLE001  Pillow raises whatever damaged bytes lead it to
            return None


@pytest.mark.usefixtures("every_cut_pays")
@settings(max_examples=400)
@given(
    st.sampled_from(FUZZED),
    st.lists(st.tuples(st.integers(2, 10**6), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=3),
    st.integers(0, 10**6),
)
def test_fuzzed_files_never_give_pixels_that_a_full_decode_would_not(
    data: bytes, changes: list[tuple[int, bytes, int]], where: int
) -> None:
    for offset, inserted, removed in changes:
        at = 2 + offset % (len(data) - 2)
        data = data[:at] + inserted + data[at + removed :]
    try:
        header = read_jpeg_header(data)
    except JpegError:
        return
    left, top = where % header.width, where % header.height
    box = (left, top, min(left + 40, header.width), min(top + 30, header.height))
    made = cut_stored(data, header, box)
    if made is None:
        return
    smaller, (x, y), _ = made
    try:
        pixels = simplejpeg.decode_jpeg(smaller, "RGB")
    except ValueError:
        return  # the caller decodes in full then
    full = verdict(data)
    assert full is not None
    assert np.array_equal(pixels[y : y + box[3] - top, x : x + box[2] - left], region(full, box))


@needs_jpegtran
def test_real_photos_are_made_crop_ready_and_cut_without_a_difference(photos: Path) -> None:
    paths = sorted(photos.glob("*/*/*.jpg"))[::40]
    assert paths
    sizes = np.zeros(2, np.int64)
    for number, path in enumerate(paths):
        data = path.read_bytes()
        ready = make_crop_ready(data)
        assert np.array_equal(decoded(ready), decoded(data))
        sizes += len(data), len(ready)
        header = read_jpeg_header(ready)
        left, top = 13 * number % (header.width // 2), 7 * number % (header.height // 2)
        for scale in (1, 2):
            assert_the_cut_has_the_pixels(ready, (left, top, left + 150, top + 170), scale)
    assert abs(sizes[1] - sizes[0]) < 0.01 * sizes[0]
