"""`fastdata view`: samples as training sees them, as a picture."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from fastdata.commands.counted import counted
from fastdata.commands.opened import opened
from fastdata.commands.progress import bar
from fastdata.commands.sheet import Tile, contact_sheet, tile_of
from fastdata.datasets.base import ImageDataset
from fastdata.datasets.fields import Target
from fastdata.epoch.order import EpochOrder, Ids
from fastdata.epoch.state import EpochState
from fastdata.errors import SampleError, StateError
from fastdata.images.decode import decode
from fastdata.transforms.fields import Field, Label
from fastdata.transforms.steps import CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize, TransformStep
from fastdata.transforms.view import Box, View

SIDE = 224

Named = Literal["train", "eval", "none"]
TRANSFORMS: dict[str, list[TransformStep]] = {
    "train": [RandomResizedCrop(SIDE), RandomHorizontalFlip()],
    "eval": [Resize(round(SIDE / 0.875)), CenterCrop(SIDE)],
    "none": [],
}
"""The transforms that have names: torchvision's usual ones, and the whole photo."""


class Step(NamedTuple):
    """One batch of a run: that of a rank at a step of an epoch, as a `Loader` gives it."""

    step: int
    batch_size: int
    rank: int = 0
    world_size: int = 1

    def positions(self) -> Ids:
        """Of the epoch's order: int64 of shape (batch_size,)."""
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} of {self.world_size}: there can be 0 to {self.world_size - 1}")
        first = (self.step * self.world_size + self.rank) * self.batch_size
        return np.arange(first, first + self.batch_size, dtype=np.int64)


class Run(NamedTuple):
    """Which epoch of which order; and the Loader's state that says so, which is one of the same dataset."""

    seed: int = 0
    epoch: int = 0
    shuffle: bool = True
    state: EpochState | None = None

    def check(self, dataset: ImageDataset) -> None:
        """StateError where the state is another dataset's. One of a dataset without a name has only its size."""
        if self.state is not None:
            name = None if self.state.fingerprint is None else dataset.fingerprint
            self.state.check(EpochState(0, 0, self.seed, self.shuffle, dataset.num_samples, name))


FIRST = Run()
"""The first epoch of the default seed, shuffled."""


def read_run(path: str | os.PathLike[str]) -> Run:
    """The run of a Loader's state in a JSON file. StateError for anything else, and for an order but the plain one."""
    try:
        state = EpochState.from_dict(json.loads(Path(path).read_bytes()))
    except (ValueError, TypeError) as error:
        raise StateError(f"{os.fspath(path)}: no state of a Loader in JSON: {error}") from error
    if state.order is not None:
        raise StateError(f"{os.fspath(path)}: its order is {state.order}, and only the plain one is shown again")
    return Run(state.seed, state.epoch, state.shuffle, state)


class ShownSample(NamedTuple):
    """A sample of a sheet, where it lies, and why it can't be shown, "" where it is."""

    key: str
    where: str
    cause: str = ""


class Sheet(NamedTuple):
    """A contact sheet, and its samples in their order."""

    picture: Image.Image
    samples: list[ShownSample]

    @property
    def is_grey(self) -> bool:
        """Whether not one sample can be shown."""
        return all(sample.cause for sample in self.samples)

    @property
    def unshown(self) -> str:
        """How many can't be shown, and why the first can't, or the first three where none can; "" where all are."""
        bad = [sample for sample in self.samples if sample.cause]
        if not bad:
            return ""
        causes = [f"{sample.key!r} in {sample.where}: {sample.cause}" for sample in bad]
        if self.is_grey:
            return (
                f"none of {counted(len(bad), 'sample')} can be shown, so there is no picture: {'; '.join(causes[:3])}"
            )
        return f"{len(bad):,} of {len(self.samples):,} samples can't be shown; the first: {causes[0]}"


