"""Good JPEGs: everything that the standard and cameras have. Upright they are all 48 x 40 pixels."""

import io
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from fastdata.images.cut import is_crop_ready
from fastdata.packing.crop_ready import make_crop_ready
from support.corpus.kinds import PIXELS, Case, Kind
from support.pictures import Pixels, encoded, photo

WIDTH, HEIGHT = 48, 40
PHOTO = photo(WIDTH, HEIGHT)
TURNED = photo(HEIGHT, WIDTH)

SUBSAMPLED = Kind("JPEG, grey, 4:4:4, 4:2:2, 4:2:0, 4:4:0 or 4:1:1, baseline or progressive", PIXELS, "yes", "yes")
RESTARTED = Kind("JPEG with restart markers, crop-ready too", PIXELS, "yes", "yes")
ORIENTED = Kind("JPEG with an EXIF orientation: turned upright", PIXELS, "yes", "yes")
NOT_ORIENTED = Kind("JPEG whose EXIF says 0, 9 or nonsense: as it is stored", PIXELS, "yes", "yes")
DOUBTFUL = Kind("JPEG whose EXIF has its orientation twice, late or as no SHORT: its first SHORT, else as it is stored",
                PIXELS, "yes", "yes")  # fmt: skip
ADORNED = Kind("JPEG with profiles, comments, thumbnails, fill bytes, a second picture (MPO), more bytes behind it",
               PIXELS, "yes", "yes")  # fmt: skip
SCANS = Kind("JPEG of a scan for each component", PIXELS, "yes")
RGB = Kind("JPEG of RGB, by Adobe's marker or its components' names", PIXELS, "yes")
ODDLY_SAMPLED = Kind("JPEG of any other subsampling", PIXELS)
FOUR = Kind("JPEG of CMYK or YCCK", PIXELS)
ARITHMETIC = Kind("JPEG with arithmetic coding", PIXELS)

KINDS = [SUBSAMPLED, RESTARTED, ORIENTED, NOT_ORIENTED, DOUBTFUL, ADORNED, SCANS, RGB, ODDLY_SAMPLED, FOUR, ARITHMETIC]

_SAMPLINGS = {"4:4:4": 0x111111, "4:2:2": 0x211111, "4:2:0": 0x221111, "4:4:0": 0x121111, "4:1:1": 0x411111}
_EACH_COMPONENT = b"0;\n1;\n2;\n"


