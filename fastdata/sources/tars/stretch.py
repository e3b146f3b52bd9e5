"""A stretch of an archive: members are put at their places in one memory, which then is hashed and written at once."""

from collections.abc import Callable
from mmap import mmap

import numpy as np

from fastdata.sources.tars.headers import plain_headers
from fastdata.sources.tars.tar import BLOCK

_ZEROS = [bytes(size) for size in range(BLOCK)]  # as padding, of which each member has another: cut out, it is slower


class Later:
    """A component of `size` bytes, which `fill` puts into the memory that it is given for them."""

    __slots__ = ("_size", "fill")

    def __init__(self, size: int, fill: Callable[[memoryview], object]) -> None:
        self._size, self.fill = size, fill

    def __len__(self) -> int:
        return self._size


class Stretch:
    """The members from byte `start` of an archive on, as far as `memory` has room for them.

    The memory's first byte is the archive's at `base`: `before` is what lies between there and the start.
    """

    def __init__(self, start: int, memory: mmap, before: bytes = b"") -> None:
        self.start, self.base, self.memory = start, start - len(before), memory
        self._view = memoryview(memory)
        self._view[: len(before)] = before
        self._names: list[bytes] = []
        self._sizes: list[int] = []
        self._offsets: list[int] = []
        self._long: list[tuple[int, bytes]] = []

    def has_room(self, end: int) -> bool:
        """Whether what ends at this byte of the archive still fits."""
        return end - self.base <= len(self.memory)

    def put(self, name: bytes, header: bytes, offset: int, data: bytes | Later) -> None:
        """Puts a member's data at this byte of the archive, with padding behind; raises what `fill` does.

        Its header is a plain one where none is given, which is made by `complete`.
        """
        size, begin = len(data), offset - self.base
        end, padding = begin + size, -size % BLOCK
        if isinstance(data, Later):
            data.fill(self._view[begin:end])
            self._view[end : end + padding] = _ZEROS[padding]
        else:
            self._view[begin : end + padding] = data + _ZEROS[padding]
        self._names.append(name)
        self._sizes.append(size)
        self._offsets.append(offset)
        if header:
            self._long.append((offset, header))

    def put_end(self, offset: int, data: bytes) -> None:
        """Puts what ends the archive at this byte of it."""
        self._view[offset - self.base : offset - self.base + len(data)] = data

    def forget(self, start: int) -> None:
        """Forgets the members that begin at this byte of the archive or behind it."""
        kept = sum(offset < start for offset in self._offsets)
        del self._names[kept:], self._sizes[kept:], self._offsets[kept:]
        self._long = [(offset, header) for offset, header in self._long if offset < start]

    def read(self, offset: int, size: int) -> bytes:
        """Data that was put there."""
        return bytes(self._view[offset - self.base : offset - self.base + size])

    def complete(self, end: int) -> memoryview:
        """What lies in the archive from `start` to `end`, where the last member that was added ends."""
        if self._names:
            blocks = np.frombuffer(self.memory, np.uint8, len(self.memory) // BLOCK * BLOCK).reshape(-1, BLOCK)
            places = (np.array(self._offsets, np.int64) - self.base) // BLOCK - 1
            blocks[places] = plain_headers(self._names, np.array(self._sizes, np.int64))
            for offset, header in self._long:
                self._view[offset - self.base - len(header) : offset - self.base] = header
        return self._view[self.start - self.base : end - self.base]
