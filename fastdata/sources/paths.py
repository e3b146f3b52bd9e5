"""Paths in arrays, and the keys that name their samples.

A worker that touches a Python object writes its reference count, and so copies the page on which it lies: over an
epoch each worker would copy 100,000 strings.
"""

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 4096  # paths that are taken out of the arrays together where all are gone over


class Paths(Sequence[str]):
    """An immutable sequence of paths, relative to a root and separated by '/', in two arrays.

    `joined` is uint8, all paths' bytes one after the other (`os.fsencode`, so names that are not UTF-8
    survive); `offsets` is int64 of shape (N + 1,), path i being `joined[offsets[i]:offsets[i + 1]]`.
    """

    __slots__ = ("joined", "offsets")

    def __init__(self, joined: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self.joined, self.offsets = joined, offsets
        self.joined.setflags(write=False)
        self.offsets.setflags(write=False)

    @classmethod
    def of(cls, paths: Iterable[str]) -> "Paths":
        """The given paths, in the given order."""
        joined, offsets = bytearray(), array("q", [0])
        for path in paths:
            joined += os.fsencode(path)
            offsets.append(len(joined))
        return cls(np.frombuffer(bytes(joined), np.uint8), np.frombuffer(offsets.tobytes(), np.int64))

    def take(self, numbers: NDArray[np.int64]) -> "Paths":
        """The paths of these numbers, in their order; int64 of shape (n,)."""
        starts, stops = self.offsets[numbers], self.offsets[numbers + 1]
        offsets = np.concatenate(([0], np.cumsum(stops - starts)))
        # Where each byte comes from: its place here, moved by as much as its path is.
        source = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], stops - starts)
        return Paths(self.joined[source], offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> "Paths": ...

    def __getitem__(self, index: SupportsIndex | slice) -> "str | Paths":
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return Paths.of(self[i] for i in range(start, stop, step))
            offsets = self.offsets[start : max(start, stop) + 1]
            return Paths(self.joined[offsets[0] : offsets[-1]], offsets - offsets[0])
        i = range(len(self))[index]
        return os.fsdecode(self.joined[self.offsets.item(i) : self.offsets.item(i + 1)].tobytes())

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_ONCE):  # a slice of the arrays for each path takes eight times as long
            offsets = self.offsets[first : first + _AT_ONCE + 1].tolist()
            joined = self.joined[offsets[0] : offsets[-1]].tobytes()
            begin = offsets[0]
            if joined.isascii():  # as most are: to decode each takes three times as long
                text = joined.decode("ascii")
                yield from [text[start - begin : stop - begin] for start, stop in pairwise(offsets)]
            else:
                for start, stop in pairwise(offsets):
                    yield os.fsdecode(joined[start - begin : stop - begin])

    def __reduce__(self) -> "tuple[type[Paths], tuple[NDArray[np.uint8], NDArray[np.int64]]]":
        return Paths, (self.joined, self.offsets)


@dataclass(frozen=True, eq=False)
class Keys(Sequence[str]):
    """The keys of `paths`, made when they are asked for.

    `apart`, bool of shape (N,), marks the keys to which their extension is appended.
    """

    paths: Paths
    apart: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> "Keys": ...

    def __getitem__(self, index: SupportsIndex | slice) -> "str | Keys":
        if isinstance(index, slice):
            return Keys(self.paths[index], self.apart[index])
        return self.of(index, self.paths[index])

    def of(self, index: SupportsIndex, path: str) -> str:
        """The key at `index`, for who has the path that stands there."""
        return _key_with_extension(path) if self.apart[index] else key_of(path)

    def __iter__(self) -> Iterator[str]:
        for path, apart in zip(self.paths, self.apart, strict=True):
            yield _key_with_extension(path) if apart else key_of(path)


def extension_of(path: str) -> str:
    """The part of a path's basename behind its last dot, in lower case."""
    _, dot, extension = path.rpartition("/")[2].rpartition(".")
    return extension.lower() if dot else ""


def key_of(path: str) -> str:
    """The path without its extension, with '_' for the other dots of its basename.

    WebDataset's rule splits a member's name at the first dot of its basename, so a key has none there. Dots
    in folder names stay; '.x' is a stem.
    """
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name).replace(".", "_")


def find_key_collisions(paths: Sequence[str]) -> list[list[int]]:
    """The groups of positions in `paths` whose files share a `key_of`, in order of their first."""
    return groups_of_equals(lambda: map(key_of, paths))


def keys_of(paths: Paths) -> Keys:
    """The unique keys of `paths`: `key_of`, with '_' and the extension appended where files share that.

    'a.jpg' and 'a.png' become 'a_jpg' and 'a_png', whatever the order of the paths. Raises ValueError that names the
    files where their extensions are the same ('x.y.jpg' and 'x_y.jpg').
    """
    keys = Keys(paths, np.zeros(len(paths), np.bool_))
    for group in find_key_collisions(paths):
        keys.apart[group] = True
    if keys.apart.any():
        for group in groups_of_equals(lambda: keys):
            first, second = paths[group[0]], paths[group[1]]
            raise ValueError(f"{first} and {second} share the key {keys[group[0]]!r}: rename one of them")
    keys.apart.setflags(write=False)
    return keys


def _key_with_extension(path: str) -> str:
    stem, _, extension = path.rpartition("/")[2].rpartition(".")
    return f"{key_of(path)}_{extension}" if stem and extension else key_of(path)  # '.x' is a stem


def groups_of_equals(keys: Callable[[], Iterable[str]]) -> list[list[int]]:
    """Groups of positions with equal keys. The keys are gone over again if need be, so that only hashes are kept."""
    hashes = np.fromiter(map(hash, keys()), np.int64)
    values, counts = np.unique(hashes, return_counts=True)
    if len(values) == len(hashes):
        return []
    suspects = np.isin(hashes, values[counts > 1])
    groups: dict[str, list[int]] = {}
    for index, key in enumerate(keys()):
        if suspects[index]:
            groups.setdefault(key, []).append(index)
    return [group for group in groups.values() if len(group) > 1]