def by_opencv(sampling: str, progressive: bool = False, interval: int = 0, size: int = 1) -> bytes:
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _SAMPLINGS[sampling], cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    options += [cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    pixels = cv2.cvtColor(photo(WIDTH * size, HEIGHT * size), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", pixels, options)[1].tobytes()


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def after_soi(data: bytes, *more: bytes) -> bytes:
    return data[:2] + b"".join(more) + data[2:]


def by_pillow(data: bytes) -> Pixels:
    """As it is stored."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def good_jpegs() -> Iterator[Case]:
    for sampling in _SAMPLINGS:
        for progressive in (False, True):
            coding = "progressive" if progressive else "baseline"
            yield Case(SUBSAMPLED, f"{sampling} {coding}", by_opencv(sampling, progressive))
            yield Case(RESTARTED, f"{sampling} {coding}, restarts", by_opencv(sampling, progressive, interval=1))
        yield Case(RESTARTED, f"{sampling} crop-ready", _crop_ready(by_opencv(sampling, size=9)))
        yield Case(SUBSAMPLED, f"{sampling} large", by_opencv(sampling, size=9))
    for progressive in (False, True):
        yield Case(SUBSAMPLED, f"grey {progressive}", encoded(PHOTO, mode="L", progressive=progressive))
    for quality in (1, 100):
        yield Case(SUBSAMPLED, f"quality {quality}", encoded(PHOTO, quality=quality))
    yield Case(SUBSAMPLED, "optimized", encoded(PHOTO, optimize=True))
    yield from _oriented()
    yield from _adorned()
    yield Case(RGB, "Adobe's RGB", encoded(PHOTO, keep_rgb=True))
    cmyk = encoded(PHOTO, mode="CMYK")
    yield Case(FOUR, "CMYK", cmyk)
    adobe = cmyk.index(b"Adobe")
    yield Case(FOUR, "YCCK", cmyk[: adobe + 11] + b"\x02" + cmyk[adobe + 12 :])
    if shutil.which("cjpeg") or os.environ.get("FASTDATA_REQUIRE_TOOLS"):
        yield from _by_cjpeg()


def _crop_ready(data: bytes) -> bytes:
    made = make_crop_ready(data)
    assert is_crop_ready(made)
    return made


def _oriented() -> Iterator[Case]:
    for orientation in range(1, 9):
        stored = TURNED if orientation >= 5 else PHOTO
        yield Case(ORIENTED, f"orientation {orientation}", encoded(stored, orientation=orientation))
        progressive = encoded(stored, orientation=orientation, progressive=True)
        yield Case(ORIENTED, f"orientation {orientation}, progressive", progressive)
    plain = encoded(PHOTO)
    as_stored = by_pillow(plain)
    for nonsense in (0, 9, 65535):
        yield Case(NOT_ORIENTED, f"orientation {nonsense}", encoded(PHOTO, orientation=nonsense), as_stored)
    tiff = b"Exif\0\0II*\0\x08\0\0\0\x01\0"
    for name, entry in {
        "a LONG": b"\x12\x01\x04\0\x01\0\0\0\x06\0\0\0",
        "two values": b"\x12\x01\x03\0\x02\0\0\0\x06\0\x06\0",
        "a BYTE": b"\x12\x01\x01\0\x01\0\0\0\x06\0\0\0",
    }.items():
        yield Case(DOUBTFUL, f"an orientation that is {name}", after_soi(plain, segment(0xE1, tiff + entry)), as_stored)
    turned = _exif(6)
    frame = plain.index(b"\xff\xc0")
    for name, data, pixels in (
        ("EXIF behind the frame", plain[:frame] + turned + plain[frame:], np.rot90(as_stored, 3)),
        ("two EXIFs", after_soi(plain, turned, _exif(3)), np.rot90(as_stored, 3)),
        ("an EXIF of nonsense, and another", after_soi(plain, segment(0xE1, b"Exif\0\0"), turned), as_stored),
        ("two orientations", after_soi(plain, _exif(6, 3)), np.rot90(as_stored, 3)),
    ):
        yield Case(DOUBTFUL, name, data, np.ascontiguousarray(pixels))
    for name, exif in {
        "no TIFF": b"Exif\0\0junk",
        "nothing": b"Exif\0\0",
        "a directory far away": b"Exif\0\0II*\0\xff\xff\xff\xff",
        "more entries than there are bytes": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
    }.items():
        yield Case(NOT_ORIENTED, f"EXIF: {name}", after_soi(plain, segment(0xE1, exif)), as_stored)


def _exif(*orientations: int) -> bytes:
    """An APP1 segment of one directory that has these."""
    entries = b"".join(b"\x12\x01\x03\0\x01\0\0\0" + struct.pack("<HH", orientation, 0) for orientation in orientations)
    return segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(orientations)) + entries + bytes(4))


def _adorned() -> Iterator[Case]:
    plain = encoded(PHOTO)
    for name, segments in {
        "XMP": [segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>")],
        "a comment": [segment(0xFE, b"\x1b[2J \xff\xd9")],
        "APP segments to the brim": [segment(0xE0 + i, b"\xff\xd9" * 32766) for i in (3, 5, 13)],
        "a thumbnail in EXIF": [segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + plain)],
        "fill bytes": [b"\xff\xff\xff" + segment(0xFE, b"x")],
        "empty segments": [segment(0xFE, b""), segment(0xEF, b"")],
    }.items():
        yield Case(ADORNED, name, after_soi(plain, *segments))
    yield Case(ADORNED, "a profile", encoded(PHOTO, icc_profile=bytes(range(256)) * 300))
    for name, trailer in (("text", b"what a camera has to add"), ("zeros", bytes(5000)), ("another", plain)):
        yield Case(ADORNED, f"behind it {name}", plain + trailer)
    file = io.BytesIO()
    others = [Image.fromarray(TURNED)]
    Image.fromarray(PHOTO).save(file, "MPO", save_all=True, append_images=others)
    yield Case(ADORNED, "MPO", file.getvalue())


def _by_cjpeg() -> Iterator[Case]:
    for sampling in ("4x2", "2x2,1x2,2x1", "3x1", "3x2", "1x4", "4x1,2x1,1x1", "1x1,2x2,1x1", "1x2,1x2,1x2"):
        for coding in ("-baseline", "-progressive"):
            yield Case(ODDLY_SAMPLED, f"{sampling} {coding[1:]}", by_cjpeg("-sample", sampling, coding))
    for options in ([], ["-progressive"], ["-grayscale"], ["-restart", "1B"], ["-sample", "1x1"]):
        name = " ".join(["arithmetic", *options])
        yield Case(ARITHMETIC, name, by_cjpeg("-arithmetic", *options))
    yield Case(RGB, "components named R, G and B", by_cjpeg("-rgb"))
    for sampling in ("1x1", "2x1", "2x2"):
        yield Case(SCANS, f"scans of {sampling}", by_cjpeg("-sample", sampling, "-scans", "/dev/fd/3"))


def by_cjpeg(*options: str) -> bytes:
    """libjpeg-turbo's own program writes what no library here does."""
    ppm = np.ascontiguousarray(PHOTO)
    source = b"P6 %d %d 255\n" % (WIDTH, HEIGHT) + ppm.tobytes()
    reader, writer = os.pipe()
    try:
        os.write(writer, _EACH_COMPONENT)
        os.close(writer)
        options = tuple(f"/dev/fd/{reader}" if option == "/dev/fd/3" else option for option in options)
        command = ["cjpeg", *options]
        return subprocess.run(command, input=source, stdout=subprocess.PIPE, check=True, pass_fds=[reader]).stdout
    finally:
        os.close(reader)
