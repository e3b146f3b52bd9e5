"""Pillow's part in decoding."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from support.processes import PATIENCE, PYTHONPATH

DECODE = """
import sys
from fastdata.errors import DecodeError
from fastdata.images.pillow import decode_by_pillow
try:
    decode_by_pillow(sys.stdin.buffer.read(), (300, 300))
except DecodeError as error:
    print(error)
"""


@pytest.mark.parametrize("compression", ["group4", "tiff_lzw"])
def test_a_damaged_tiff_is_an_error_and_floods_no_terminal(compression: str) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (300, 300), np.uint8)).convert("1" if compression == "group4" else "L")
    file = io.BytesIO()
    image.save(file, "TIFF", compression=compression)
    data = bytearray(file.getvalue())
    for at in range(300, 5000, 50):
        data[at] ^= 0x5A
    done = subprocess.run(
        [sys.executable, "-P", "-c", DECODE],
        input=bytes(data),
        capture_output=True,
        timeout=PATIENCE,
        check=True,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )
    assert done.stderr == b""
    assert compression == "group4" or b"can't decode this TIFF image" in done.stdout  # libtiff goes on behind a bad row
