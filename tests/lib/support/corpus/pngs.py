"""PNGs in every mode and depth, written here from their specification (W3C PNG, third edition); and broken ones."""

import io
import random
import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from support.corpus.jpegs import HEIGHT, PHOTO, TURNED, WIDTH
from support.corpus.kinds import AS_PILLOW, PIXELS, REFUSED, Case, Kind
from support.pictures import Pixels, encoded

PLAIN = Kind("PNG of grey, colours or a palette, of 1 to 8 bits, interlaced or not", PIXELS)
DEEP = Kind("PNG of 16 bits: the high byte of each value", PIXELS)
TRANSPARENT = Kind("PNG with transparency: its colours, which are not blended", PIXELS)
ORIENTED = Kind("PNG, WebP or TIFF with an EXIF orientation: turned upright", PIXELS)
ANIMATED = Kind("animated PNG, WebP or GIF, TIFF of several pages: the first picture", PIXELS)
CUT = Kind("PNG that is cut off", REFUSED)
BROKEN = Kind("PNG with damaged bytes, wrong checksums, a header that lies", AS_PILLOW)
BOMB = Kind("PNG whose text or profile unpacks to more than 64 MB", REFUSED)

KINDS = [PLAIN, DEEP, TRANSPARENT, ORIENTED, ANIMATED, CUT, BROKEN, BOMB]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the type of its colours
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_NAMES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

Values = npt.NDArray[np.uint16]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(values: Values, colours: int, depth: int, interlaced: bool = False, *chunks: bytes) -> bytes:
    """`values` are uint16 of shape (height, width, channels)."""
    height, width, _ = values.shape
    parts = [values[y::dy, x::dx] for x, y, dx, dy in _ADAM7] if interlaced else [values]
    lines = b"".join(b"\0" + _packed(row, depth) for part in parts if part.size for row in part)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, int(interlaced)))
    return SIGNATURE + head + b"".join(chunks) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def _packed(row: Values, depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    bits = np.unpackbits(row.reshape(-1, 1).astype(np.uint8), axis=1)[:, 8 - depth :]
    return np.packbits(bits.ravel()).tobytes()


def pngs() -> Iterator[Case]:
    rng = np.random.default_rng(14)
    for colours, depths in _DEPTHS.items():
        for depth in depths:
            values = rng.integers(0, 1 << depth, (HEIGHT, WIDTH, _CHANNELS[colours]), np.uint16)
            yield from _in_mode(values, colours, depth, rng)
    yield Case(PLAIN, "a photo", encoded(PHOTO, "PNG"), PHOTO)
    for orientation in range(1, 9):
        stored = TURNED if orientation >= 5 else PHOTO
        yield Case(ORIENTED, f"PNG, orientation {orientation}", encoded(stored, "PNG", orientation))
    file = io.BytesIO()
    frames = [Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    yield Case(ANIMATED, "PNG", file.getvalue(), PHOTO)
    yield from _broken()


def _in_mode(values: Values, colours: int, depth: int, rng: np.random.Generator) -> Iterator[Case]:
    name = f"{_NAMES[colours]}, {depth} bits"
    palette = rng.integers(0, 256, (1 << depth, 3), np.uint8) if colours == 3 else None
    chunks = [] if palette is None else [chunk(b"PLTE", palette.tobytes())]
    shown = _shown(values, colours, depth, palette)
    kind = TRANSPARENT if colours >= 4 else DEEP if depth == 16 else PLAIN
    for interlaced in (False, True):
        made = png(values, colours, depth, interlaced, *chunks)
        yield Case(kind, f"{name}{', interlaced' if interlaced else ''}", made, shown)
    if colours < 4:
        see_through = chunk(b"tRNS", bytes(range(1 << depth)) if colours == 3 else bytes(2 * _CHANNELS[colours]))
        yield Case(
            TRANSPARENT,
            f"{name}, one of them not seen",
            png(values, colours, depth, False, *chunks, see_through),
            shown,
        )


def _shown(values: Values, colours: int, depth: int, palette: Pixels | None) -> Pixels:
    if palette is not None:
        return palette[values[:, :, 0]]
    eight = values >> 8 if depth == 16 else values * (255 // ((1 << depth) - 1))
    return np.ascontiguousarray(
        np.broadcast_to(eight[:, :, : 1 if colours in (0, 4) else 3], (HEIGHT, WIDTH, 3)), np.uint8
    )


def _broken() -> Iterator[Case]:
    rng = random.Random(14)
    plain = encoded(PHOTO, "PNG")
    interlaced = png(PHOTO.astype(np.uint16), 2, 8, True)
    for name, data in (("plain", plain), ("interlaced", interlaced)):
        for at in range(1, len(data) - 60, len(data) // 30):
            yield Case(CUT, f"{name}, cut at {at}", data[:at])
        for number in range(100):
            at = rng.randrange(len(data)) if number % 2 else rng.randrange(60)
            flipped = bytes([data[at] ^ 1 << rng.randrange(8)])
            yield Case(BROKEN, f"{name}, {number}: {flipped.hex()} at {at}", data[:at] + flipped + data[at + 1 :])
    yield from _lying(PHOTO.astype(np.uint16))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0))
    zeros = zlib.compress(bytes(65 << 20), 9)
    for kind, before in ((b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0")):
        rest = plain[len(SIGNATURE) + len(head) :]
        yield Case(BOMB, kind.decode(), SIGNATURE + head + chunk(kind, before + zeros) + rest)


def _lying(values: Values) -> Iterator[Case]:
    good = png(values, 2, 8)
    body = good[33:]
    sizes: Sequence[tuple[int, int]] = (
        (WIDTH, HEIGHT + 1),
        (WIDTH + 1, HEIGHT),
        (1, 1),
        (0, 1),
        (WIDTH, 4000),
        (2**31, 1),
    )
    for width, height in sizes:
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        yield Case(BROKEN, f"{width}x{height}", SIGNATURE + head + body)
    for name, fields in {
        "depth 3": (3, 2, 0, 0, 0),
        "colours 5": (8, 5, 0, 0, 0),
        "compression 1": (8, 2, 1, 0, 0),
        "filter 1": (8, 2, 0, 1, 0),
        "interlacing 2": (8, 2, 0, 0, 2),
        "a palette that is not there": (8, 3, 0, 0, 0),
    }.items():
        yield Case(BROKEN, name, SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, *fields)) + body)
    yield Case(BROKEN, "no header", SIGNATURE + body)
    yield Case(BROKEN, "two headers", good[:33] + good[8:])
    yield Case(BROKEN, "no pixels", good[:33] + chunk(b"IEND", b""))
    yield Case(BROKEN, "no end", good[:-12])
    yield Case(BROKEN, "a chunk of 4 GB", good[:33] + b"\xff\xff\xff\xffIDAT" + good[41:])
    yield Case(BROKEN, "pixels that are not compressed", good[:33] + chunk(b"IDAT", bytes(9000)) + chunk(b"IEND", b""))
    yield Case(BROKEN, "an unknown critical chunk", good[:33] + chunk(b"ABCD", b"?") + body)
