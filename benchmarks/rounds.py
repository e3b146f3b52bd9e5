"""Contestants in turn, round after round, each time in a fresh process; and what that says of them.

What is measured is the contestants' affair: figures by name. Some of them are compared: each as its ratio to the first
contestant's in the same round, so that what slows a machine down for a while weighs little.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

FACTOR = 2.0  # between the levels of batches that are taken for the same


class Look(NamedTuple):
    """What a batch looks like: an image's shape, its dtype, the mean of the values' magnitudes."""

    shape: list[int]
    dtype: str
    level: float

    def is_like(self, other: "Look") -> bool:
        alike = self[:2] == other[:2]
        return alike and self.level <= FACTOR * other.level and other.level <= FACTOR * self.level

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape}, {self.level:.3g} on average"


class Measured(NamedTuple):
    """The figures that are known."""

    figures: dict[str, float]
    look: Look | None = None


Measure = Callable[[], Measured]
"""For a fresh process it has to survive pickling, as a partial of a module's function does."""


class Spread(NamedTuple):
    """Over the rounds."""

    median: float
    lowest: float
    highest: float


class Row(NamedTuple):
    """A contestant: the medians of its figures, the ratios of those that are compared, and all that was measured."""

    name: str
    medians: dict[str, float]
    ratios: dict[str, Spread]
    rounds: list[dict[str, float]]


class Contest(NamedTuple):
    """The first row is what the others are compared with. `notes`: what failed, or is not the same work."""

    title: str
    rows: list[Row]
    notes: list[str]


def in_fresh_process(measure: Measure) -> Measured:
    """On the CPUs of this one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure).result()


def in_this_process(measure: Measure) -> Measured:
    """For contestants that share nothing but what they are to share, and so need not wait for a process to start."""
    return measure()


def compete(
    title: str,
    entries: Mapping[str, Measure],
    compared: Sequence[str],
    rounds: int,
    run: Callable[[Measure], Measured] = in_fresh_process,
) -> Contest:
    """All of them in each round. One that fails is left out, and it is said why."""
    runs: dict[str, list[Measured]] = {name: [] for name in entries}
    notes = []
    print(title, flush=True)
    for number in range(rounds):
        for name, measure in entries.items():
            if name not in runs:
                continue
            try:
                runs[name].append(run(measure))
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on, and it is said
                del runs[name]
                notes.append(f"{name} failed: {type(error).__name__}: {error}")
        last = (f"{name} {of[-1].figures[compared[0]]:.4g}" for name, of in runs.items())
        print(f"  round {number + 1}: {', '.join(last)}", flush=True)
    return Contest(title, rows_of(runs, compared), notes + differences(runs))


def rows_of(runs: Mapping[str, Sequence[Measured]], compared: Sequence[str]) -> list[Row]:
    """Of contestants that took part in the same rounds."""
    rows = []
    first = next(iter(runs.values()), ())
    for name, of in runs.items():
        figures = [measured.figures for measured in of]
        known = [figure for figure in figures[0] if all(figure in one for one in figures)]
        medians = {figure: statistics.median(one[figure] for one in figures) for figure in known}
        ratios = {
            figure: spread([a.figures[figure] / b.figures[figure] for a, b in zip(of, first, strict=True)])
            for figure in compared
        }
        rows.append(Row(name, medians, ratios, figures))
    return rows


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def differences(runs: Mapping[str, Sequence[Measured]]) -> list[str]:
    """Whose batches look otherwise than the first one's: that is no contest in the same work."""
    looks = {name: of[0].look for name, of in runs.items()}
    looked = {name: look for name, look in looks.items() if look is not None}
    if not looked:
        return []
    first, wanted = next(iter(looked.items()))
    return [
        f"not the same work: {name} gives {look}, {first} {wanted}"
        for name, look in looked.items()
        if not look.is_like(wanted)
    ]
