"""The compiled kernel against the Python that it replaces: the same pixels, the same verdicts, the same headers."""

import errno
import functools
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdata.errors import DecodeError, JpegError
from fastdata.images import kernel
from fastdata.images.header import Header, read_header
from fastdata.images.jobs import JOB, jobs
from fastdata.images.jpeg import read_jpeg_header
from fastdata.images.kernel import KERNEL, Kind, Status, kernel_name
from fastdata.images.reference import decode
from fastdata.images.restart import add_table
from fastdata.transforms.draw import draw
from fastdata.transforms.steps import CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize
from fastdata.transforms.transform import Transform
from fastdata.transforms.view import Box, Interpolation, View
from support.pictures import encoded, jpeg, photo

if KERNEL is None:
    if os.environ.get("FASTDATA_REQUIRE_KERNEL") == "1":
        raise RuntimeError("FASTDATA_REQUIRE_KERNEL=1, but the kernel is not built")
    pytest.skip("the kernel is not built", allow_module_level=True)

Pixels = npt.NDArray[np.uint8]
SUBSAMPLINGS = {
    "grey": None,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}
needs_jpegtran = pytest.mark.skipif(
    shutil.which("jpegtran") is None and os.environ.get("FASTDATA_REQUIRE_TOOLS") != "1",
    reason="jpegtran is not installed (libjpeg-turbo-progs)",
)


@functools.cache
def noisy(width: int, height: int, subsampling: str, progressive: bool = False, interval: int = 0) -> bytes:
    """A photo with noise, so that every neighbour matters."""
    noise = np.random.default_rng(width).integers(-60, 60, (height, width, 3))
    pixels = (photo(width, height, height) + noise).clip(0, 255).astype(np.uint8)
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive), cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    factor = SUBSAMPLINGS[subsampling]
    if factor is None:
        pixels = pixels[:, :, 0]
    else:
        flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    return cv2.imencode(".jpg", pixels, flags)[1].tobytes()


def turned(data: bytes, orientation: int) -> bytes:
    """The same JPEG with an EXIF orientation."""
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return data[:2] + struct.pack(">BBH", 0xFF, 0xE1, len(exif) + 2) + exif + data[2:]


def crop_ready(data: bytes, interval: int) -> bytes:
    return add_table(kernel.make_crop_ready(data, interval))


def by_kernel(data: bytes, view: View, checked: bool = False, orientation: int | None = None) -> tuple[Status, Pixels]:
    """One view, in a row filled with what no black background would be."""
    row = np.full((view.window.height, view.window.width, 3), 77, np.uint8)
    orientation = orientation or read_header(data).orientation
    (status,) = kernel.decode([data], jobs([view], [orientation], checked), [row])
    return Status(status), row


def bound(view: View) -> int:
    """Levels: bicubic's weights add up to more than 1, and so do its roundings."""
    return 2 if view.interpolation == "bilinear" else 4


def difference(a: Pixels, b: Pixels) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


def crop(box: Box | tuple[int, int, int, int], flip: bool = False) -> View:
    box = Box(*box)
    size = (box.width, box.height)
    return View(box, size, Box(0, 0, *size), flip)


@st.composite
def boxes(draw: st.DrawFn, width: int, height: int) -> Box:
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return Box(left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height)))


@st.composite
def views(draw: st.DrawFn, width: int, height: int) -> View:
    """Any view: up or down, antialiased or plain, with a window inside or beyond."""
    box = draw(boxes(width, height))
    size = draw(st.sampled_from([(box.width, box.height), (17, 23), (1, 1), (64, 64), (200, 3), (box.width, 9)]))
    x, y = draw(st.integers(-9, size[0] - 1)), draw(st.integers(-9, size[1] - 1))
    right, bottom = draw(st.integers(max(x, 0) + 1, size[0] + 9)), draw(st.integers(max(y, 0) + 1, size[1] + 9))
    window = draw(st.sampled_from([Box(0, 0, *size), Box(x, y, right, bottom)]))
    gap = draw(st.sampled_from([None, 1.0, 2.0]))
    flip, antialias, flip_vertical = (draw(st.booleans()) for _ in range(3))
    interpolation: Interpolation = "bicubic" if antialias and draw(st.booleans()) else "bilinear"
    return View(box, size, window, flip, antialias, gap, flip_vertical, interpolation)


