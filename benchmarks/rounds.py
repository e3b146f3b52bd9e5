"""Contestants in turn, round after round, each time in a fresh process; and what that says of them."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from contestants import CONTESTANTS, Task

HERE = Path(__file__).parent


class Row(NamedTuple):
    """A contestant's images/s, and its ratio to the first contestant in the same round: medians and extremes."""

    name: str
    images_per_second: float
    ratio: float
    lowest: float
    highest: float
    rounds: list[float]
    workers: int


class Contest(NamedTuple):
    title: str
    rows: list[Row]
    failed: dict[str, str]


class FailedError(RuntimeError):
    """A contestant's process has failed: the last of what it said."""


def run(task: Task) -> float:
    """Images/s, in a process of its own on the CPUs of this one."""
    command = [sys.executable, str(HERE / "contestants.py"), json.dumps(task._asdict())]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise FailedError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return float(measured["images_per_second"])


def best_workers(task: Task, upto: int, tell: Callable[[str], None]) -> int:
    """The number of worker processes, from 1 to `upto`, with which a contestant in torch's DataLoader is fastest."""
    speeds = {workers: run(task._replace(workers=workers, images=task.images // 2)) for workers in range(1, upto + 1)}
    best = max(speeds, key=lambda workers: speeds[workers])
    tried = ", ".join(f"{workers}: {speed:.0f}/s" for workers, speed in speeds.items())
    tell(f"  {task.contestant}: {best} workers ({tried})")
    return best


def compete(title: str, tasks: Sequence[Task], rounds: int, upto: int, tell: Callable[[str], None]) -> Contest:
    """All of them in each round. One that fails is left out, and it is said why."""
    failed: dict[str, str] = {}
    ready: list[Task] = []
    for task in tasks:
        try:
            tuned = CONTESTANTS[task.contestant].in_workers
            ready.append(task._replace(workers=best_workers(task, upto, tell)) if tuned else task)
        except FailedError as error:
            failed[task.contestant] = str(error)
    speeds: dict[str, list[float]] = {task.contestant: [] for task in ready}
    for number in range(rounds):
        for task in ready:
            if task.contestant in failed:
                continue
            try:
                speeds[task.contestant].append(run(task))
            except FailedError as error:
                failed[task.contestant] = str(error)
        last = ", ".join(f"{name} {of[-1]:.0f}" for name, of in speeds.items() if name not in failed)
        tell(f"  round {number + 1}: {last}")
    rows = compared({name: of for name, of in speeds.items() if name not in failed})
    workers = {task.contestant: task.workers for task in ready}
    return Contest(title, [row._replace(workers=workers[row.name]) for row in rows], failed)


def compared(speeds: dict[str, list[float]]) -> list[Row]:
    """Rows of contestants that took part in the same rounds; the first is what the others are compared with."""
    rows = []
    first = next(iter(speeds.values()), [])
    for name, of in speeds.items():
        ratios = [speed / other for speed, other in zip(of, first, strict=True)]
        median = statistics.median(ratios)
        rows.append(Row(name, statistics.median(of), median, min(ratios), max(ratios), of, workers=0))
    return rows
