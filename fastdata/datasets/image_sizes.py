"""The sizes of all images of a dataset, from the beginnings of their files."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fastdata.cpus import available_cpus
from fastdata.errors import DecodeError, SampleError, TarError
from fastdata.images.header import read_headers
from fastdata.sources.faults import is_machines, patiently
from fastdata.sources.regular import MAX_BYTES

# Most headers end within the first few bytes. Where there is a thumbnail it takes up to 64 KiB, and a TIFF may say its
# size anywhere: but of whole files no thread should hold many.
_AT_ONCE = 64
_LENGTHS = ((4 << 10, _AT_ONCE), (80 << 10, _AT_ONCE), (MAX_BYTES, 1))
_THREADS_PER_CPU = 4  # which wait for the disk


class Beginnings(Protocol):
    """What is needed of a dataset."""

    max_pixels: int

    @property
    def num_samples(self) -> int: ...

    def read_beginning(self, number: int, length: int) -> bytes:
        """The first bytes of a sample's image."""


def read_image_sizes(dataset: Beginnings) -> npt.NDArray[np.int32]:
    """Width and height of every sample's upright image, int32 of shape (num_samples, 2); 0 where they can't be read."""
    sizes = np.zeros((dataset.num_samples, 2), np.int32)
    parts = [range(dataset.num_samples)[first : first + _AT_ONCE] for first in range(0, len(sizes), _AT_ONCE)]
    with ThreadPoolExecutor(_THREADS_PER_CPU * available_cpus(), "fastdata-sizes") as threads:
        for numbers, found in zip(parts, threads.map(partial(_sizes_of, dataset), parts), strict=True):
            sizes[numbers.start : numbers.stop] = found
    return sizes


def _sizes_of(dataset: Beginnings, numbers: Sequence[int]) -> list[tuple[int, int]]:
    sizes = dict.fromkeys(numbers, (0, 0))
    for length, at_once in _LENGTHS:
        unknown = [number for number, size in sizes.items() if size == (0, 0)]
        for first in range(0, len(unknown), at_once):
            some = unknown[first : first + at_once]
            headers = read_headers([_beginning(dataset, number, length) for number in some], dataset.max_pixels)
            for number, header in zip(some, headers, strict=True):
                if not isinstance(header, DecodeError):
                    sizes[number] = header.size
    return list(sizes.values())


def _beginning(dataset: Beginnings, number: int, length: int) -> bytes:
    """Nothing where it can't be read: whoever loads the sample will say why.

    A fault of the machine is waited for, then raised: with it this rank would have another order than the others.
    """
    return patiently(partial(_attempted, dataset, number, length))


def _attempted(dataset: Beginnings, number: int, length: int) -> bytes:
    try:
        return dataset.read_beginning(number, length)
    except (TarError, SampleError):
        return b""
    except OSError as error:
        if is_machines(error):
            raise
        return b""
