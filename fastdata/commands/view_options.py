"""Options of `fastdata view`: how samples are shown, and which."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastdata.commands.grouped import listed, option

if TYPE_CHECKING:
    from fastdata.commands.view import Run, Step

_SHOWN, _WHICH = "What is shown", "Which samples"


class ViewedTransform(StrEnum):
    """The transforms that have names."""

    TRAIN = "train"
    EVAL = "eval"
    NONE = "none"


@dataclass(frozen=True)
class ShownOptions:
    """How samples are shown."""

    out: Annotated[Path, option(_SHOWN, "The picture; its extension says the format.")] = Path("view.png")
    transform: Annotated[ViewedTransform, option(_SHOWN, "Random crops, the centre, or whole photos.")] = (
        ViewedTransform.TRAIN
    )
    rows: Annotated[int, option(_SHOWN, "Of the sheet.", min=1)] = 4
    columns: Annotated[int, option(_SHOWN, "Of the sheet.", min=1)] = 8
    target: Annotated[str | None, option(_SHOWN, "The component below each image, as txt, instead of cls.")] = None
    compare: Annotated[bool, option(_SHOWN, "Beside each its photo, with the box cut from it.", "--compare")] = False


@dataclass(frozen=True)
class WhichOptions:
    """Which samples are shown: the first of an epoch, of some classes, or a batch of the past."""

    classes: Annotated[str | None, option(_WHICH, "Only these, as cat,dog.")] = None
    epoch: Annotated[int, option(_WHICH, "Of the order and the views.", min=0)] = 0
    seed: Annotated[int, option(_WHICH, "Of the order and the views.", min=0)] = 0
    state: Annotated[Path | None, option(_WHICH, "Seed and epoch from a Loader's state in JSON.")] = None
    step: Annotated[int | None, option(_WHICH, "The batch of this step, instead of the first samples.", min=0)] = None
    batch_size: Annotated[int, option(_WHICH, "Of a rank, with --step.", min=1)] = 32
    rank: Annotated[int, option(_WHICH, "With --step.", min=0)] = 0
    world_size: Annotated[int, option(_WHICH, "With --step.", min=1)] = 1

    def run(self) -> "Run":
        """The epoch and its order."""
        from fastdata.commands.view import Run, read_run

        return read_run(self.state) if self.state else Run(self.seed, self.epoch)

    def at(self, shown: ShownOptions) -> "Step | int":
        """The step, or how many samples fill the sheet."""
        from fastdata.commands.view import Step

        if self.step is not None:
            return Step(self.step, self.batch_size, self.rank, self.world_size)
        return max(1, shown.rows * shown.columns // (1 + shown.compare))

    def names(self) -> list[str]:
        """Of the classes."""
        return listed(self.classes)
