"""Images of the largest size that is decoded, in few bytes."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from support.corpus.broken_jpegs import frame, replaced
from support.corpus.jpegs import PHOTO
from support.corpus.pngs import SIGNATURE, chunk
from support.pictures import encoded, jpeg, saved

SIDE = 13_000
SIDE_OF_WEBP = 9_400


def _png(colours: int, depth: int, channels: int, *chunks: bytes) -> bytes:
    packer, line = zlib.compressobj(9), bytes(1 + SIDE * channels * depth // 8)
    packed = b"".join([*(packer.compress(line) for _ in range(SIDE)), packer.flush()])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, depth, colours, 0, 0, 0))
    return SIGNATURE + head + b"".join(chunks) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def _jpeg(progressive: bool, scans: int = 1) -> bytes:
    """The pixels of a small one, and nothing behind them; with as many scans as are taken."""
    small = encoded(PHOTO, progressive=progressive)
    last = small.rindex(b"\xff\xda")
    many = small[:last] + small[last:-2] * scans + small[-2:]
    return replaced(many, frame(many) + 5, struct.pack(">HH", SIDE, SIDE))


def write_large(root: Path, kind: str) -> None:
    """A small JPEG, and behind it such an image."""
    (root / "0.jpg").write_bytes(jpeg(40, 30))
    match kind:
        case "jpeg":
            data = _jpeg(progressive=False)
        case "progressive":
            data = _jpeg(progressive=True)
        case "scans":
            data = _jpeg(progressive=True, scans=38)
        case "png":
            data = _png(2, 8, 3)
        case "palette":
            data = _png(3, 8, 1, chunk(b"PLTE", bytes(768)), chunk(b"tRNS", bytes(256)))
        case "16-bit":
            data = _png(0, 16, 1)
        case "webp":
            data = saved(Image.new("RGB", (SIDE_OF_WEBP, SIDE_OF_WEBP)), "WEBP", lossless=True, quality=0, method=0)
        case "tiff":
            data = saved(Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)), "TIFF", compression="tiff_adobe_deflate")
        case _:
            data = saved(Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)), "GIF", transparency=0)
    (root / f"1.{kind}").write_bytes(data)
