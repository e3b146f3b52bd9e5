"""Where the views of a batch's samples lie in its memory."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from fastdata.sample import Pixels, Size
from fastdata.transforms.sized import sized
from fastdata.transforms.transform import Transform
from fastdata.transforms.views import Views

Memory = TypeVar("Memory", Pixels, Tensor)


def layouts(transform: Transform | Views, batch_size: int, sizes: Sequence[Size]) -> "dict[Size | None, Layout]":
    """That of an epoch's batches: of the transform's own size (None), or of each of the `sizes` that its order has."""
    if not sizes:
        return {None: Layout(transform, batch_size)}
    return {size: Layout(sized(transform, size), batch_size) for size in sizes}


class Layout:
    """Of batches of up to `batch_size` samples: one array of images, or with `Views` one for each group of them."""

    def __init__(self, transform: Transform | Views, batch_size: int) -> None:
        self.batch_size = batch_size
        self._names: tuple[str, ...] | None = None
        if isinstance(transform, Views):
            self._names = tuple(group.name for group in transform.groups)
            sizes = [(group.count, *_size(group.transform)) for group in transform.groups]
        else:
            sizes = [(1, *_size(transform))]
        self._shapes = [(batch_size, count, height, width, 3) for count, width, height in sizes]

    @property
    def size(self) -> int:
        """Bytes of a batch."""
        return sum(math.prod(shape) for shape in self._shapes)

    def blocks(self, memory: Memory) -> list[Memory]:
        """The memory of a batch, as an array or tensor (batch_size, count, H, W, 3) for each group."""
        blocks, first = [], 0
        for shape in self._shapes:
            blocks.append(memory[first : first + math.prod(shape)].reshape(shape))
            first += math.prod(shape)
        return blocks

    def rows(self, blocks: list[Pixels]) -> list[tuple[Pixels, ...]]:
        """The views of the sample in each row, each (H, W, 3)."""
        return list(zip(*(block[:, number] for block in blocks for number in range(block.shape[1])), strict=True))

    def images(self, memory: Pixels, rows: int) -> Any:
        """The first `rows` of a batch: a tensor (rows, 3, H, W), or a dict of such of shape (rows, count, 3, H, W).

        They hold the whole of `memory`, which keeps it from being lent again.
        """
        blocks = [block[:rows].permute(0, 1, 4, 2, 3) for block in self.blocks(torch.from_numpy(memory))]
        return blocks[0][:, 0] if self._names is None else dict(zip(self._names, blocks, strict=True))


def _size(transform: Transform) -> tuple[int, int]:
    return transform.output_size or (0, 0)  # of no fixed size: a `map` makes something else of it


def image_by_image(function: Callable[[Tensor], Any], images: Any) -> Any:
    """What a function of images (N, C, H, W) makes of a batch's, group by group where there are several."""
    if not isinstance(images, dict):
        return function(images)
    made = {}
    for name, group in images.items():
        result = function(group.flatten(0, 1))
        made[name] = result.unflatten(0, group.shape[:2])
    return made
