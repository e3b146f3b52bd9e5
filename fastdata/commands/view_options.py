"""Options of `fastdata view`: how samples are shown, and which."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from fastdata.commands.declared import option
from fastdata.commands.given import listed

if TYPE_CHECKING:
    from fastdata.commands.view import Run, Step
    from fastdata.transforms.fields import Field

_SHOWN, _FIELDS, _WHICH = "What is shown", "Fields drawn in", "Which samples"


class ViewedTransform(StrEnum):
    """The transforms that have names."""

    TRAIN = "train"
    EVAL = "eval"
    NONE = "none"


@dataclass(frozen=True)
class ShownOptions:
    """How samples are shown."""

    out: Annotated[
        Path | None,
        option(
            _SHOWN, "The picture; its extension says the format (view.png, or none where the terminal shows pictures)."
        ),
    ] = None
    transform: Annotated[ViewedTransform, option(_SHOWN, "Random crops, the centre, or whole photos.")] = (
        ViewedTransform.TRAIN
    )
    rows: Annotated[int, option(_SHOWN, "Of the sheet.", min=1)] = 4
    columns: Annotated[int, option(_SHOWN, "Of the sheet.", min=1)] = 8
    compare: Annotated[bool, option(_SHOWN, "Beside each its photo, with the box cut from it.", "--compare")] = False
    json: Annotated[
        bool, option(_SHOWN, "Say as JSON which samples are shown, where they lie, and what is wrong.", "--json")
    ] = False

    def across(self) -> int:
        """The sheet's columns: an even number where pairs stand in them."""
        return self.columns + self.columns % 2 if self.compare else self.columns


class BoxFormat(StrEnum):
    """As `fd.Boxes` has them."""

    XYXY = "xyxy"
    XYWH = "xywh"
    CXCYWH = "cxcywh"


@dataclass(frozen=True)
class FieldOptions:
    """What is written below images and drawn into them: components, in JSON with the path of what is meant."""

    target: Annotated[
        str | None,
        option(
            _FIELDS, "What stands below each image, as txt or json:caption (the class).", metavar="COMPONENT[:PATH]"
        ),
    ] = None
    masks: Annotated[
        str | None, option(_FIELDS, "As seg.png; of a folder with --pattern, say.", metavar="COMPONENT")
    ] = None
    boxes: Annotated[str | None, option(_FIELDS, "As json:objects.bbox, or box.npy.", metavar="COMPONENT[:PATH]")] = (
        None
    )
    box_format: Annotated[BoxFormat, option(_FIELDS, "Of the boxes' four numbers.")] = BoxFormat.XYXY
    box_labels: Annotated[str | None, option(_FIELDS, "Numbers at the boxes, as objects.category.", metavar="PATH")] = (
        None
    )
    points: Annotated[str | None, option(_FIELDS, "As npy, or json:keypoints.", metavar="COMPONENT[:PATH]")] = None

    def fields(self) -> "dict[str, Field]":
        """What a dataset is to read besides the image, by name; the class, which may be missing, is not among it."""
        from fastdata.transforms.fields import Boxes, Json, Mask, Points, field_of

        if self.boxes is None and (self.box_labels is not None or self.box_format is not BoxFormat.XYXY):
            raise click.BadParameter("--box-format and --box-labels belong to --boxes")
        fields: dict[str, Field] = {}
        if self.target not in (None, "cls"):
            component, path = _parted(self.target)
            fields["target"] = Json(component, path) if path else field_of(component)
        if self.masks is not None:
            fields["masks"] = Mask(self.masks)
        if self.boxes is not None:
            fields["boxes"] = Boxes(*_parted(self.boxes), self.box_format.value, self.box_labels)
        if self.points is not None:
            fields["points"] = Points(*_parted(self.points))
        return fields


def _parted(text: str) -> tuple[str, str]:
    """Component and path of 'json:objects.bbox'."""
    component, _, path = text.partition(":")
    return component, path


@dataclass(frozen=True)
class WhichOptions:
    """Which samples are shown: the first of an epoch, of some classes, or a batch of the past."""

    classes: Annotated[str | None, option(_WHICH, "Only these, as cat,dog.")] = None
    pattern: Annotated[str | None, option(_WHICH, "A folder's files that match, as '**/*.jpg'.")] = None
    epoch: Annotated[int | None, option(_WHICH, "Of the order and the views (0).", min=0)] = None
    seed: Annotated[int | None, option(_WHICH, "Of the order and the views (0).", min=0)] = None
    state: Annotated[Path | None, option(_WHICH, "Seed and epoch from a Loader's state in JSON.", exists=True)] = None
    step: Annotated[int | None, option(_WHICH, "The batch of this step, instead of the first samples.", min=0)] = None
    batch_size: Annotated[int | None, option(_WHICH, "Of a rank, with --step (32).", min=1)] = None
    rank: Annotated[int | None, option(_WHICH, "With --step (0).", min=0)] = None
    world_size: Annotated[int | None, option(_WHICH, "With --step (1).", min=1)] = None

    def run(self) -> "Run":
        """The epoch and its order."""
        from fastdata.commands.view import Run, read_run

        if self.state is None:
            return Run(self.seed or 0, self.epoch or 0)
        if self.seed is not None or self.epoch is not None:
            raise click.BadParameter("--state says which --seed and --epoch: leave these out")
        return read_run(self.state)

    def at(self, shown: ShownOptions) -> "Step | int":
        """The step, or how many samples fill the sheet."""
        from fastdata.commands.view import Step

        if self.step is None:
            if (self.batch_size, self.rank, self.world_size) != (None, None, None):
                raise click.BadParameter("--batch-size, --rank and --world-size belong to --step")
            return shown.rows * shown.across() // (1 + shown.compare)
        if self.classes is not None:
            raise click.BadParameter("--step shows its whole batch: leave --classes out")
        rank, world_size = self.rank or 0, self.world_size or 1
        if rank >= world_size:
            raise click.BadParameter(f"there are ranks 0 to {world_size - 1}", param_hint="--rank")
        return Step(self.step, self.batch_size or 32, rank, world_size)

    def names(self) -> list[str]:
        """Of the classes."""
        return listed(self.classes)
