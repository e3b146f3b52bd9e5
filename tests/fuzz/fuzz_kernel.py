"""A differential fuzz of the kernel: damaged JPEGs, any view, several files at once; it decodes what the reference
does, or refuses. It draws the views that Python draws, and its colours are torch's.

    python tests/fuzz/fuzz_kernel.py [seconds] [seed]

Each round is printed by its number when it fails, and is the same again under the same seed. For sanitizers:

    CFLAGS="-g -fsanitize=address,undefined -fno-sanitize-recover=undefined" LDFLAGS="-fsanitize=address,undefined" \\
        FASTDATA_BUILD=yes python setup.py build_ext --inplace --force
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \\
        python tests/fuzz/fuzz_kernel.py 300
"""

import contextlib
import functools
import random
import sys
import time
import warnings

import cv2
import numpy as np
import torch

from fastdata.errors import DecodeError, JpegError
from fastdata.images import kernel
from fastdata.images.colour import recolour
from fastdata.images.header import read_header
from fastdata.images.jobs import jobs
from fastdata.images.jpeg import read_jpeg_header
from fastdata.images.reference import decode
from fastdata.images.restart import add_table
from fastdata.transforms.colour import ColorJitter, RandomGrayscale, RandomInvert, RandomPosterize, RandomSolarize
from fastdata.transforms.draw import draw
from fastdata.transforms.steps import CenterCrop, RandomHorizontalFlip, RandomResizedCrop, RandomVerticalFlip, Resize
from fastdata.transforms.transform import Transform
from fastdata.transforms.view import Box, Interpolation, View

SUBSAMPLINGS = [0x111111, 0x211111, 0x121111, 0x221111, 0x411111, None]  # as OpenCV names them; None: grey


@functools.cache
def seed_image(size: int, subsampling: int, progressive: bool, interval: int, crop_ready: bool) -> bytes:
    width, height = [(64, 48), (97, 65), (250, 170)][size]
    pixels = np.random.default_rng(size).integers(0, 255, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive), cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    factor = SUBSAMPLINGS[subsampling]
    if factor is None:
        pixels = pixels[:, :, 0]
    else:
        flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    data: bytes = cv2.imencode(".jpg", pixels, flags)[1].tobytes()
    if not crop_ready:
        return data
    data = kernel.make_crop_ready(data, 1)
    try:
        return add_table(data)
    except JpegError:
        return data


def mutated(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 5])):
        at = min(len(changed) - 1, int(rng.random() ** rng.choice([1, 4]) * len(changed)))  # heads more often
        match rng.randrange(8):
            case 0 | 1:
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                changed[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, 0xD9, 0xDA, 0xD0 + rng.randrange(8)])
            case 3:
                del changed[at : at + rng.choice([1, 2, 10, 1000])]
            case 4:
                other = rng.randrange(len(changed))
                changed[at:at] = changed[other : other + rng.choice([1, 2, 10, 300])]
            case 5:  # a table becomes a comment
                changed = changed.replace(rng.choice([b"\xff\xdb", b"\xff\xc4"]), b"\xff\xfe", 1)
            case 6:
                changed[at:at] = b"\xff" + bytes([rng.choice([0xD9, 0xDA, 0xC0, 0xC4, 0xDD, 0xE1, 0xE9, 0xD3])])
            case _:
                del changed[at:]
        if not changed:
            changed = bytearray(b"\xff")
    return bytes(changed)


DAMAGED = {kernel.Status.WARNING, kernel.Status.FAILED, kernel.Status.INCOMPLETE}


def any_view(width: int, height: int, rng: random.Random) -> View:
    left, top = rng.randrange(width), rng.randrange(height)
    box = Box(left, top, rng.randint(left + 1, width), rng.randint(top + 1, height))
    size = rng.choice([(box.width, box.height), (rng.randint(1, 80), rng.randint(1, 80)), (16, 16)])
    window = Box(0, 0, *size)
    if rng.random() < 0.3:
        x, y = rng.randint(-5, size[0] - 1), rng.randint(-5, size[1] - 1)
        window = Box(x, y, rng.randint(x + 1, size[0] + 5), rng.randint(y + 1, size[1] + 5))
    flip, antialias, flip_vertical = (rng.random() < share for share in (0.5, 0.7, 0.3))
    interpolation: Interpolation = "bicubic" if antialias and rng.random() < 0.3 else "bilinear"
    return View(box, size, window, flip, antialias, rng.choice([None, 1.0, 2.0]), flip_vertical, interpolation)


def check_headers(data: bytes) -> None:
    width, height, orientation, kind = kernel.headers([data])[0].tolist()
    try:
        header = read_jpeg_header(data)
    except JpegError:
        assert kind in (kernel.Kind.REFUSED, kernel.Kind.NOT_JPEG), "headers: Python refuses it"
        return
    assert kind in (kernel.Kind.DECODABLE, kernel.Kind.NOT_FOR_KERNEL, kernel.Kind.SCAN_BOMB), "headers: refused"
    assert (width, height, orientation) == (header.width, header.height, header.orientation), "headers differ"


PROGRAMS = [
    Transform([RandomResizedCrop(16), RandomHorizontalFlip(), RandomVerticalFlip()]),
    Transform([Resize(20), CenterCrop(16)], reducing_gap=None),
    Transform([Resize((9, 31), "bicubic")]),
    Transform([RandomResizedCrop((7, 40), scale=(0.01, 0.1))], antialias=False),
]