@functools.cache
def of_many_views(subsampling: str, interval: int, orientation: int) -> bytes:
    data = noisy(313, 227, subsampling)
    return turned(crop_ready(data, interval) if interval else data, orientation)


@settings(max_examples=300)
@given(
    st.sampled_from(list(SUBSAMPLINGS)),
    st.sampled_from([0, 2, 5]),
    st.sampled_from([1, 4, 6]),
    st.data(),
)
def test_several_views_of_a_sample_are_those_decoded_one_by_one(
    subsampling: str, interval: int, orientation: int, data: st.DataObject
) -> None:
    image = of_many_views(subsampling, interval, orientation)
    size = (227, 313) if orientation >= 5 else (313, 227)
    wanted = data.draw(st.lists(views(*size), min_size=2, max_size=9))
    alone = [by_kernel(image, view, orientation=orientation) for view in wanted]
    rows = [np.full((view.window.height, view.window.width, 3), 77, np.uint8) for view in wanted]
    status = kernel.decode([image] * len(wanted), jobs(wanted, [orientation] * len(wanted)), rows)
    assert status.tolist() == [state for state, _ in alone]
    for row, (state, expected) in zip(rows, alone, strict=True):
        if state == Status.DONE:
            np.testing.assert_array_equal(row, expected)


