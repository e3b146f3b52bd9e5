"""What a report says of a dataset, as figures."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastdata.commands.mixing import Mixing, mixing, pairs_alike
from fastdata.commands.report.duplicates import Duplicates, duplicates
from fastdata.commands.report.looks import FORMATS, Looks, look_at
from fastdata.commands.report.source import Fault, Source
from fastdata.datasets.store import TarImageMapDataset

Advance = Callable[[int], None]


class ClassCount(NamedTuple):
    """A class by its index and name, and its number of samples."""

    class_index: int
    name: str
    samples: int


class Survey(NamedTuple):
    """What there is. `classes` (the largest first) and `unlabelled` are of all samples; what follows is of the
    `looked_at` ones, evenly spread over all.

    `bytes` are those of the shards; of a folder `bytes_estimated` says whether they are reckoned from the images looked
    at. `broken` are shards that can't be opened, and so count for nothing else. `formats` and `extent` (least, median,
    most of width and of height, in pixels) are of images that could be decoded, and so are the counts after them.
    """

    what: str
    samples: int
    shards: int
    bytes: int
    bytes_estimated: bool
    classes: list[ClassCount]
    unlabelled: int
    broken: list[Fault]
    looked_at: int
    unreadable: list[Fault]
    formats: dict[str, int]
    extent: tuple[tuple[int, int, int], tuple[int, int, int]]
    turned: int
    crop_ready: int
    duplicates: Duplicates
    window: Mixing | None
    seconds: float


def survey(what: str, source: Source, samples: int, advance: Advance) -> tuple[Survey, Looks]:
    """Looks at so many samples, or at all with 0; `advance` is told how many it has looked at since it was told last.

    OSError where the machine is at fault.
    """
    begun = time.perf_counter()
    dataset, classes = source.dataset, source.classes
    numbers = spread_numbers(len(classes), samples)
    looks = look_at(dataset, numbers, advance) if numbers else Looks.of_none()
    good = looks.good
    size, estimated = _bytes(source, looks)
    counted = _counted(source)
    kinds = np.bincount(good["format"], minlength=len(FORMATS)).tolist()
    return Survey(
        what,
        len(classes),
        len(dataset.shards) if isinstance(dataset, TarImageMapDataset) else 0,
        size,
        estimated,
        counted,
        int((classes < 0).sum()),
        source.broken,
        len(numbers),
        looks.faults,
        {name: count for name, count in zip(FORMATS, kinds, strict=True) if count},
        (_extent(good["width"]), _extent(good["height"])),
        int(good["turned"].sum()),
        int(good["crop_ready"].sum()),
        duplicates(looks, classes),
        _window(source, counted, size) if counted else None,
        time.perf_counter() - begun,
    ), looks


def spread_numbers(count: int, samples: int) -> list[int]:
    """So many of `count` numbers, or all with 0, evenly spread from the first to the last."""
    wanted = count if samples == 0 else min(samples, count)
    numbers: list[int] = np.unique(np.linspace(0, count - 1, wanted).astype(np.int64)).tolist()
    return numbers


def _window(source: Source, counted: list[ClassCount], size: int) -> Mixing:
    """What a shuffle by blocks would mean, those without a class being one of their own. Blocks end with a shard."""
    classes, pairs, first = source.classes, np.zeros(2, np.int64), 0
    whole = [(len(classes), size)]
    shards = source.dataset.samples_and_bytes() if isinstance(source.dataset, TarImageMapDataset) else whole
    for count, in_shard in shards:
        pairs += pairs_alike(classes[first : first + count], in_shard)
        first += count
    return mixing([*(one.samples for one in counted), int((classes < 0).sum())], size, pairs)


def _bytes(source: Source, looks: Looks) -> tuple[int, bool]:
    if isinstance(source.dataset, TarImageMapDataset):
        return round(source.dataset.bytes_per_sample * source.dataset.num_samples), False
    known = int(looks.rows["bytes"].sum())
    if not known or len(looks.good) == len(source.classes):
        return known, False
    return round(known / len(looks.good) * len(source.classes)), True


def _counted(source: Source) -> list[ClassCount]:
    """The classes with their numbers of samples, the largest first; those that are named and have none, too."""
    names = source.dataset.classes
    indexes, counts = np.unique(source.classes[source.classes >= 0], return_counts=True)
    found = dict.fromkeys(range(len(names)), 0) | dict(zip(indexes.tolist(), counts.tolist(), strict=True))
    named = [ClassCount(i, names[i] if i < len(names) else str(i), count) for i, count in found.items()]
    return sorted(named, key=lambda one: (-one.samples, one.class_index))


def _extent(values: npt.NDArray[np.int32]) -> tuple[int, int, int]:
    return (int(values.min()), int(np.median(values)), int(values.max())) if len(values) else (0, 0, 0)
