"""What an image may claim of itself before anything is allocated or decoded for it."""

from typing import Final

MAX_PIXELS: Final = 178_956_970
"""Pillow's own limit: a larger image is taken for a decompression bomb."""

MAX_SCANS: Final = 500
"""Of a JPEG. Each scan takes a few bytes and works through the whole picture: libjpeg-turbo advises to limit them."""

MAX_SCANNED_PIXELS: Final = 1 << 33
"""Of a JPEG's scans together: some seconds. Progressive JPEGs have about ten scans; the largest may have 48."""

MAX_COMMENTS: Final = 100
"""Of a plain PPM, in which Pillow takes a time for each that grows with how many there are."""


def scan_limit(pixels: int) -> int:
    """How many scans a JPEG of so many pixels may have: one at least."""
    return max(1, min(MAX_SCANS, MAX_SCANNED_PIXELS // max(1, pixels)))
