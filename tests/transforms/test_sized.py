"""A transform whose images come out in another size."""

from typing import Any

import pytest

import fastdata as fd
from fastdata.transforms.sized import sized

FLIP = fd.RandomHorizontalFlip()
JITTER = fd.ColorJitter(0.4)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (
            [fd.RandomResizedCrop(24, scale=(0.3, 1.0), interpolation="bicubic"), FLIP, JITTER],
            [fd.RandomResizedCrop((16, 24), scale=(0.3, 1.0), interpolation="bicubic"), FLIP, JITTER],
        ),
        ([fd.Resize(40), fd.CenterCrop(32)], [fd.Resize(40), fd.CenterCrop((16, 24))]),
        ([FLIP, fd.Resize((40, 40))], [FLIP, fd.Resize((16, 24))]),
        (
            [fd.Resize(40), fd.Pad(2), fd.RandomCrop(32, padding=4), fd.RandomVerticalFlip()],
            [fd.Resize(40), fd.Pad(2), fd.RandomCrop((16, 24), padding=4), fd.RandomVerticalFlip()],
        ),
        ([fd.RandomResizedCrop(24), fd.CenterCrop(20)], [fd.RandomResizedCrop(24), fd.CenterCrop((16, 24))]),
    ],
)
def test_the_last_step_that_crops_or_resizes_gets_the_size(steps: Any, expected: Any) -> None:
    transform = fd.Transform(steps, antialias=False, reducing_gap=None)
    made = sized(transform, (16, 24))
    assert made == fd.Transform(expected, antialias=False, reducing_gap=None)
    assert made.output_size == (24, 16)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "has no step to be given the size of a bucket"),
        ([FLIP, JITTER], "has no step to be given the size"),
        ([fd.Resize(40)], r"Resize\(size=40.* can't be given the size of a bucket"),
        ([fd.CenterCrop(40), fd.Pad(2)], r"Pad\(padding=.* can't be given the size of a bucket"),
    ],
)
def test_where_an_image_or_padding_decides_it_that_is_an_error(steps: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sized(fd.Transform(steps), (16, 24))


def test_several_views_have_several_sizes() -> None:
    with pytest.raises(ValueError, match="Views gives images of several sizes"):
        sized(fd.Views(two=(2, [fd.RandomResizedCrop(24)])), (16, 24))
