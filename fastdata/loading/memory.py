"""Memory for batches, used again when nothing holds it any more."""

import math
import mmap
import weakref
from contextlib import suppress
from queue import Empty, SimpleQueue

import numpy as np
import torch

from fastdata.sample import Pixels


class Memory:
    """Arrays for batches, all of one shape. One is used again only when nothing holds it any more.

    `pinned` memory is what a GPU copies from; it is dear to allocate, which is why arrays are used again at all. Up to
    `keep` are kept for that. Methods are to be called by one thread at a time.
    """

    def __init__(self, shape: tuple[int, ...], pinned: bool, keep: int) -> None:
        self.shape = shape
        self._pinned = pinned
        self._keep = keep
        self._free: list[Pixels] = []
        self._lent: dict[int, tuple[weakref.ref[Pixels], Pixels]] = {}
        # What is dropped puts itself in here by C code alone: Python's would be a place for Ctrl-C to be raised in,
        # where it is ignored, and for a garbage collection in the middle of `lend` to wait for a lock.
        self._dropped: SimpleQueue[weakref.ref[Pixels]] = SimpleQueue()

    def lend(self) -> Pixels:
        """A uint8 array of `shape`, for as long as that very object lives; views of it don't count, tensors do."""
        self._take_back()
        owner = self._free.pop() if self._free else self._allocate()
        lent = owner.view()
        reference = weakref.ref(lent, self._dropped.put)
        self._lent[id(reference)] = reference, owner
        return lent

    def _allocate(self) -> Pixels:
        if self._pinned:
            return torch.empty(self.shape, dtype=torch.uint8, device="cpu", pin_memory=True).numpy()
        # Not by malloc: of what it gets back in the midst of its heap, little returns to the system.
        mapped = mmap.mmap(-1, math.prod(self.shape), access=mmap.ACCESS_COPY)
        return np.frombuffer(mapped, np.uint8).reshape(self.shape)

    def let_go(self) -> None:
        """Leave what is still lent to who holds it. Until the next `lend` nobody would take it back, and free it."""
        self._take_back()
        self._lent.clear()

    def _take_back(self) -> None:
        with suppress(Empty):
            while True:
                reference = self._dropped.get_nowait()
                if id(reference) in self._lent:
                    self._free.append(self._lent.pop(id(reference))[1])
        del self._free[self._keep :]
