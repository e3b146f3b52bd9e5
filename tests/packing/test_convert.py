import numpy as np
import pytest

from fastdata.images.cut import is_crop_ready
from fastdata.images.decode import decode
from fastdata.images.header import read_header
from fastdata.packing.convert import CropReady, Encode, Keep, convert
from fastdata.transforms.view import Box, View
from support.pictures import encoded, jpeg, photo

NO_IMAGE = b"no image at all"


def pixels_of(data: bytes) -> np.ndarray:
    """The whole upright picture."""
    header = read_header(data)
    whole = Box(0, 0, header.width, header.height)
    return decode(data, View(whole, header.size, whole, flip=False))


def difference(data: bytes, expected: np.ndarray) -> float:
    """Mean over all pixels."""
    return float(np.abs(pixels_of(data).astype(int) - expected).mean())


def test_kept_images_are_the_very_bytes() -> None:
    assert convert(NO_IMAGE, "jpg", Keep()) == (NO_IMAGE, "jpg", False)


def test_crop_ready_images_have_restart_segments_and_the_same_pixels() -> None:
    data = jpeg(300, 200)
    converted = convert(data, "jpeg", CropReady())
    assert is_crop_ready(converted.data)
    assert (converted.extension, converted.refused) == ("jpeg", False)
    assert (pixels_of(converted.data) == pixels_of(data)).all()


def test_what_is_crop_ready_already_does_not_change() -> None:
    ready = convert(jpeg(300, 200), "jpg", CropReady()).data
    assert convert(ready, "jpg", CropReady()).data is ready


@pytest.mark.parametrize("data", [NO_IMAGE, encoded(photo(40, 30), "PNG"), jpeg(300, 200)[:2000]])
def test_what_cannot_be_made_crop_ready_is_kept_and_marked(data: bytes) -> None:
    assert convert(data, "png", CropReady()) == (data, "png", True)


def test_encoding_shrinks_to_the_longer_side() -> None:
    converted = convert(jpeg(600, 300, quality=98), "jpeg", Encode(max_side=200, quality=95))
    assert (converted.extension, converted.refused) == ("jpg", False)
    assert read_header(converted.data).size == (200, 100)
    assert is_crop_ready(converted.data)
    whole = Box(0, 0, 600, 300)
    shrunk = View(whole, (200, 100), Box(0, 0, 200, 100), flip=False, reducing_gap=None)
    assert difference(converted.data, decode(jpeg(600, 300, quality=98), shrunk)) < 4


def test_encoding_never_enlarges() -> None:
    converted = convert(encoded(photo(120, 70), "PNG"), "png", Encode(max_side=512, quality=95))
    assert converted.extension == "jpg"
    assert read_header(converted.data).size == (120, 70)
    assert difference(converted.data, photo(120, 70)) < 6


def test_encoding_turns_upright() -> None:
    data = encoded(photo(90, 60), "JPEG", orientation=6, quality=95)
    converted = convert(data, "jpg", Encode(quality=95))
    header = read_header(converted.data)
    assert (header.width, header.height, header.orientation) == (60, 90, 1)
    assert difference(converted.data, pixels_of(data)) < 6


def test_a_thin_strip_keeps_a_pixel() -> None:
    converted = convert(encoded(photo(2000, 2), "PNG"), "png", Encode(max_side=100))
    assert read_header(converted.data).size == (100, 1)


def test_what_cannot_be_decoded_is_kept_and_marked() -> None:
    assert convert(NO_IMAGE, "png", Encode()) == (NO_IMAGE, "png", True)


def test_what_is_larger_than_a_jpeg_can_be_is_kept_and_marked() -> None:
    data = encoded(photo(65_501, 1), "PNG")
    assert convert(data, "png", Encode(max_side=70_000)) == (data, "png", True)


def test_encoding_keeps_a_smaller_jpeg_and_makes_it_crop_ready() -> None:
    data = jpeg(300, 200, quality=30)
    converted = convert(data, "jpeg", Encode(quality=95))
    assert converted == convert(data, "jpg", CropReady())
    assert (pixels_of(converted.data) == pixels_of(data)).all()


def test_encoding_keeps_a_smaller_jpeg_without_jpegtran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdata.images.kernel.KERNEL", None)
    monkeypatch.setenv("PATH", "")
    data = jpeg(300, 200, quality=30)
    assert convert(data, "jpeg", Encode(quality=95)) == (data, "jpg", False)
    assert is_crop_ready(convert(data, "jpeg", Encode(quality=20)).data)


def test_a_smaller_jpeg_stays_though_its_sides_are_longer() -> None:
    data = jpeg(300, 200, quality=30)
    converted = convert(data, "jpg", Encode(max_side=250, quality=100))
    assert converted == convert(data, "jpg", CropReady())
    assert read_header(converted.data).size == (300, 200)
    assert len(converted.data) < 1.02 * len(data)
    assert max(read_header(convert(data, "jpg", Encode(max_side=100, quality=30)).data).size) == 100


def test_what_is_not_upright_is_turned_though_it_was_smaller() -> None:
    data = encoded(photo(90, 60), "JPEG", orientation=6, quality=30)
    header = read_header(convert(data, "jpg", Encode(max_side=100, quality=100)).data)
    assert (header.size, header.orientation) == ((60, 90), 1)


@pytest.mark.parametrize("wrong", [{"max_side": 0}, {"quality": 0}, {"quality": 101}])
def test_encoding_out_of_range_is_an_error(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Encode(**wrong)


def test_a_conversion_names_itself_for_the_json() -> None:
    assert [str(how) for how in (Keep(), CropReady(), Encode(256))] == [
        "keep",
        "crop-ready",
        "encode(max_side=256, quality=92)",
    ]
