"""Frameworks that wrap a DataLoader and split what it gives over the ranks, though that may be split already."""

import sys
from types import FrameType
from typing import Any

from fastdata.epoch.plan import Place

_ACCELERATE = "accelerate/data_loader.py"


def refuse_second_split(place: Place, what: str) -> None:
    """RuntimeError where accelerate, on whose behalf this is called, splits again what the ranks share already.

    Its wrappers are found on the stack: they give no other sign, in a forked worker neither.
    """
    if place.world_size == 1:
        return
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.replace("\\", "/").endswith(_ACCELERATE):
            processes = _processes(frame.f_locals.get("self"))
            if processes > 1:
                raise RuntimeError(
                    f"accelerate would split what {what} gives rank {place.rank} of {place.world_size} over "
                    f"{processes} processes once more, so that samples are lost: leave this DataLoader out of "
                    f"accelerator.prepare(), or have accelerate alone split it: {what}(..., rank=0, world_size=1)"
                )
        frame = frame.f_back


def _processes(wrapper: Any) -> int:
    """Over how many processes one of accelerate's objects splits what it iterates over; 1 for one that does not."""
    if type(wrapper).__name__ in ("BatchSamplerShard", "IterableDatasetShard"):
        return int(wrapper.num_processes)
    return int(wrapper.state.num_processes) if "DataLoaderDispatcher" in _names(wrapper) else 1


def _names(wrapper: Any) -> list[str]:
    return [kind.__name__ for kind in type(wrapper).__mro__]
