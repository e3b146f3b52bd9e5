"""What an image may claim of itself before anything is allocated or decoded for it."""

from typing import Final

MAX_PIXELS: Final = 178_956_970
"""Pillow's own limit: a larger image is taken for a decompression bomb."""

MAX_SCANS: Final = 500
"""Of a JPEG. Each scan takes a few bytes and works through the whole picture: libjpeg-turbo advises to limit them."""
