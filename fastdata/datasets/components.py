"""Components of shards, some of them read in one call of the kernel, with the classes of their samples."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastdata.datasets.prepared import split
from fastdata.errors import SampleError
from fastdata.images import kernel
from fastdata.sources.index import NO_CLASS
from fastdata.sources.shard import Component
from fastdata.sources.tar import BLOCK

Found = Component | SampleError
"""Where a sample's image lies, or what is wrong with it."""

_NO_RANGE = (-1, 0, 0, 0)


class Received(NamedTuple):
    """What came of a component: memory for its header, its bytes and maybe its sample's class; and how many bytes, or
    minus errno."""

    found: Found
    part: memoryview
    size: int

    @property
    def data(self) -> memoryview:
        """The component's bytes."""
        return self.part[BLOCK : BLOCK + (0 if isinstance(self.found, SampleError) else self.found.size)]

    def checked(self, with_class: bool) -> tuple[str, int | None]:
        """Key, and the class where it is known and asked for.

        TarError where the shard has changed, OSError where it couldn't be read.
        """
        found = self.found
        if isinstance(found, SampleError):
            raise found
        shard = found.shard
        if self.size < 0:
            raise OSError(-self.size, os.strerror(-self.size), shard.path)
        key = shard.checked_key(found, bytes(self.part[:BLOCK]), self.size - BLOCK)
        if not with_class or found.cls == NO_CLASS:
            return key, None
        if not found.tail:
            return key, shard.cls(found.row)
        end = BLOCK + found.size + found.tail
        return key, shard.checked_class(found, bytes(self.part[end - found.cls_size : min(end, self.size)]))


def read_components(found: Sequence[Found], with_classes: bool, look: kernel.Look | None) -> list[Received]:
    """Read what was found, all into one memory, and nothing of those with an error. MemoryError.

    The index knows the classes, but a shard of other labels may have the size and time that the index is of: so what
    holds them is read, too, in the same piece where it lies beside the image.
    """
    ranges = np.array([_range(each, with_classes) for each in found], np.int64).reshape(-1, 4)
    memory = np.empty(int(ranges[:, 2].sum()), np.uint8).data
    received = kernel.read(ranges, memory, BLOCK, look).tolist()
    return list(map(Received, found, split(memory, ranges[:, 2].tolist()), received))


def _range(found: Found, with_class: bool) -> tuple[int, int, int, int]:
    """File descriptor, offset and size; and how many of these bytes lie behind the component."""
    if isinstance(found, SampleError):
        return _NO_RANGE
    tail = found.tail if with_class else 0
    return found.opened.fd, found.offset - BLOCK, BLOCK + found.size + tail, tail
