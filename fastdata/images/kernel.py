"""The compiled kernel, where it is there: some images' bytes and views to rows, in one call without the lock.

`kernel.c` beside this file is an optional extension. Without it (no compiler, no libjpeg-turbo when the package was
installed, or FASTDATA_KERNEL=no) `KERNEL` is None, and everything goes through the Python that it replaces, which is
also the reference: what the kernel refuses is decoded there, and that verdict counts.

Every function here takes some samples at once, lets go of the interpreter's lock once, and holds the buffers that it
was given meanwhile; nobody else may write to them. FASTDATA_SIMD=portable or sse4 asks for less than the best.
"""

import enum
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastdata.transforms.steps import View

Buffer = bytes | bytearray | memoryview | npt.NDArray[Any]
"""C-contiguous, as all that is given to the kernel."""

JOB: Final = np.dtype(
    [
        ("box", np.int32, 4),  # left, top, right, bottom, of the upright image
        ("size", np.int32, 2),  # width, height
        ("window", np.int32, 4),  # left, top, right, bottom, of the resized box
        ("flip", np.int32),
        ("orientation", np.int32),  # EXIF's, 1 to 8
        ("antialias", np.int32),
        ("checked", np.int32),  # 1: known to be undamaged; decoding stops at the box's last row
        ("reducing_gap", np.float64),  # 0: never decode at a fraction of the size
    ]
)
"""One sample's view, 64 bytes, as kernel.c's `struct job`."""


class Kind(enum.IntEnum):
    """What `headers` says of a file. Only for the first two are width, height and orientation known."""

    DECODABLE = 0
    NOT_FOR_KERNEL = 1  # a JPEG, but CMYK, 12 bit, arithmetic, lossless or oddly sampled
    SCAN_BOMB = 2  # more than 500 scans
    REFUSED = 3  # a JPEG with odd markers: Pillow's verdict counts
    NOT_JPEG = 4


class Status(enum.IntEnum):
    """What became of a sample in `decode`: all but DONE go through the reference."""

    DONE = 0
    BAD_HEADER = 1
    OTHER_KIND = 2
    MANY_SCANS = 3
    BAD_VIEW = 4  # outside of the image, out of bounds, nothing of it in the window, of 8 pixels and less at 1/2
    TOO_LARGE = 5
    NO_MEMORY = 6
    WARNING = 7  # libjpeg's first: damage
    FAILED = 8  # libjpeg's error
    INCOMPLETE = 9  # a progressive JPEG without all of its scans, which libjpeg would smooth


def _import() -> ModuleType | None:
    if os.environ.get("FASTDATA_KERNEL", "").lower() in ("no", "0", "off"):
        return None
    try:
        from fastdata.images import _kernel
    except ImportError:
        return None
    return _kernel


KERNEL: Final = _import()
"""The extension module, or None."""


NOT_REGULAR: Final = -100001 if KERNEL is None else KERNEL.NOT_REGULAR
LARGER_THAN_LIMIT: Final = -100002 if KERNEL is None else KERNEL.LARGER_THAN_LIMIT
"""What `read_files` says of a file that it does not read."""


def kernel_name() -> str:
    """In one word: the SIMD that the kernel uses ("avx2", "sse4", "portable"), or "none"."""
    return "none" if KERNEL is None else str(KERNEL.simd)


kernel: Final = kernel_name()
"""`fastdata.kernel`: in one word, as `kernel_name`."""


def _kernel() -> ModuleType:
    if KERNEL is None:
        raise RuntimeError("fastdata was installed without its compiled kernel, or FASTDATA_KERNEL=no is set")
    return KERNEL


def jobs(views: Sequence[View], orientations: Sequence[int], checked: bool = False) -> npt.NDArray[np.void]:
    """The views of some images, whose EXIF orientations are given, as `decode` takes them: JOB, shape (n,)."""
    records = [
        (
            view.box,
            view.size,
            view.window,
            view.flip,
            orientation,
            view.antialias,
            checked,
            view.reducing_gap or 0.0,
        )
        for view, orientation in zip(views, orientations, strict=True)
    ]
    return np.array(records, JOB)


