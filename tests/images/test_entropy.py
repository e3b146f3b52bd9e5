"""The walk over a scan: what it takes for undamaged libjpeg reads without a warning, and nothing else."""

import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fastdata.images import kernel
from fastdata.images.kernel import Kind
from support.corpus.images import cases
from support.corpus.jpegs import by_opencv, segment
from support.pictures import encoded, jpeg, photo

pytestmark = pytest.mark.skipif(kernel.KERNEL is None, reason="the kernel is not built")


def is_read_by_libjpeg(data: bytes) -> bool:
    """Whether libjpeg alone reads it to its end without a warning, for which it is asked to write it anew."""
    if int(kernel.headers([data])[0, 3]) != Kind.DECODABLE:
        return False
    try:
        kernel.make_crop_ready(data, 0)
    except ValueError as error:
        return "DCT coefficient out of range" in str(error)  # it was read, and can't be written
    return True


def sequential() -> Iterator[bytes]:
    """Of each sampling, with restart markers and without; in grey; with codes of 16 bits; of blocks that are full."""
    for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1"):
        yield by_opencv(sampling)
        yield by_opencv(sampling, interval=1)
        yield by_opencv(sampling, interval=3)
    yield encoded(photo(61, 47), "JPEG", mode="L")
    noise = np.random.default_rng(0).integers(0, 256, (64, 72, 3), np.uint8)
    for quality in (1, 50, 100):
        yield encoded(noise, "JPEG", quality=quality)
        yield encoded(noise, "JPEG", quality=quality, optimize=True, subsampling=0)
    yield encoded(np.zeros((40, 40, 3), np.uint8), "JPEG")


def damage(data: bytes, rng: random.Random) -> bytes:
    """With bytes changed, left out or put in, or cut: where a scan is, mostly."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(rng.choice((0, len(changed) // 2, max(len(changed) - 8, 0))), len(changed))
        match rng.randrange(5):
            case 0:
                changed[at] = rng.randrange(256)
            case 1:
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                del changed[at : at + rng.randint(1, 3)]
            case 3:
                changed[at:at] = rng.choice((b"\0", b"\xff", b"\xff\xd9", b"\xff\xd0", b"\xff\xd3", b"x"))
            case 4:
                del changed[max(at, 3) :]
        changed = changed or bytearray(b"\xff\xd8\xff")
    return bytes(changed)


def test_good_scans_are_taken_for_good() -> None:
    for data in sequential():
        assert is_read_by_libjpeg(data)
        assert kernel.is_undamaged(data)


def test_the_verdict_on_damage_is_libjpegs() -> None:
    rng, good, bad = random.Random(0), 0, 0
    for data in sequential():
        for _ in range(60):
            damaged = damage(data, rng)
            verdict = is_read_by_libjpeg(damaged)
            assert kernel.is_undamaged(damaged) == verdict, damaged.hex()
            good, bad = good + verdict, bad + (not verdict)
    assert good > 100
    assert bad > 500


def test_the_verdict_on_the_corpus_is_libjpegs() -> None:
    """But for progressive files, of which libjpeg warns less than decoding has to know."""
    for name, case in cases().items():
        if case.data[:3] == b"\xff\xd8\xff" and b"\xff\xc2" not in case.data and len(case.data) < 1 << 20:
            assert kernel.is_undamaged(case.data) == is_read_by_libjpeg(case.data), name


BEHIND: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("a byte before the end", lambda data: data[:-2] + b"x" + data[-2:]),
    ("no end", lambda data: data[:-2]),
    ("half an end", lambda data: data[:-1]),
    ("another marker before the end", lambda data: data[:-2] + segment(0xFE, b"comment") + data[-2:]),
    ("a restart marker before the end", lambda data: data[:-2] + b"\xff\xd0" + data[-2:]),
    ("fill bytes before the end", lambda data: data[:-2] + b"\xff\xff" + data[-2:]),
    ("more behind the end", lambda data: data + b"more"),
    ("the scan twice", lambda data: data[:-2] + data[data.rindex(b"\xff\xda") :]),
]


@pytest.mark.parametrize(("what", "changed"), BEHIND, ids=[what for what, _ in BEHIND])
def test_what_follows_a_scan_is_judged_as_libjpeg_does(what: str, changed: Callable[[bytes], bytes]) -> None:
    data = changed(jpeg(70, 50, 1))
    assert kernel.is_undamaged(data) == is_read_by_libjpeg(data)


def test_an_mcu_too_few_or_too_many_is_noticed() -> None:
    """The height in the frame says another number of MCUs than there are."""
    data = jpeg(64, 64, 0)
    at = data.index(b"\xff\xc0") + 5
    for height in (48, 80):
        lying = data[:at] + height.to_bytes(2, "big") + data[at + 2 :]
        assert not kernel.is_undamaged(lying)
        assert not is_read_by_libjpeg(lying)