def test_a_damaged_file_is_refused_for_all_of_its_views() -> None:
    damaged = bytearray(jpeg(300, 200))
    damaged[len(damaged) // 2 :] = bytes(len(damaged) - len(damaged) // 2)
    crops = [crop((0, 0, 50, 50)), crop((40, 10, 90, 60)), crop((0, 0, 400, 10))]
    rows = [np.empty((50, 50, 3), np.uint8), np.empty((50, 50, 3), np.uint8), np.empty((10, 400, 3), np.uint8)]
    status = kernel.decode([bytes(damaged)] * 3, jobs(crops, [1] * 3), rows)
    assert status.tolist() == [Status.WARNING, Status.WARNING, Status.BAD_VIEW]


@pytest.mark.parametrize("interval", [0, 2, 5, 10])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_boxes_that_are_not_resized_are_the_references_exactly(
    subsampling: str, progressive: bool, interval: int
) -> None:
    data = noisy(313, 227, subsampling, progressive, interval)
    rng = random.Random(0)
    edges = [(0, 0, 313, 227), (0, 0, 1, 1), (312, 226, 313, 227), (0, 100, 313, 101), (150, 0, 151, 227)]
    whole = decode(data, crop(edges[0]))
    count = 15 if progressive else 150  # all of its scans are read for each, and boxes are the same code's
    some = [sorted(rng.sample(range(314), 2)) + sorted(rng.sample(range(228), 2)) for _ in range(count)]
    for box in [*edges, *[(left, top, right, bottom) for left, right, top, bottom in some]]:
        for checked in (False, True):
            status, pixels = by_kernel(data, crop(box), checked)
            assert status == Status.DONE
            assert np.array_equal(pixels, whole[box[1] : box[3], box[0] : box[2]]), box


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_boxes_of_a_picture_decoded_at_a_fraction_are_the_references_exactly(
    subsampling: str, progressive: bool, factor: int
) -> None:
    data = noisy(617, 455, subsampling, progressive)
    rng = random.Random(factor)
    for _ in range(12 if progressive else 80):
        width, height = rng.randint(1, 600 // factor), rng.randint(1, 440 // factor)
        left, top = rng.randint(0, 617 // factor - width), rng.randint(0, 455 // factor - height)
        box = Box(left * factor, top * factor, (left + width) * factor, (top + height) * factor)
        view = View(box, (width, height), Box(0, 0, width, height), False, True, 1.0)
        status, pixels = by_kernel(data, view, rng.random() < 0.5)
        assert status == Status.DONE
        assert np.array_equal(pixels, decode(data, view)), box


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@given(views=st.lists(views(165, 121), min_size=5, max_size=5), orientation=st.integers(1, 8))
@settings(max_examples=40)
def test_any_view_is_the_references_within_two_levels(subsampling: str, views: list[View], orientation: int) -> None:
    data = noisy(165, 121, subsampling)
    if orientation >= 5:
        views = [view._replace(box=Box(view.box.top, view.box.left, view.box.bottom, view.box.right)) for view in views]
    data = turned(data, orientation)
    for view in views:
        status, pixels = by_kernel(data, view)
        assert status == Status.DONE
        expected = decode(data, view)
        assert difference(pixels, expected) <= bound(view)
        if view.size == (view.box.width, view.box.height):
            assert np.array_equal(pixels, expected)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("gap", [None, 2.0])
def test_real_photos_are_the_references_within_two_levels(photos: Path, antialias: bool, gap: float | None) -> None:
    train = Transform([RandomResizedCrop(64), RandomHorizontalFlip()], antialias, gap)
    evaluate = Transform([Resize(256), CenterCrop(224)], antialias, gap)
    means = []
    for i, path in enumerate(sorted(photos.glob("*/*/*.jpg"))[::20]):
        data = path.read_bytes()
        for transform in (train, evaluate):
            view = draw(transform, read_header(data).size, i)
            status, pixels = by_kernel(data, view)
            assert status == Status.DONE
            expected = decode(data, view)
            assert difference(pixels, expected) <= bound(view)
            means.append(np.abs(pixels.astype(int) - expected).mean())
    assert np.mean(means) < (0.02 if antialias else 0.25)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_crop_ready_and_plain_are_identical(subsampling: str) -> None:
    plain = noisy(700, 500, subsampling)
    mcus = -(-700 // {"grey": 8, "4:4:4": 8, "4:4:0": 8, "4:1:1": 32}.get(subsampling, 16))
    interval = next(n for n in range(4, mcus + 1) if mcus % n == 0)
    without_table = kernel.make_crop_ready(plain, interval)
    transform = Transform([RandomResizedCrop(64), RandomHorizontalFlip()], random.Random(0).random() < 0.5)
    for seed in range(60):
        view = draw(transform, (700, 500), seed)
        if seed % 3 == 0:
            view = crop(view.box, view.flip)
        _, expected = by_kernel(plain, view)
        for data in (crop_ready(plain, interval), without_table):
            for checked in (False, True):
                status, pixels = by_kernel(data, view, checked)
                assert status == Status.DONE
                assert np.array_equal(pixels, expected)


def test_a_task_of_many_samples_is_each_of_them_alone() -> None:
    sources = [noisy(100 + 31 * i, 300 - 20 * i, "4:2:0", interval=i) for i in range(8)]
    sources[3] = b"no image"
    all_views = [crop((i, 2 * i, 60 + i, 90), i % 2 == 0) for i in range(8)]
    rows = [np.empty((view.window.height, view.window.width, 3), np.uint8) for view in all_views]
    spent = np.zeros(2, np.int64)
    status = kernel.decode(sources, jobs(all_views, [1] * 8), rows, spent)
    assert status.tolist() == [Status.DONE] * 3 + [Status.BAD_HEADER] + [Status.DONE] * 4
    assert spent[0] > 0
    for i in (0, 1, 2, 4, 5, 6, 7):
        assert np.array_equal(rows[i], decode(sources[i], all_views[i]))


def test_all_levels_of_simd_are_the_same_to_the_bit(tmp_path: Path) -> None:
    """Each in a process of its own, since the choice is made at import."""
    (tmp_path / "image.jpg").write_bytes(noisy(313, 227, "4:2:0"))
    program = f"""
import hashlib, random, sys
import numpy as np
from fastdata.images import kernel
from fastdata.images.jobs import jobs
from fastdata.transforms.steps import RandomResizedCrop, Resize
from fastdata.transforms.transform import Transform
from fastdata.transforms.draw import draw
data = open({str(tmp_path / "image.jpg")!r}, "rb").read()
digest = hashlib.sha256()
for seed in range(40):
    how = "bicubic" if seed % 3 == 1 else "bilinear"
    step = RandomResizedCrop(seed + 1, interpolation=how) if seed % 4 else Resize((7 * seed + 1, 3 * seed + 1))
    view = draw(Transform([step], seed % 3 > 0, None), (313, 227), seed)
    row = np.empty((view.window.height, view.window.width, 3), np.uint8)
    assert not kernel.decode([data], jobs([view], [1 + seed % 4]), [row])[0]
    digest.update(row)
print(kernel.kernel_name(), digest.hexdigest())
"""
    said = {}
    for simd in ("portable", "sse4", "avx2"):
        command = [sys.executable, "-W", "ignore", "-c", program]
        environment = {**os.environ, "FASTDATA_SIMD": simd}
        name, digest = subprocess.check_output(command, env=environment, text=True).split()
        said[name] = digest
    assert "portable" in said
    assert kernel_name() in said or "FASTDATA_SIMD" in os.environ
    assert len(set(said.values())) == 1


def test_without_the_kernel_its_name_is_none() -> None:
    program = "from fastdata.images.kernel import KERNEL, kernel_name; print(KERNEL, kernel_name())"
    command = [sys.executable, "-W", "ignore", "-c", program]
    environment = {**os.environ, "FASTDATA_KERNEL": "no"}
    assert subprocess.check_output(command, env=environment, text=True).split() == ["None", "none"]


def verdict(data: bytes, view: View, header: Header) -> Pixels | None:
    """The reference's pixels; None where it raises, as it does for a changed header too."""
    try:
        return decode(data, view, header=header)
    except (DecodeError, ValueError):
        return None


def agree(data: bytes, view: View) -> bool:
    """Whether the kernel decoded what the reference does, to the same pixels; it may refuse anything."""
    try:
        header = read_header(data)
    except DecodeError:
        header = None
    status, pixels = by_kernel(data, view, orientation=header.orientation if header else 1)
    if status != Status.DONE:
        return False
    assert header is not None, "the reference can't even read the header"
    expected = verdict(data, view, header)
    assert expected is not None, "the kernel decoded what the reference refuses"
    assert difference(pixels, expected) <= bound(view)
    return True


@pytest.mark.parametrize("interval", [0, 4])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_what_the_reference_refuses_the_kernel_refuses_wherever_a_file_ends(
    subsampling: str, progressive: bool, interval: int
) -> None:
    data = noisy(97, 65, subsampling, progressive, interval)
    view = crop((3, 2, 40, 17))  # far above the damage
    assert agree(data, view)
    refused = [size for size in range(len(data)) if not agree(data[:size], view)]
    # Entropy-coded data end with up to 7 bits of padding, and a progressive file may lack its EOI's first byte only.
    assert len(refused) >= len(data) - 2


@given(
    st.sampled_from(list(SUBSAMPLINGS)),
    st.booleans(),
    st.sampled_from([0, 1, 4]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    boxes(97, 65),
)
@settings(max_examples=400)
def test_damaged_bytes_get_the_references_verdict(
    subsampling: str, progressive: bool, interval: int, changes: list[tuple[float, int]], box: Box
) -> None:
    data = bytearray(noisy(97, 65, subsampling, progressive, interval))
    for place, value in changes:
        data[int(place * len(data))] = value
    agree(bytes(data), crop(box))


def test_damage_is_noticed_in_the_last_row_unless_the_file_is_checked() -> None:
    data = jpeg(320, 240, subsampling="4:2:0")
    cut_off = data[:-40] + b"\xff\xd9"
    view = crop((5, 5, 60, 60))
    assert by_kernel(cut_off, view)[0] == Status.WARNING
    status, pixels = by_kernel(cut_off, view, checked=True)
    assert status == Status.DONE
    assert np.array_equal(pixels, decode(data, view))


@pytest.mark.parametrize("checked", [(True, True), (True, False)])
def test_damage_below_several_views_is_noticed_unless_the_file_is_checked(checked: tuple[bool, bool]) -> None:
    data = jpeg(320, 240, subsampling="4:2:0")
    cut_off = data[:-40] + b"\xff\xd9"
    wanted = [crop((5, 5, 60, 60)), crop((90, 20, 150, 90), flip=True)]
    rows = [np.empty((view.window.height, view.window.width, 3), np.uint8) for view in wanted]
    asked = jobs(wanted, [1, 1])
    asked["checked"] = checked
    status = kernel.decode([cut_off] * 2, asked, rows)
    if not all(checked):
        assert status.tolist() == [Status.WARNING] * 2
        return
    assert status.tolist() == [Status.DONE] * 2
    for row, view in zip(rows, wanted, strict=True):
        assert np.array_equal(row, decode(data, view))


def test_a_wrong_checksum_is_a_full_decode_and_not_looked_at_where_the_file_is_checked() -> None:
    data = bytearray(crop_ready(noisy(700, 500, "4:4:4"), 8))
    data[-100] ^= 1
    view = crop((5, 5, 60, 60))
    assert agree(bytes(data), view) in (False, True)
    status, pixels = by_kernel(bytes(data), view, checked=True)
    assert status == Status.DONE
    assert np.array_equal(pixels, decode(noisy(700, 500, "4:4:4"), view))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", Status.BAD_HEADER),
        (b"\xff\xd8\xff", Status.BAD_HEADER),
        (encoded(photo(40, 30), "PNG"), Status.BAD_HEADER),
        (jpeg(40, 30, mode="CMYK"), Status.OTHER_KIND),
        (jpeg(40, 30, progressive=True) + b"\xff\xda" * 501, Status.MANY_SCANS),
        (jpeg(40, 30)[:-20], Status.WARNING),
    ],
)
def test_a_status_says_why(data: bytes, status: Status) -> None:
    assert by_kernel(data, crop((0, 0, 10, 10)), orientation=1)[0] == status


def test_views_that_are_not_of_this_image_are_refused() -> None:
    data = jpeg(40, 30)
    beside = View(Box(0, 0, 10, 10), (10, 10), Box(20, 0, 30, 10), False)
    large = View(Box(0, 0, 10, 10), (1 << 30, 1 << 20), Box(0, 0, 10, 10), False)
    for view in (crop((0, 0, 41, 30)), crop((0, 0, 40, 31)), beside, large):
        assert by_kernel(data, view)[0] == Status.BAD_VIEW
    assert by_kernel(data, crop((0, 0, 10, 10)), orientation=9)[0] == Status.BAD_VIEW


def test_pictures_of_a_few_pixels_at_a_fraction_are_the_references_to_decode() -> None:
    view = View(Box(0, 0, 3, 3), (1, 1), Box(0, 0, 1, 1), False, True, 1.0)
    assert by_kernel(jpeg(3, 3), view)[0] == Status.BAD_VIEW
    assert by_kernel(jpeg(9, 3), view)[0] == Status.DONE


def test_bad_arguments_are_errors() -> None:
    data, crops = jpeg(40, 30), jobs([crop((0, 0, 10, 10))], [1])
    row = np.empty((10, 10, 3), np.uint8)
    with pytest.raises(ValueError, match="row 0 has 297 bytes, its window is 10 x 10"):
        kernel.decode([data], crops, [np.empty((9, 11, 3), np.uint8)])
    with pytest.raises(ValueError, match="jobs must have 128 bytes, got 64"):
        kernel.decode([data, data], crops, [row])
    with pytest.raises(ValueError, match="1 sources, 0 rows"):
        kernel.decode([data], crops, [])
    with pytest.raises((ValueError, BufferError)):
        kernel.decode([data], crops, [np.empty((10, 20, 3), np.uint8)[:, ::2]])
    with pytest.raises((ValueError, BufferError)):
        kernel.decode([data], crops, [bytes(300)])
    with pytest.raises(TypeError):
        kernel.decode([None], crops, [row])  # type: ignore[list-item]
    assert kernel.decode([], np.empty(0, JOB), []).size == 0


def header_of(data: bytes) -> tuple[int, int, int] | None:
    try:
        header = read_jpeg_header(data)
    except JpegError:
        return None
    return header.width, header.height, header.orientation


def same_header(datas: Sequence[bytes]) -> None:
    for data, (width, height, orientation, kind) in zip(datas, kernel.headers(datas).tolist(), strict=True):
        expected = header_of(data)
        if expected is None:
            assert kind == (Kind.REFUSED if data[:3] == b"\xff\xd8\xff" else Kind.NOT_JPEG)
        else:
            assert kind in (Kind.DECODABLE, Kind.NOT_FOR_KERNEL, Kind.SCAN_BOMB)
            assert (width, height, orientation) == expected


def test_headers_are_those_of_the_walk_in_python(photos: Path) -> None:
    same_header([path.read_bytes() for path in sorted(photos.glob("*/*/*.jpg"))[::5]])


@pytest.mark.parametrize("orientation", range(10))
def test_orientations_are_read_as_in_python(orientation: int) -> None:
    same_header([turned(jpeg(40, 30), orientation), jpeg(40, 30, orientation=orientation or None)])


HEADS = [
    turned(noisy(33, 25, "4:2:0", interval=2), 6),
    jpeg(40, 30, orientation=5, progressive=True),
    jpeg(40, 30, mode="CMYK"),
]


@given(
    st.sampled_from(HEADS),
    st.lists(st.tuples(st.integers(0, 250), st.binary(max_size=4), st.integers(0, 6)), max_size=5),
    st.integers(0, 300) | st.none(),
)
@settings(max_examples=1000)
def test_mutated_headers_are_read_as_in_python(
    data: bytes, changes: list[tuple[int, bytes, int]], size: int | None
) -> None:
    for at, content, removed in changes:
        data = data[:at] + content + data[at + removed :]
    same_header([data[:size]])


@given(st.sampled_from(HEADS), st.integers(0, 250), st.integers(0, 255))
@settings(max_examples=1000)
def test_headers_with_one_byte_changed_are_read_as_in_python(data: bytes, at: int, value: int) -> None:
    same_header([data[:at] + bytes([value]) + data[at + 1 :]])


def test_kinds() -> None:
    datas = [jpeg(40, 30), jpeg(40, 30, mode="CMYK"), b"\xff\xd8\xff\xd9", b"GIF", jpeg(40, 30) + b"\xff\xda" * 501]
    kinds = [Kind.DECODABLE, Kind.NOT_FOR_KERNEL, Kind.REFUSED, Kind.NOT_JPEG, Kind.SCAN_BOMB]
    assert kernel.headers(datas)[:, 3].tolist() == kinds


@needs_jpegtran
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_crop_ready_files_are_jpegtrans_byte_for_byte(subsampling: str, progressive: bool) -> None:
    plain = noisy(165, 121, subsampling, progressive)
    adobe = plain[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0" + bytes([subsampling != "grey"]) + plain[2:]
    comment = plain[:2] + b"\xff\xfe\x00\x07hello\xff\xe5\x00\x04\0\0" + plain[2:]
    for data in (plain, adobe, comment, turned(plain, 6), turned(comment, 3)):
        for interval in (1, 5, 300):
            command = ["jpegtran", "-copy", "all", "-optimize", "-restart", f"{interval}B"]
            expected = subprocess.run(command, input=data, capture_output=True, check=True).stdout
            assert kernel.make_crop_ready(data, interval) == expected


def test_what_is_damaged_or_no_jpeg_is_not_made_crop_ready() -> None:
    data = jpeg(100, 80)
    with pytest.raises(ValueError, match=r"(?i)corrupt|premature"):
        kernel.make_crop_ready(data[:-100], 5)
    with pytest.raises(ValueError, match=r"(?i)corrupt|premature"):
        kernel.make_crop_ready(data[:-100] + b"\xff\xd9", 5)
    with pytest.raises(ValueError, match="only 8-bit Huffman-coded grey and colour"):
        kernel.make_crop_ready(jpeg(40, 30, mode="CMYK"), 5)
    with pytest.raises(ValueError, match="no JPEG header"):
        kernel.make_crop_ready(b"GIF89a", 5)
    with pytest.raises(ValueError, match="16 bits"):
        kernel.make_crop_ready(data, 65536)


def test_ranges_are_read_one_after_another(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(range(256)) * 10)
    out = bytearray(40)
    with path.open("rb") as file:
        fds = [file.fileno()] * 3 + [1_000_000]
        done = kernel.read(np.array([fds, [5, 2550, 0, 0], [10, 20, 3, 4]]).T, out)
    assert done.tolist() == [10, 10, 3, -errno.EBADF]
    assert out[:20] == bytes(range(5, 15)) + bytes(range(246, 256))
    assert out[30:33] == bytes(range(3))


def test_ranges_must_fit() -> None:
    for sizes in ([5, 6], [-1, 2], [1 << 62, 1 << 62]):
        with pytest.raises(ValueError, match="out has"):
            kernel.read(np.array([[0, 0, size] for size in sizes]), bytearray(10))
    with pytest.raises(ValueError, match="skip must be at least 0"):
        kernel.read(np.array([[0, 0, 5]]), bytearray(10), skip=-1)
    assert KERNEL is not None
    with pytest.raises(ValueError, match="int64 of shape"):
        KERNEL.read(bytearray(31), bytearray(10))


def without_segments(data: bytes, marker: int) -> bytes:
    header = read_jpeg_header(data)
    kept = [data[start:stop] for each, start, stop in header.segments if each != marker]
    return b"".join([data[:2], *kept, data[header.scan :]])


@pytest.mark.parametrize("marker", [0xDB, 0xC4], ids=["quantization", "Huffman"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_tables_does_not_get_those_of_the_one_before(marker: int, progressive: bool) -> None:
    whole = jpeg(40, 30, quality=20, progressive=progressive, optimize=True)
    without = without_segments(whole, marker)
    box = Box(0, 0, 40, 30)
    made = jobs([View(box, (40, 30), box, False)] * 2, [1, 1], False)
    rows = [np.empty((30, 40, 3), np.uint8) for _ in range(2)]
    (alone,) = kernel.decode([without], made[:1], rows[:1])
    assert kernel.decode([whole, without], made, rows).tolist() == [Status.DONE, alone]
    assert alone != Status.DONE or not np.array_equal(rows[0], rows[1]), "tables of the standard are others"


def test_a_look_sees_nothing_of_what_lies_behind_a_file(tmp_path: Path) -> None:
    data = jpeg(40, 30)
    cut = read_jpeg_header(data).scan - 1
    (tmp_path / "data").write_bytes(data)
    found = []
    with (tmp_path / "data").open("rb") as file:
        for tail in (0, len(data) - cut):
            look = kernel.Look(Transform([Resize(9)]), np.zeros(1, np.uint64), 10**6)
            kernel.read(np.array([[file.fileno(), 0, len(data), tail]]), bytearray(len(data)), 0, look)
            found.append(Kind(look.headers[0, 3]))
    assert found == [Kind.DECODABLE, Kind.REFUSED]


def test_a_large_jpeg_may_have_fewer_scans() -> None:
    data = jpeg(40, 30, progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    scans = data.count(b"\xff\xda")
    at = read_jpeg_header(data).segments
    frame = next(start for marker, start, _ in at if marker == 0xC2)
    large = bytearray(data[:-2])
    large[frame + 5 : frame + 9] = (13_000).to_bytes(2, "big") * 2
    limit = (1 << 33) // 13_000**2
    for more, kind in ((limit - scans, Kind.DECODABLE), (limit - scans + 1, Kind.SCAN_BOMB)):
        bomb = bytes(large) + scan * more + b"\xff\xd9"
        assert kernel.headers([bomb])[0, 3] == kind
        if kind == Kind.SCAN_BOMB:
            with pytest.raises(DecodeError, match=f"13000x13000 pixels in more than {limit} scans"):
                read_header(bomb)
        else:
            assert read_header(bomb).size == (13_000, 13_000)


def test_files_are_read_whole_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"0123456789")
    (tmp_path / "empty").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    names = ["image", "empty", "missing", "pipe", ".", "image"]
    paths = [os.fsencode(tmp_path / name) for name in names]
    image, empty, missing, pipe, folder, again = kernel.read_files(paths, 10)
    assert bytes(image) == bytes(again) == b"0123456789"
    assert bytes(empty) == b""
    assert missing == -errno.ENOENT
    assert pipe == folder == kernel.NOT_REGULAR
    assert kernel.read_files(paths[:2], 9)[0] == kernel.LARGER_THAN_LIMIT
    with pytest.raises(ValueError, match="null byte"):
        kernel.read_files([b"a\0b"], 10)
    with pytest.raises(TypeError):
        kernel.read_files(["text"], 10)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="must be bytes"):
        kernel.read_files([bytearray(b"a")], 10)  # type: ignore[list-item]
    assert kernel.read_files([], 10) == []


@pytest.mark.parametrize("room", [0, 1, 9, 10, 11, 25, 100])
def test_files_for_which_there_is_no_room_get_some(tmp_path: Path, room: int) -> None:
    contents = [b"0123456789", b"abcde", b"", b"x" * 3_000_000, b"last"]
    paths = [tmp_path / str(i) for i in range(5)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    names = [os.fsencode(path) for path in paths]
    assert [bytes(file) for file in kernel.read_files(names, 1 << 24, bytearray(room))] == contents
    assert [bytes(file) for file in kernel.read_files(names, 1 << 24)] == contents


def test_files_that_say_they_are_empty_are_read_to_their_end() -> None:
    (said,) = kernel.read_files([b"/proc/self/status"], 1 << 20)
    assert isinstance(said, memoryview)
    assert b"Pid:" in bytes(said)
    (said,) = kernel.read_files([b"/proc/self/status"], 1 << 20, bytearray(1))
    assert isinstance(said, memoryview)
    assert b"Pid:" in bytes(said)
    for room in (0, 5, 10, 11, 12):
        assert kernel.read_files([b"/proc/self/status"], 10, bytearray(room)) == [kernel.LARGER_THAN_LIMIT]