def headers(sources: Sequence[Buffer], out: npt.NDArray[np.int32] | None = None) -> npt.NDArray[np.int32]:
    """What n files say of themselves: int32, shape (n, 4): width and height as stored, orientation, `Kind`.

    The rules are those of `jpeg.read_jpeg_header`; the image's size is not limited here. `out`, where it is given,
    is C-contiguous; ValueError where its size is another.
    """
    if out is None:
        out = np.empty((len(sources), 4), np.int32)
    _kernel().headers(sources, out)
    return out


def decode(
    sources: Sequence[Buffer],
    jobs: npt.NDArray[np.void],
    rows: Sequence[Buffer],
    nanoseconds: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int32]:
    """Decode the views of n JPEGs into their rows; returns a `Status` for each, int32 of shape (n,).

    `jobs` is JOB of shape (n,), C-contiguous; `rows` are n writable C-contiguous uint8 buffers of shape (window height,
    window width, 3). What a refused sample's row holds is undefined. To `nanoseconds`, int64 of shape (2,), the
    time of decoding and of resizing is added.

    ValueError where a row's size is not its window's, or n differs; MemoryError where libjpeg can't even start.
    """
    status = np.empty(len(sources), np.int32)
    _kernel().decode(sources, jobs, rows, status, nanoseconds)
    return status


def make_crop_ready(data: Buffer, interval: int) -> bytes:
    """The same JPEG, coefficient for coefficient, sequential, with a restart marker every `interval` MCUs, optimized
    Huffman tables and all APPn and COM segments: what `jpegtran -copy all -optimize -restart {interval}B` makes.

    It has no table of its segments yet (`restart.add_table`). ValueError, with libjpeg's message, for what is
    damaged in any way, is no JPEG, or none that can be made so; MemoryError.
    """
    made: bytes = _kernel().make_crop_ready(data, interval)
    return made


def read(fds: npt.ArrayLike, offsets: npt.ArrayLike, sizes: npt.ArrayLike, out: Buffer) -> npt.NDArray[np.int64]:
    """Read n ranges of open files into `out`, one after another: range i begins there at `sum(sizes[:i])`.

    Returns for each how many bytes came, fewer than asked for at a file's end only, or minus errno: int64 of shape
    (n,). ValueError where a size is negative, the sizes don't fit into `out`, or there are not n of each.
    """
    ranges = np.stack([np.asarray(column, np.int64) for column in (fds, offsets, sizes, np.zeros_like(sizes))], axis=1)
    _kernel().read(ranges, out)
    return ranges[:, 3]


def read_files(paths: Sequence[bytes], limit: int, out: bytearray | memoryview | None = None) -> list[memoryview | int]:
    """Read n files whole, one after another into one memory: for each a memoryview of its part of it; or an int that
    says why not: minus errno, `KERNEL.NOT_REGULAR` (a folder, a pipe, a device), `KERNEL.LARGER_THAN_LIMIT` (of more
    than `limit` bytes).

    `out` is the memory, for who calls again and uses it again; where there is none, or it is full, new memory is taken.
    ValueError where a path has a zero byte, TypeError where one is not bytes.
    """
    kernel = _kernel()
    memory = _memory(min(_ROOM, limit) * len(paths)) if out is None else memoryview(out).cast("B")
    sizes, at = np.empty(len(paths), np.int64), 0
    kernel.read_files(paths, memory, sizes, limit)
    files: list[memoryview | int] = []
    for path, size in zip(paths, sizes.tolist(), strict=True):
        if size == kernel.NO_ROOM:
            files += read_files([path], limit, _memory(min(limit, max(_size_of(path), 2 * len(memory)))))
        elif size < 0:
            files.append(size)
        else:
            files.append(memory[at : at + size])
            at += size
    return files


_ROOM: Final = 1 << 20
"""Bytes for each file where their sizes are unknown."""


def _memory(size: int) -> memoryview:
    """Of which only what is written to is taken. One byte more, since a file's end has to be seen."""
    return np.empty(size + 1, np.uint8).data


def _size_of(path: bytes) -> int:
    """What a file says that it has; 0 where it can't be asked, and the kernel will say why."""
    try:
        return Path(os.fsdecode(path)).stat().st_size
    except OSError:
        return 0
