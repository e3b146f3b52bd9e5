"""Where the time of an iteration goes."""

from enum import StrEnum
from threading import get_ident
from typing import NamedTuple


class Stage(StrEnum):
    """What is done for a sample, in this order."""

    READ = "read"
    DRAW = "draw"
    DECODE = "decode"
    RESIZE = "resize"
    MAP = "map"  # and, on the CPU, colour steps


class StageTimes:
    """Nanoseconds that threads have spent in each stage. Every thread adds to numbers of its own, so none waits."""

    def __init__(self) -> None:
        self._of_thread: dict[int, dict[Stage, int]] = {}

    def add(self, stage: Stage, nanoseconds: int) -> None:
        """The calling thread has spent them in the stage."""
        thread = get_ident()
        if thread not in self._of_thread:
            self._of_thread[thread] = dict.fromkeys(Stage, 0)
        self._of_thread[thread][stage] += nanoseconds

    def seconds(self, stage: Stage) -> float:
        """In the stage, over all threads."""
        return sum(times[stage] for times in list(self._of_thread.values())) / 1e9


class Stats(NamedTuple):
    """Where the time of an iteration went. Seconds; those of the stages and waits are summed over all threads."""

    images: int
    seconds: float
    num_threads: int
    read: float
    draw: float
    decode: float
    resize: float
    map: float
    threads_waited: float
    caller_waited: float

    @property
    def images_per_second(self) -> float:
        """Images over the iteration's own seconds, in which the caller's are; 0 before the first."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def bottleneck(self) -> str:
        """The loader's longest stage if the caller waits for batches more than threads wait for it, else "caller"."""
        if self.threads_waited / self.num_threads > self.caller_waited:
            return "caller"
        return max(Stage, key=lambda stage: float(getattr(self, stage))).value
