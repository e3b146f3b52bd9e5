from collections.abc import Sequence
from typing import Any, Final

import numpy.typing as npt

Buffer = bytes | bytearray | memoryview | npt.NDArray[Any]
Look = tuple[Buffer, int, float, float, Buffer, Buffer, Buffer]

simd: Final[str]
libjpeg: Final[str]
NOT_REGULAR: Final[int]
LARGER_THAN_LIMIT: Final[int]
NO_ROOM: Final[int]

def headers(sources: Sequence[Buffer], out: Buffer, /) -> None: ...
def look(sources: Sequence[Buffer], look: Look, /) -> None: ...
def decode(
    sources: Sequence[Buffer],
    jobs: Buffer,
    rows: Sequence[Buffer],
    status: Buffer,
    nanoseconds: Buffer | None = None,
    /,
) -> None: ...
def make_crop_ready(data: Buffer, interval: int, /) -> bytes: ...
def recolour(pixels: Buffer, changes: Buffer, /) -> None: ...
def is_undamaged(data: Buffer, /) -> bool: ...
def read(
    ranges: Buffer, out: Buffer, skip: int = 0, look: Look | None = None, members: Buffer | None = None, /
) -> None: ...
def read_files(paths: Sequence[bytes], out: Buffer, sizes: Buffer, limit: int, look: Look | None = None, /) -> None: ...