def view(
    what: str,
    transform: Named = "train",
    run: Run = FIRST,
    at: Step | int = 32,
    columns: int = 8,
    *,
    classes: Sequence[str] = (),
    fields: Mapping[str, Field] | None = None,
    compare: bool = False,
    pattern: str | None = None,
) -> Sheet:
    """A contact sheet of samples of a folder or of shards, in an epoch's order: the first so many, or a step's batch.

    Only those whose class is among `classes` where any are named. `fields` are drawn in, or written below, besides the
    class, which is left out where one is named "target". With `compare` each has its source beside it, with the box
    that was cut. `pattern` says which files of a folder are images.

    Raises what datasets raise, StateError where the run's state is another dataset's, ValueError where there is no such
    step, no class of that name or no sample of these classes; what is wrong with a sample stands in its place.
    """
    dataset = opened(what, TRANSFORMS[transform], _target(what, fields or {}, pattern), run.seed, pattern)
    run.check(dataset)
    numbers = _chosen(dataset, run, at, classes)
    dataset.expect(numbers)
    tiles: list[Tile] = []
    samples = []
    with bar(len(numbers), "samples", "drawn; no picture is written") as advance:
        for number in numbers:
            drawn = _tiles(dataset, number, run.epoch, compare)
            tiles += drawn
            samples.append(ShownSample(dataset.key(number), dataset.where(number), drawn[0].cause))
            advance(1)
    return Sheet(contact_sheet(tiles, columns), samples)


def _target(what: str, fields: Mapping[str, Field], pattern: str | None) -> Target:
    """What is read with each image: the fields, and the class where there are any."""
    if "target" in fields:
        return fields
    labelled = bool((opened(what, None, None, pattern=pattern).class_indexes() >= 0).any())
    return {"class": Label(), **fields} if labelled else fields or None


def _chosen(dataset: Any, run: Run, at: Step | int, classes: Sequence[str]) -> list[int]:
    size = dataset.num_samples
    order = EpochOrder(size, run.shuffle, run.seed, run.epoch)
    if isinstance(at, Step):
        positions = at.positions()
        if positions[0] >= size:
            raise ValueError(f"no step {at.step}: an epoch of {size} samples has {-(-size // _at_once(at))} steps")
        return [int(number) for number in order.at(positions[positions < size])]
    if not classes:
        return [int(number) for number in order.samples(0, min(at, size))]
    missing = [name for name in classes if name not in dataset.class_to_idx]
    if missing:
        raise ValueError(f"no class {missing[0]!r}: there are {', '.join(dataset.classes[:20]) or 'none'}")
    wanted = np.isin(dataset.class_indexes(), [dataset.class_to_idx[name] for name in classes])
    found = [int(number) for number in order.samples(0, size) if wanted[number]]
    if not found:
        raise ValueError(f"no sample of {', '.join(classes)}")
    return found[:at]


def _at_once(step: Step) -> int:
    return step.batch_size * step.world_size


def _tiles(dataset: Any, number: int, epoch: int, compare: bool) -> list[Tile]:
    try:
        image, target = dataset.pair(number, epoch)
        key = dataset.key(number)
        shown = _within(tile_of(image, target, key, dataset.classes))
        if not compare:
            return [shown]
        sample = dataset.read(number)
        header, view = dataset.draw(sample, epoch)
        whole = Box(0, 0, *header.size)
        source = Image.fromarray(decode(sample.image, View(whole, header.size, whole, False), header=header))
        return [Tile(_with_box(source, view.box), ("source", key)), shown]
    except SampleError as error:
        return [Tile(Image.new("RGB", (SIDE, SIDE), "lightgrey"), (error.key,), error.cause)] * (1 + compare)


def _within(tile: Tile) -> Tile:
    """The tile, made smaller where its image is larger than a tile, so that no larger photo looks smaller."""
    tile.image.thumbnail((SIDE, SIDE))
    return tile


def _with_box(source: Image.Image, box: Box) -> Image.Image:
    """The photo in a tile's size, with the box that was cut from it."""
    factor = min(1.0, SIDE / max(source.size))
    small = source.resize((max(1, round(source.width * factor)), max(1, round(source.height * factor))))
    left, top, right, bottom = (round(edge * factor) for edge in box)
    ImageDraw.Draw(small).rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline="red", width=2)
    return small
