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

Range = tuple[int, int, int]
"""File descriptor, offset and size."""

_NO_RANGE = (-1, 0, 0)


class Received(NamedTuple):
    """What came of a component: its header and its bytes, and what holds the class; instead of either minus errno."""

    found: Found
    part: memoryview
    size: int
    label: bytes | int | None

    def checked(self) -> tuple[str, memoryview, int | None]:
        """Key, bytes, and the class where it was read.

        TarError where the shard has changed, OSError where it couldn't be read.
        """
        if isinstance(self.found, SampleError):
            raise self.found
        shard, failed = self.found.shard, min(self.size, self.label if isinstance(self.label, int) else 0)
        if failed < 0:
            raise OSError(-failed, os.strerror(-failed), shard.path)
        key = shard.checked_key(self.found, bytes(self.part[:BLOCK]), self.size - BLOCK)
        label = shard.checked_class(self.found, self.label) if isinstance(self.label, bytes) else None
        return key, self.part[BLOCK:], label


def read_components(found: Sequence[Found], with_classes: bool, look: kernel.Look | None) -> list[Received]:
    """Read what was found, all into one memory, and nothing of those with an error. MemoryError.

    The index knows the classes, but a shard of other labels may have the size and time that the index is of: so what
    holds them is read, too, which lies beside the image as a rule.
    """
    parts = _read([_NO_RANGE if isinstance(each, SampleError) else each.range_with_header for each in found], look)
    labels: list[bytes | int | None] = [None] * len(found)
    if with_classes:
        ranges = [_range_of_class(each) for each in found]
        read = zip(_read(ranges), ranges, strict=True)
        labels = [
            None if wanted == _NO_RANGE else got if got < 0 else bytes(part[:got]) for (part, got), wanted in read
        ]
    return [Received(each, *part, label) for each, part, label in zip(found, parts, labels, strict=True)]


def _range_of_class(found: Found) -> Range:
    return _NO_RANGE if isinstance(found, SampleError) or found.cls == NO_CLASS else found.range_of_class


def _read(ranges: Sequence[Range], look: kernel.Look | None = None) -> list[tuple[memoryview, int]]:
    """Each range's memory, and how many bytes came or minus errno; a `look` is at what lies behind the header."""
    table = np.array(ranges, np.int64)
    memory = np.empty(int(table[:, 2].sum()), np.uint8).data
    received = kernel.read(table, memory, BLOCK if look is not None else 0, look).tolist()
    return list(zip(split(memory, table[:, 2].tolist()), received, strict=True))
