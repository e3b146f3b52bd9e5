"""Images in a directory, by number."""

import functools
import io
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from fastdata.datasets.base import Transforms
from fastdata.datasets.fields import Declared, Target, Wanted, check_followed, declared
from fastdata.datasets.joining import join_tables
from fastdata.datasets.mapping import Map
from fastdata.datasets.prepared import Data, LookFor, Seen
from fastdata.datasets.selection import Selectable
from fastdata.errors import TargetError
from fastdata.images import kernel
from fastdata.images.limits import MAX_PIXELS
from fastdata.sample import Sample, key_hash
from fastdata.sources import folder
from fastdata.sources.beside import check_components, read_component
from fastdata.sources.regular import MAX_BYTES, read_regular, refuse_larger
from fastdata.sources.targets import read_field
from fastdata.transforms.fields import Field, Label


class ImageDirectoryDataset(Selectable, Dataset[tuple[Tensor, Any]]):
    """Images in a directory, by number: `dataset[i]` is (uint8 tensor of shape (3, H, W), target).

    Without a `pattern`, `root` has a folder of images for each class, as torchvision's ImageFolder (class folders
    sorted, files at any depth below them). A `pattern` ("**/*.jpg", relative to `root`) takes the files that match.

    `labels` is "folder" (the index of the class folder), None (the target is -1) or a function from a file's path,
    relative to `root`, to an int. `fields`, one or several by name as `TarImageDataset` takes them as its `target`, are
    the target instead: "cls" is what `labels` make of the image, other components are files beside it ("txt" has the
    image's path with another extension) or at a path below `root` ("masks/{key}.png"). `seed` belongs to the views. An
    image of more than `max_pixels` is refused, and a file of more than `max_bytes`, before it is read.

    `map` is any function of the image, the tensor of shape (3, H, W) that the transform gives, or of (image, target)
    where it takes two, and gives another tensor or (tensor, target): torchvision's v2 transforms say. Python's, numpy's
    and torch's random numbers are in it a function of (seed, epoch, key).
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        pattern: str | None = None,
        transform: Transforms = None,
        labels: Literal["folder"] | Callable[[str], int] | None = "folder",
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
        fields: Target = None,
        map: Map | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__(transform, seed, max_pixels, map, max_bytes)
        self.root = Path(root)
        if pattern is not None and not isinstance(pattern, str):
            raise TypeError(f"pattern must be a string such as '**/*.jpg', got {pattern!r}; is it transform=… instead?")
        if isinstance(labels, str) and labels != "folder":
            raise ValueError(f"labels must be 'folder', None or a function from path to int, got {labels!r}")
        if labels == "folder":
            self._scan = folder.scan_classes(root, pattern)
        else:
            self._scan = folder.scan_pattern(root, pattern, labels)
        self.left_out: Mapping[str, int] = {}
        target = declared(fields)
        self._fields = None if target is None else self._join(target, labels is not None)
        self.classes = (target and target.classes) or self._scan.classes
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}

    def class_indexes(self) -> npt.NDArray[np.int64]:
        """The class of every sample, whatever the target is: int64, -1 where there is none."""
        return self._scan.targets

    @functools.cached_property
    def targets(self) -> npt.NDArray[np.int64] | list[Any]:
        """The target of every sample, as torchvision's: int64 where it is the label.

        Any other is read from each sample, or its table, when first asked for.
        """
        if self._fields is None:
            return self._scan.targets
        return [self._target_of(number) for number in range(self.num_samples)]

    def _join(self, target: Declared, labelled: bool) -> Wanted:
        """The fields with their tables joined; where these leave out samples, the scan is of the others."""
        check_components(target.components, labelled)
        check_followed(target, self.transform)
        scan = self._scan
        hashes = partial(np.fromiter, (key_hash(key) for key in scan.keys), np.uint64, len(scan))
        joined = join_tables(target, hashes, scan.key)
        self.left_out = joined.left_out
        if joined.kept is not None:
            self._scan = folder.selected(scan, joined.kept)
        return joined.wanted

    @property
    def num_samples(self) -> int:
        return len(self._scan)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A short name of the samples and their order, by which a resumed run knows its dataset."""
        return folder.fingerprint(self._scan)

    def key(self, number: int) -> str:
        return self._scan.key(number)

    def where(self, number: int) -> str:
        return self._scan.path(number)

    def _read(self, number: int) -> Sample[bytes]:
        data = read_regular(self._scan.path(number), self.max_bytes)
        return Sample(self._scan.key(number), data, self._target_of(number))

    def read_beginning(self, number: int, length: int) -> bytes:
        with io.FileIO(self._scan.path(number), opener=_open_without_waiting) as file:
            return file.read(length)

    def _target_of(self, number: int) -> Any:
        label = int(self._scan.targets[number])
        if self._fields is None:
            return label
        try:
            return self._fields.read(number, partial(self._field, self._scan.paths[number], label))
        except TargetError as error:
            raise error.at(self._scan.key(number), self._scan.path(number)) from error

    def _field(self, image: str, label: int, field: Field) -> Any:
        if field == Label("cls"):
            return label
        return read_field(field, read_component(self._scan.root, image, field.component, self.max_bytes))

    def _read_some(self, numbers: Sequence[int], look_for: LookFor | None) -> Seen:
        if kernel.KERNEL is None:
            return super()._read_some(numbers, look_for)
        try:
            return self._read_by_kernel(numbers, look_for)
        except MemoryError:  # one by one, to say which
            return super()._read_some(numbers, look_for)

    def _read_by_kernel(self, numbers: Sequence[int], look_for: LookFor | None) -> Seen:
        named = [self._scan.key_and_path(number) for number in numbers]
        looks = None if look_for is None else look_for([key_hash(key) for key, _ in named])
        paths = [os.fsencode(path) for _, path in named]
        files = kernel.read_files(paths, self.max_bytes, look=None if looks is None else looks.first)
        if looks is not None:
            looks.finish([b"" if isinstance(file, int) else file for file in files])
        samples = zip(numbers, named, files, strict=True)
        return [
            self._read_as(number, partial(self._sample, number, *names, file)) for number, names, file in samples
        ], looks

    def _sample(self, number: int, key: str, path: str, file: memoryview | int) -> Sample[Data]:
        if not isinstance(file, int):
            return Sample(key, file, self._target_of(number))
        if file == kernel.NOT_REGULAR:
            raise OSError(f"{path} is no regular file")
        if file == kernel.LARGER_THAN_LIMIT:
            refuse_larger(path, self.max_bytes + 1, self.max_bytes)
        raise OSError(-file, os.strerror(-file), path)


def _open_without_waiting(path: str, flags: int) -> int:
    """For a pipe, too, which has nothing to read then."""
    return os.open(path, flags | os.O_NONBLOCK)
