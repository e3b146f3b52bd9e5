"""WebP, GIF, TIFF, BMP and PPM; what Pillow knows besides; and what is no image at all."""

import random
import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

from support.corpus.jpegs import HEIGHT, PHOTO, TURNED, WIDTH
from support.corpus.kinds import AS_PILLOW, PIXELS, Case, Kind
from support.corpus.pngs import ANIMATED, ORIENTED
from support.pictures import encoded, saved

WEBP = Kind("WebP, lossy, lossless or with transparency", PIXELS)
GIF = Kind("GIF, interlaced or with transparency too", PIXELS)
TIFF = Kind("TIFF of 1, 8 or 16 bits, plain or compressed, CMYK and YCbCr too", PIXELS)
BMP = Kind("BMP of 1 to 32 bits, PBM, PGM and PPM of up to 16", PIXELS)
NO_RANGE = Kind("TIFF of 32 bits or floats: nothing says what is white", "have no known range: make them 8 or 16 bit")
FLOATS = Kind("PFM", "have no known range: make them 8 or 16 bit")
DAMAGED = Kind("any of these cut off or with damaged bytes", AS_PILLOW)
UNKNOWN = Kind("other images (AVIF, HEIC, JPEG 2000, JPEG XL, ICO, PSD, EPS, SVG, …) and all that is none",
               "neither JPEG, PNG, WEBP, BMP, TIFF, GIF nor PPM")  # fmt: skip

KINDS = [WEBP, GIF, TIFF, BMP, NO_RANGE, FLOATS, DAMAGED, UNKNOWN]

DEEP = (np.arange(WIDTH * HEIGHT, dtype=np.uint16) * 34).reshape(HEIGHT, WIDTH)
DEEP_SHOWN = np.repeat((DEEP >> 8).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


def others() -> Iterator[Case]:
    good = list(_good())
    yield from good
    yield from _damaged([case for case in good if case.kind in (WEBP, GIF, TIFF, BMP)])
    yield from _unknown()


def _good() -> Iterator[Case]:
    image, other = Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)
    alpha = Image.fromarray(np.dstack([PHOTO, PHOTO[:, :, 0]]))
    ways: dict[str, dict[str, object]] = {"lossy": {}, "lossless": {"lossless": True}, "quality 1": {"quality": 1}}
    for name, options in ways.items():
        yield Case(WEBP, name, saved(image, "WEBP", **options))
        yield Case(WEBP, f"{name}, transparent", saved(alpha, "WEBP", **options))
    palette = image.quantize(200)
    yield Case(GIF, "plain", saved(palette, "GIF", interlace=0))
    yield Case(GIF, "interlaced", saved(palette, "GIF", interlace=1))
    yield Case(GIF, "transparent", saved(palette, "GIF", transparency=3))
    yield Case(GIF, "grey", saved(image.convert("L"), "GIF"))
    for format in ("WEBP", "GIF"):
        yield Case(ANIMATED, format, saved(image, format, save_all=True, append_images=[other], duration=100))
    yield Case(ANIMATED, "TIFF", saved(image, "TIFF", save_all=True, append_images=[other]), PHOTO)
    for orientation in range(1, 9):
        turned = Image.fromarray(TURNED) if orientation >= 5 else image
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield Case(ORIENTED, f"WebP, orientation {orientation}", saved(turned, "WEBP", exif=exif))
        yield Case(ORIENTED, f"TIFF, orientation {orientation}", saved(turned, "TIFF", exif=exif))
    yield from _tiffs(image)
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield Case(BMP, f"BMP, {mode}", saved(image.convert(mode), "BMP"))
    for mode in ("1", "L", "RGB"):
        yield Case(BMP, f"PPM, {mode}", saved(image.convert(mode), "PPM"))
    big = b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + DEEP.astype(">u2").tobytes()
    yield Case(BMP, "PGM of 16 bits", big, DEEP_SHOWN)
    yield Case(
        BMP, "PPM in text", b"P3 # a comment\n48 40\n255\n" + b" ".join(b"%d" % value for value in PHOTO.ravel()), PHOTO
    )
    yield Case(FLOATS, "PFM", b"Pf %d %d -1.0\n" % (WIDTH, HEIGHT) + bytes(4 * WIDTH * HEIGHT))


def _tiffs(image: Image.Image) -> Iterator[Case]:
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        for mode in ("L", "RGB", "CMYK"):
            yield Case(TIFF, f"{mode}, {compression}", saved(image.convert(mode), "TIFF", compression=compression))
    yield Case(TIFF, "fax", saved(image.convert("1"), "TIFF", compression="group4"))
    yield Case(TIFF, "palette", saved(image.quantize(100), "TIFF"))
    yield Case(TIFF, "RGBA", saved(image.convert("RGBA"), "TIFF"))
    yield Case(TIFF, "YCbCr", saved(image.convert("YCbCr"), "TIFF"))
    yield Case(TIFF, "Lab", saved(image.convert("LAB"), "TIFF"))
    yield Case(TIFF, "16 bits", saved(Image.fromarray(DEEP), "TIFF"), DEEP_SHOWN)
    yield Case(NO_RANGE, "floats", saved(image.convert("F"), "TIFF"))
    yield Case(NO_RANGE, "32 bits", saved(image.convert("I"), "TIFF"))


def _damaged(good: list[Case]) -> Iterator[Case]:
    rng = random.Random(14)
    for case in good:
        for _ in range(4):
            at = rng.randrange(1, len(case.data))
            yield Case(DAMAGED, f"{case.kind.what[:4]} {case.name}, cut at {at}", case.data[:at])
        for number in range(12):
            at = rng.randrange(len(case.data)) if number % 2 else rng.randrange(min(80, len(case.data)))
            flipped = bytes([case.data[at] ^ 1 << rng.randrange(8)])
            name = f"{case.kind.what[:4]} {case.name}, {number}: {flipped.hex()} at {at}"
            yield Case(DAMAGED, name, case.data[:at] + flipped + case.data[at + 1 :])


def _unknown() -> Iterator[Case]:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"
    brand = b"\0\0\0\x18ftyp%b\0\0\0\0mif1%b"
    for name, data in {
        "one byte": b"\xff",
        "half a magic number": b"\xff\xd8",
        "zeros": bytes(3000),
        "ones": b"\xff" * 3000,
        "text": b"no image at all\n",
        "HTML": b"<!doctype html><title>404</title>" * 30,
        "EPS": eps,
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "PDF": b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n",
        "ICO": saved(Image.fromarray(PHOTO), "ICO"),
        "PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 40, 48, 8, 3) + bytes(2000),
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200),
        "JPEG XL": b"\xff\x0a" + bytes(200),
        "AVIF": brand % (b"avif", b"avif") + bytes(200),
        "HEIC": brand % (b"heic", b"heic") + bytes(200),
        "a link of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    }.items():
        yield Case(UNKNOWN, name, data)
    yield Case(UNKNOWN, "PNG within text", b"data:image/png;base64," + encoded(PHOTO, "PNG"))
