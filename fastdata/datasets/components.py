"""Components of shards, some of them read in one call of the kernel, with the classes of their samples."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastdata.datasets.prepared import Looks, split
from fastdata.errors import SampleError
from fastdata.images import kernel
from fastdata.sources.shard import Component
from fastdata.sources.tars.index import NO_CLASS
from fastdata.sources.tars.tar import BLOCK

Found = Component | SampleError
"""Where a sample's image lies, or what is wrong with it."""

_NO_RANGE = (-1, 0, 0, 0)
_NO_MEMBER = (0, -1, 0, 0, 0, b"", 0, 0)


class Received(NamedTuple):
    """What came of a component: memory for its header, its bytes and maybe its sample's class; and how many bytes, or
    minus errno.

    Where the kernel has seen that its header is still the one of the index, the key is its first `key_size` bytes, else
    that is 0; and `has_cls` where it has seen the same of its class.
    """

    found: Found
    part: memoryview
    size: int
    key_size: int
    has_cls: int

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
        if self.key_size:
            key = str(self.part[: self.key_size], "utf-8", "surrogateescape")
        else:
            key = shard.checked_key(found, bytes(self.part[:BLOCK]), self.size - BLOCK)
        if not with_class or found.cls == NO_CLASS:
            return key, None
        if self.has_cls:
            return key, found.cls
        if not found.tail:
            return key, shard.cls(found.row)
        end = BLOCK + found.size + found.tail
        return key, shard.checked_class(found, bytes(self.part[end - found.cls_size : min(end, self.size)]))


def read_components(found: Sequence[Found], with_classes: bool, looks: Looks | None) -> list[Received]:
    """Read what was found, all into one memory, and nothing of those with an error; `looks` are finished. MemoryError.

    The index knows the classes, but a shard of other labels may have the size and time that the index is of: so what
    holds them is read, too, in the same piece where it lies beside the image.
    """
    ranges = np.array([_range(each, with_classes) for each in found], np.int64).reshape(-1, 4)
    members = np.array([_member(each) for each in found], kernel.MEMBER)
    memory = np.empty(int(ranges[:, 2].sum()), np.uint8).data
    sizes = kernel.read(ranges, memory, BLOCK, None if looks is None else looks.first, members).tolist()
    parts = split(memory, ranges[:, 2].tolist())
    received = list(map(Received, found, parts, sizes, members["key_size"].tolist(), members["has_cls"].tolist()))
    if looks is not None:
        checked = [isinstance(each, Component) and each.opened.checked for each in found]
        looks.finish([each.data for each in received], checked if any(checked) else None)
    return received


def _range(found: Found, with_class: bool) -> tuple[int, int, int, int]:
    """File descriptor, offset and size; and how many of these bytes lie behind the component."""
    if isinstance(found, SampleError):
        return _NO_RANGE
    tail = found.tail if with_class else 0
    return found.opened.fd, found.offset - BLOCK, BLOCK + found.size + tail, tail


def _member(found: Found) -> tuple[Any, ...]:
    """What the range should begin with, as MEMBER."""
    if isinstance(found, SampleError):
        return _NO_MEMBER
    cls_at = BLOCK + found.size + found.tail - found.cls_size if found.tail else 0
    extension = found.extension.encode()
    return found.hashed, found.size, found.cls, cls_at, found.cls_size, extension, 0, 0