def check_look(data: bytes, rng: random.Random) -> None:
    """What the kernel draws is what Python draws, or it leaves that to Python."""
    transform, seed, max_pixels = rng.choice(PROGRAMS), rng.getrandbits(64), rng.choice([2000, 4_000_000])
    look = kernel.Look(transform, np.array([seed], np.uint64), max_pixels).at([data])
    width, height, orientation, kind = look.headers[0].tolist()
    if kind != kernel.Kind.DECODABLE:
        return
    assert width * height <= max_pixels, "look: too large"
    view = draw(transform, (height, width) if orientation >= 5 else (width, height), seed)
    assert look.jobs.tobytes() == jobs([view], [orientation]).tobytes(), f"look: another view than {view}"


def check_neighbours(data: bytes, others: list[bytes], rng: random.Random) -> None:
    """What becomes of a file does not depend on those that are decoded in the same call."""
    files = [*others, data]
    rng.shuffle(files)
    views = [any_view(64, 48, rng) for _ in files]
    rows = [np.zeros((view.window.height, view.window.width, 3), np.uint8) for view in views]
    statuses = kernel.decode(files, jobs(views, [1] * len(files)), rows).tolist()
    for file, view, row, status in zip(files, views, rows, statuses, strict=True):
        alone = np.zeros_like(row)
        (expected,) = kernel.decode([file], jobs([view], [1]), [alone]).tolist()
        assert (status, status != kernel.Status.DONE or np.array_equal(row, alone)) == (expected, True), "neighbours"


COLOURS = Transform(
    [
        RandomResizedCrop(8),
        ColorJitter(0.9, 0.9, 0.9, 0.5),
        RandomGrayscale(0.2),
        RandomSolarize(99, 0.3),
        RandomPosterize(3, 0.3),
        RandomInvert(0.2),
    ]
)


def check_colours(rng: random.Random) -> None:
    """Colours by the kernel are those by torch."""
    noise = np.random.default_rng(rng.getrandbits(32))
    shape = (3, rng.randint(1, 40), rng.randint(1, 40), 3)
    images = torch.from_numpy(noise.integers(0, 256, shape, np.uint8)).permute(0, 3, 1, 2)
    seeds = noise.integers(0, 2**63, 3, np.uint64)
    by_kernel = recolour(images, COLOURS, seeds)
    compiled, kernel.KERNEL = kernel.KERNEL, None  # type: ignore[misc]
    try:
        assert torch.equal(by_kernel, recolour(images, COLOURS, seeds)), "colours differ"
    finally:
        kernel.KERNEL = compiled  # type: ignore[misc]


def check(data: bytes, rng: random.Random) -> bool:
    """One round; whether the kernel decoded it."""
    check_headers(data)
    check_look(data, rng)
    with contextlib.suppress(ValueError):
        kernel.make_crop_ready(data, rng.choice([0, 1, 7]))
    checked = rng.random() < 0.2
    try:
        header = read_header(data, 4_000_000)
    except DecodeError:
        header = None
    views = [any_view(*(header.size if header else (64, 48)), rng) for _ in range(rng.choice([1, 1, 2, 5]))]
    rows = [np.empty((view.window.height, view.window.width, 3), np.uint8) for view in views]
    made = jobs(views, [header.orientation if header else 1] * len(views), checked)
    statuses = kernel.decode([data] * len(views), made, rows).tolist()
    done = kernel.Status.DONE in statuses
    if kernel.is_undamaged(data):
        assert not DAMAGED & set(statuses), f"what was checked is found damaged: {statuses}"
    elif done and not checked:  # a cut does not look at tables that only other segments use
        assert header is None or header.jpeg is None or header.jpeg.restart_interval, "damage was not noticed"
    if not done or checked or header is None:
        # A larger image than the reference's limit here is no difference.
        return done
    for view, row, status in zip(views, rows, statuses, strict=True):
        if status == kernel.Status.DONE:
            worst = int(np.abs(row.astype(int) - decode(data, view, header=header)).max())
            bound = 2 if view.interpolation == "bilinear" else 4  # whose weights add up to more than 1
            assert worst <= bound, f"{worst} levels apart for {view}"
    return True


def main(seconds: float, seed: int) -> None:
    warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF
    end, number, decoded = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        rng = random.Random(f"{seed}/{number}")
        image = seed_image(
            rng.randrange(3), rng.randrange(6), rng.random() < 0.3, rng.choice([0, 0, 1, 3]), rng.random() < 0.4
        )
        try:
            damaged = mutated(image, rng)
            decoded += check(damaged, rng)
            if number % 4 == 0:
                check_neighbours(damaged, [image, mutated(image, rng)], rng)
                check_colours(rng)
        except BaseException:
            print(f"round {number} of seed {seed} failed", file=sys.stderr, flush=True)
            raise
        number += 1
    print(f"{number} rounds under {kernel.kernel_name()}, the kernel decoded {decoded}: no difference")


if __name__ == "__main__":
    given = dict(zip(("seconds", "seed"), sys.argv[1:], strict=False))
    main(float(given.get("seconds", 10)), int(given.get("seed", 0)))
