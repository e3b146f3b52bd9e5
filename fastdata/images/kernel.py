"""The compiled kernel, where it is there: some images' bytes and views to rows, in one call without the lock.

It is an optional extension, whose C lies in `csrc/`; `csrc/python/module.c` says which file has what. Without it (no
compiler, no libjpeg-turbo when the package was installed, or FASTDATA_KERNEL=no) `KERNEL` is None, and everything goes
through the Python that it replaces, which is also the reference: what the kernel refuses is decoded there, and that
verdict counts.

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

from fastdata.compiled import extension
from fastdata.images.jobs import JOB, filter_of, program
from fastdata.sample import Pixels
from fastdata.transforms.transform import Transform

Buffer = bytes | bytearray | memoryview | npt.NDArray[Any]
"""C-contiguous, as all that is given to the kernel."""


class Kind(enum.IntEnum):
    """What `headers` says of a file. Only for the first two are width, height and orientation known."""

    DECODABLE = 0
    NOT_FOR_KERNEL = 1  # a JPEG, but CMYK, 12 bit, arithmetic, lossless or oddly sampled
    SCAN_BOMB = 2  # more than 500 scans
    REFUSED = 3  # a JPEG with odd markers: Pillow's verdict counts
    NOT_JPEG = 4
    UNDRAWN = 5  # `look`'s: decodable, but the transform has no view of it, or not one for the kernel to draw


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


KERNEL: Final = extension("fastdata.images._kernel")
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


class Look:
    """What `read`, `read_files` and `look` find out of n files while their bytes are at hand, without the lock.

    `headers` is then as of the function `headers`, and where `Kind` is DECODABLE `jobs`, JOB of shape (n,), has the
    transform's view by the random numbers `rngs`, uint64 of shape (n,): that which `draw` gives, to the last bit.
    """

    def __init__(self, transform: Transform, rngs: npt.NDArray[np.uint64], max_pixels: int) -> None:
        self.headers = np.empty((len(rngs), 4), np.int32)
        self.jobs = np.empty(len(rngs), JOB)
        which = filter_of(transform.interpolation, transform.antialias)
        gap = transform.reducing_gap or 0.0
        self._arguments = (program(transform), which, gap, max_pixels, rngs, self.headers, self.jobs)

    def at(self, files: Sequence[Buffer]) -> "Look":
        """Look at files that are read already."""
        _kernel().look(files, self._arguments)
        return self

    @property
    def arguments(self) -> tuple[Any, ...]:
        """For the extension module."""
        return self._arguments


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


def is_undamaged(data: Buffer) -> bool:
    """Whether this is a JPEG for the kernel that can be read to its end without a warning.

    So nothing that `decode` might find in it remains to be found; which takes a tenth of the time of decoding, or, of a
    progressive JPEG, half of it.
    """
    return bool(_kernel().is_undamaged(data))


MEMBER: Final = np.dtype(
    [
        ("key_hash", np.uint64),
        ("size", np.int64),  # of its data
        ("cls", np.int64),
        ("cls_at", np.int32),  # in the range; 0 where the class is not to be looked at
        ("cls_size", np.int32),
        ("extension", "S16"),
        ("key_size", np.int32),  # found: of the key, which the range begins with; 0 where Python has to look
        ("has_cls", np.int32),  # found: whether the class is that one
    ]
)
"""A component that a shard's index knows, 56 bytes, as `struct member` in csrc/sources/member.h."""


def read(
    ranges: npt.NDArray[np.int64],
    out: Buffer,
    skip: int = 0,
    look: Look | None = None,
    members: npt.NDArray[np.void] | None = None,
) -> npt.NDArray[np.int64]:
    """Read n ranges, (file descriptor, offset, size), of open files into `out`, one after another.

    Returns for each how many bytes came, fewer than asked for at a file's end only, or minus errno: int64 of shape
    (n,). Where there is a `look`, the n files that it sees are what lies behind the first `skip` bytes of each range;
    a fourth column, where `ranges` have one, says how many bytes at its end belong to something else.
    `members`, MEMBER of shape (n,), say whose headers the ranges should begin with; whether they do is found out.

    ValueError where a size or `skip` is negative, or the sizes don't fit into `out`.
    """
    columns = np.zeros((len(ranges), 4), np.int64)
    columns[:, : ranges.shape[1]] = ranges
    _kernel().read(columns, out, skip, None if look is None else look.arguments, members)
    return columns[:, 3]


CHANGE: Final = np.dtype([("operation", np.int32), ("values", np.float32, 3)])
"""A change of colours, 16 bytes, as `struct change` in csrc/images/colour.h."""


def recolour(pixels: Pixels, changes: npt.NDArray[np.void]) -> None:
    """Carry out CHANGEs on an image in place: uint8, C-contiguous, shape (H, W, 3). `levels` says what they are."""
    _kernel().recolour(pixels, changes)


def read_files(
    paths: Sequence[bytes], limit: int, out: bytearray | memoryview | None = None, look: Look | None = None
) -> list[memoryview | int]:
    """Read n files whole, one after another into one memory: for each a memoryview of its part of it; or an int that
    says why not: minus errno, `KERNEL.NOT_REGULAR` (a folder, a pipe, a device), `KERNEL.LARGER_THAN_LIMIT` (of more
    than `limit` bytes).

    `out` is the memory, for who calls again and uses it again; where there is none, or it is full, new memory is taken.
    ValueError where a path has a zero byte, TypeError where one is not bytes. A `look` sees no view of what took new
    memory.
    """
    kernel = _kernel()
    memory = _memory(min(_ROOM, limit) * len(paths)) if out is None else memoryview(out).cast("B")
    sizes, at = np.empty(len(paths), np.int64), 0
    kernel.read_files(paths, memory, sizes, limit, None if look is None else look.arguments)
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
