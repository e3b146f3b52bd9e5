"""A differential fuzz of the kernel: damaged JPEGs, any view; it decodes what the reference does, or refuses.

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

from fastdata.errors import DecodeError, JpegError
from fastdata.images import kernel
from fastdata.images.header import read_header
from fastdata.images.jobs import jobs
from fastdata.images.jpeg import read_jpeg_header
from fastdata.images.reference import decode
from fastdata.images.restart import add_table
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
        match rng.randrange(7):
            case 0 | 1:
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                changed[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, 0xD9, 0xDA, 0xD0 + rng.randrange(8)])
            case 3:
                del changed[at : at + rng.choice([1, 2, 10, 1000])]
            case 4:
                other = rng.randrange(len(changed))
                changed[at:at] = changed[other : other + rng.choice([1, 2, 10, 300])]
            case 5:
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


def check(data: bytes, rng: random.Random) -> bool:
    """One round; whether the kernel decoded it."""
    check_headers(data)
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


def main(seconds: float = 10, seed: int = 0) -> None:
    warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF
    end, number, decoded = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        rng = random.Random(f"{seed}/{number}")
        image = seed_image(
            rng.randrange(3), rng.randrange(6), rng.random() < 0.3, rng.choice([0, 0, 1, 3]), rng.random() < 0.4
        )
        try:
            decoded += check(mutated(image, rng), rng)
        except BaseException:
            print(f"round {number} of seed {seed} failed", file=sys.stderr, flush=True)
            raise
        number += 1
    print(f"{number} rounds under {kernel.kernel_name()}, the kernel decoded {decoded}: no difference")


if __name__ == "__main__":
    main(*(float(sys.argv[1]) if i == 1 else int(sys.argv[2]) for i in range(1, len(sys.argv))))
