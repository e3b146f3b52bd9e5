"""Images in a directory, by number."""

import functools
import io
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from torch import Tensor
from torch.utils.data import Dataset

from fastdata.datasets.base import Data, Transforms
from fastdata.datasets.mix import Selectable
from fastdata.errors import SampleError
from fastdata.images import kernel
from fastdata.images.limits import MAX_PIXELS
from fastdata.sample import Sample
from fastdata.sources import folder


class ImageDirectoryDataset(Selectable, Dataset[tuple[Tensor, int]]):
    """Images in a directory, by number: `dataset[i]` is (uint8 tensor of shape (3, H, W), target).

    Without a `pattern`, `root` has a folder of images for each class, as torchvision's ImageFolder (class folders
    sorted, files at any depth below them). A `pattern` ("**/*.jpg", relative to `root`) takes the files that match.

    `labels` is "folder" (the index of the class folder), None (the target is -1) or a function from a file's path,
    relative to `root`, to an int. `seed` belongs to the views. An image of more than `max_pixels` is refused.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        pattern: str | None = None,
        transform: Transforms = None,
        labels: Literal["folder"] | Callable[[str], int] | None = "folder",
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__(transform, seed, max_pixels)
        self.root = Path(root)
        if isinstance(labels, str) and labels != "folder":
            raise ValueError(f"labels must be 'folder', None or a function from path to int, got {labels!r}")
        if labels == "folder":
            self._scan = folder.scan_classes(root, pattern)
        else:
            self._scan = folder.scan_pattern(root, pattern, labels)
        self.classes = self._scan.classes
        self.class_to_idx = self._scan.class_to_idx
        self.targets = self._scan.targets

    @property
    def num_samples(self) -> int:
        return len(self._scan)

    @functools.cached_property
    def fingerprint(self) -> str:
        return folder.fingerprint(self._scan)

    def key(self, number: int) -> str:
        return self._scan.key(number)

    def where(self, number: int) -> str:
        return self._scan.path(number)

    def _read(self, number: int) -> Sample[bytes]:
        with io.FileIO(self._scan.path(number)) as file:  # a third of what open() takes
            return Sample(self._scan.key(number), file.readall(), int(self.targets[number]))

    def _target_of(self, number: int) -> int:
        return int(self.targets[number])

    def read_some(self, numbers: Sequence[int]) -> list[Sample[Data] | SampleError]:
        if kernel.KERNEL is None:
            return super().read_some(numbers)
        files = kernel.read_files([os.fsencode(self._scan.path(number)) for number in numbers], _LARGEST)
        return [self._tried(n, partial(self._sample, n, file)) for n, file in zip(numbers, files, strict=True)]

    def _sample(self, number: int, file: memoryview | int) -> Sample[Data]:
        if not isinstance(file, int):
            return Sample(self._scan.key(number), file, self._target_of(number))
        path = self._scan.path(number)
        if file == kernel.NOT_REGULAR:
            raise OSError(f"{path} is no regular file")
        if file == kernel.LARGER_THAN_LIMIT:
            raise OSError(f"{path} has more than {_LARGEST} bytes")
        raise OSError(-file, os.strerror(-file), path)


_LARGEST = 1 << 30
"""Bytes: a larger file is no image."""
