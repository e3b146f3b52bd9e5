"""Put restart markers into a JPEG without changing a coefficient, and a table of the segments that they make."""

import math
import shutil
import subprocess

from fastdata.errors import JpegError
from fastdata.images import kernel
from fastdata.images.cut import is_crop_ready
from fastdata.images.jpeg import EOI, FRAMES, NEXT_MARKER, SOS, Data, JpegHeader, read_jpeg_header
from fastdata.images.limits import MAX_PIXELS, scan_limit
from fastdata.images.restart import add_table, mcu_size

# Pixels of the least segment, and segments in a row of a large photo. The marker, table entry and fresh DC values of a
# segment take some 7 bytes, so those of large photos are wider.
_LEAST_INTERVAL = 64
_INTERVALS = 8


def make_crop_ready(data: Data, max_pixels: int = MAX_PIXELS) -> bytes:
    """The same picture, coefficient for coefficient, with restart segments, a table of them, and its metadata.

    A progressive file becomes baseline, what follows EOI is left out, and what is crop-ready is returned as it is.
    Raises JpegError that says why for what can't be made crop-ready (CMYK, 12 bit, arithmetic, lossless) and for what
    is damaged. Without the compiled kernel the program jpegtran (libjpeg-turbo's) does it: RuntimeError where that is
    missing or killed.
    """
    data = bytes(data)
    if is_crop_ready(data):
        return data
    header = read_jpeg_header(data)
    if header.frame not in (0xC0, 0xC1, 0xC2) or header.precision != 8 or header.components == 4:
        kind = f"SOF{header.frame & 15}, {header.precision} bit, {header.components} components"
        raise JpegError(f"can't be made crop-ready: {kind}; only 8-bit Huffman-coded grey and colour can")
    if header.width * header.height > max_pixels:
        raise JpegError(f"claims {header.width}x{header.height} pixels, more than the limit of {max_pixels}")
    if header.progressive:
        _refuse_missing_scans(data, header)
    if kernel.KERNEL is not None:
        try:
            made = kernel.make_crop_ready(data, restart_interval(header))
        except ValueError as error:
            raise JpegError(f"libjpeg refuses it: {error}") from error
        return add_table(made)
    command = [_jpegtran(), "-copy", "all", "-optimize", "-restart", f"{restart_interval(header)}B"]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode < 0:
        raise RuntimeError(f"jpegtran was killed by signal {-done.returncode}: that says nothing about the image")
    if done.returncode or done.stderr:
        # Status 2 means warnings: a decoder should see that damage, jpegtran's output would hide it.
        raise JpegError(f"libjpeg refuses it: {done.stderr.decode(errors='replace').strip()}")
    return add_table(done.stdout)


def can_make_crop_ready() -> bool:
    """Whether there is what `make_crop_ready` needs."""
    return kernel.KERNEL is not None or shutil.which("jpegtran") is not None


def restart_interval(header: JpegHeader) -> int:
    """MCUs from one restart marker to the next: a divisor of a row; a whole row where there is none near.

    Near 64 pixels, or an eighth of the row where that is more.
    """
    mcu_width, _ = mcu_size(header)
    row = -(-header.width // mcu_width)
    wanted = max(_LEAST_INTERVAL, header.width / _INTERVALS) / mcu_width
    near = [n for n in range(1, row + 1) if row % n == 0 and wanted / 2 <= n <= wanted * 2]
    return min(near, key=lambda n: abs(math.log(n / wanted)), default=row)


def _refuse_missing_scans(data: bytes, header: JpegHeader) -> None:
    """Raise JpegError where a progressive file stops before its low frequencies are complete.

    Decoders smooth the blocks of such a picture; once it is baseline they can't tell that it is one.
    """
    _, start, stop = next(segment for segment in header.segments if segment[0] in FRAMES)
    missing = {(component, k) for component in data[start + 10 : stop : 3] for k in range(10)}
    marker, start, stop = header.segments[-1]
    scans = 0
    while marker != EOI and stop <= len(data):
        if marker == SOS:
            scans += 1
            first, last, approximation = data[stop - 3 : stop]
            if approximation & 15 == 0:
                missing -= {(c, k) for c in data[start + 5 : stop - 3 : 2] for k in range(first, last + 1)}
        found = NEXT_MARKER.search(data, stop)
        if found is None:
            break
        marker, start = data[found.start() + 1], found.start()
        stop = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    if missing:
        raise JpegError(f"a progressive JPEG without all of its scans: it has {scans}, ending at offset {stop}")
    limit = scan_limit(header.width * header.height)
    if scans > limit:
        raise JpegError(f"a progressive JPEG of {scans} scans, more than the limit of {limit}")


def _jpegtran() -> str:
    path = shutil.which("jpegtran")
    if path is None:
        raise RuntimeError(
            "there is neither the compiled kernel nor jpegtran, which is in libjpeg-turbo: "
            "`apt install libjpeg-turbo-progs` (Debian, "
            "Ubuntu), `conda install -c conda-forge libjpeg-turbo` or `brew install jpeg-turbo`"
        )
    return path
