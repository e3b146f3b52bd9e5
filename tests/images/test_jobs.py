"""What the kernel draws is what Python draws, to the last bit, and what the kernel is told is what a view says."""

import random
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastdata.errors import DrawError
from fastdata.images import kernel
from fastdata.images.jobs import jobs, view_of
from fastdata.transforms.draw import draw, sample_rngs
from fastdata.transforms.steps import (
    CenterCrop,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    TransformStep,
)
from fastdata.transforms.transform import Transform

needs_kernel = pytest.mark.skipif(kernel.KERNEL is None, reason="the kernel is not built")

sides = st.one_of(st.integers(1, 40), st.integers(1, 65535))
words = st.integers(0, 2**64 - 1)

FIRST: list[TransformStep] = [
    RandomHorizontalFlip(0.4),
    RandomVerticalFlip(),
    CenterCrop((30, 50)),
    RandomCrop(20, padding=(3, 4), pad_if_needed=True),
    RandomCrop(20),
    Pad((1, 2, 3, 4)),
]
RESIZING: list[TransformStep] = [
    RandomResizedCrop(24),
    RandomResizedCrop((24, 13), scale=(0.9, 3.0), ratio=(0.2, 0.4)),
    Resize(40),
    Resize(40, max_size=55),
    Resize((30, 20), interpolation="bicubic"),
]
LAST: list[TransformStep] = [
    RandomVerticalFlip(0.7),
    RandomHorizontalFlip(),
    CenterCrop(60),
    CenterCrop((17, 9)),
    RandomCrop(13, padding=2),
    Pad(3),
]


@st.composite
def transforms(draw_from: st.DrawFn) -> Transform:
    rng = random.Random(draw_from(st.integers(0, 10**6)))
    steps = [*rng.sample(FIRST, rng.randint(0, 2)), *rng.sample(RESIZING, rng.randint(0, 1))]
    steps += rng.sample(LAST, rng.randint(0, 3))
    return Transform(steps, antialias=rng.random() < 0.5, reducing_gap=rng.choice([None, 1.0, 2.5]))


def header_only(width: int, height: int, orientation: int) -> bytes:
    """A baseline JPEG of one component, of which there is no picture."""
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + struct.pack("<I", orientation) + bytes(4)
    exif = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
    frame = b"\xff\xc0" + struct.pack(">HBHHB3B", 11, 8, height, width, 1, 1, 0x11, 0)
    return b"\xff\xd8" + exif + frame + b"\xff\xda" + struct.pack(">HB2B3B", 8, 1, 1, 0, 0, 63, 0) + b"\xff\xd9"


@needs_kernel
@settings(max_examples=1000)
@given(transforms(), st.lists(st.tuples(sides, sides, words, st.sampled_from([1, 3, 6])), min_size=1, max_size=8))
@example(Transform([RandomResizedCrop(24)]), [(40, 31, seed, 1) for seed in range(2000)])
@example(Transform([RandomCrop(7), RandomHorizontalFlip()]), [(9, 8, seed, 6) for seed in range(500)])
def test_the_kernel_draws_what_python_draws(transform: Transform, images: list[tuple[int, int, int, int]]) -> None:
    rngs = np.array([rng for _, _, rng, _ in images], np.uint64)
    look = kernel.Look(transform, rngs, 2**62).at([header_only(w, h, turned) for w, h, _, turned in images])
    for (width, height, rng, orientation), header, job in zip(images, look.headers.tolist(), look.jobs, strict=True):
        upright = (height, width) if orientation >= 5 else (width, height)
        assert header[:3] == [width, height, orientation]
        try:
            expected = draw(transform, upright, rng)
        except DrawError:
            assert header[3] == kernel.Kind.UNDRAWN
            continue
        assert header[3] == kernel.Kind.DECODABLE
        assert view_of(job.tobytes()) == expected
        assert job.tobytes() == jobs([expected], [orientation]).tobytes()


@given(transforms(), sides, sides, words)
def test_a_job_says_all_of_a_view(transform: Transform, width: int, height: int, rng: int) -> None:
    try:
        view = draw(transform, (width, height), rng)
    except DrawError:
        return
    again = view_of(jobs([view], [1]).tobytes())
    assert again == view


@needs_kernel
def test_what_is_too_large_or_no_jpeg_is_not_drawn() -> None:
    images = [header_only(100, 100, 1), b"GIF89a", b"", header_only(100, 101, 1)]
    look = kernel.Look(Transform([Resize(8)]), sample_rngs(0, 0, np.arange(4, dtype=np.uint64)), 10_000).at(images)
    kinds = [kernel.Kind.DECODABLE, kernel.Kind.NOT_JPEG, kernel.Kind.NOT_JPEG, kernel.Kind.UNDRAWN]
    assert look.headers[:, 3].tolist() == kinds


@needs_kernel
def test_a_look_at_another_number_of_files_is_an_error() -> None:
    look = kernel.Look(Transform([Resize(8)]), sample_rngs(0, 0, np.arange(2, dtype=np.uint64)), 10_000)
    with pytest.raises(ValueError, match="must be of 1 files"):
        look.at([b""])
