"""Masks of any kind that one channel of integers can be, and what is none."""

import numpy as np
import pytest
from PIL import Image

from fastdata.errors import TargetError
from fastdata.images.header import read_header
from fastdata.images.mask import decode_mask
from support.pictures import encoded, jpeg, photo, saved

PIXELS = (np.arange(6 * 4).reshape(4, 6) % 21).astype(np.uint8)
HEADER = read_header(jpeg(6, 4))


def palette(image: Image.Image) -> Image.Image:
    """As VOC has it: indices, and colours that stand for nothing."""
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes(), "RGB")
    return image


def test_indices_are_what_the_file_has_whatever_its_mode() -> None:
    deep, large = PIXELS.astype(np.uint16) * 3000, PIXELS.astype(np.int32) * 100_000
    for data, expected, dtype in (
        (saved(Image.fromarray(PIXELS)), PIXELS, np.uint8),
        (saved(palette(Image.fromarray(PIXELS, "P"))), PIXELS, np.uint8),
        (saved(palette(Image.fromarray(PIXELS % 4, "P")), bits=2), PIXELS % 4, np.uint8),
        (saved(palette(Image.fromarray(PIXELS, "P")), transparency=0), PIXELS, np.uint8),
        (saved(Image.fromarray(PIXELS > 9)), PIXELS > 9, np.uint8),
        (saved(Image.fromarray(deep)), deep, np.int32),
        (saved(Image.fromarray(large), "TIFF"), large, np.int32),
    ):
        mask = decode_mask(data, HEADER, upright=False)
        assert mask.dtype == dtype
        assert np.array_equal(mask, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_with_its_image_or_upright_already(orientation: int) -> None:
    header = read_header(encoded(photo(6, 4), orientation=orientation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = saved(Image.fromarray(PIXELS), exif=exif)
    turned = decode_mask(stored, header, upright=False)
    assert turned.shape == header.size[::-1]
    assert np.array_equal(decode_mask(saved(Image.fromarray(turned)), header, upright=True), turned)
    if orientation >= 5:
        with pytest.raises(TargetError, match=r"is 6x4, its image 4x6, and 6x4 before .*: say upright=False"):
            decode_mask(stored, header, upright=True)
        with pytest.raises(TargetError, match=r"is 4x6, its image 6x4, and 4x6 as it is seen.*: say upright=True"):
            decode_mask(saved(Image.fromarray(turned)), header, upright=False)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"no image", "is no mask: neither"),
        (encoded(photo(6, 4), "PNG"), "pixels are RGB"),
        (encoded(photo(6, 4), "PNG", mode="RGBA"), "pixels are RGBA"),
        (saved(Image.fromarray(PIXELS[:3])), "is 6x3, its image 6x4: a mask has its image's size"),
        (saved(Image.fromarray(PIXELS))[:60], "is no mask"),
    ],
)
def test_what_is_no_mask_of_the_image_is_an_error_that_says_why(data: bytes, problem: str) -> None:
    with pytest.raises(TargetError, match=problem):
        decode_mask(data, HEADER, upright=False)
