"""Epochs that are ended by a signal at a counted call, and gone on with by their last saved state.

Each is delivered by a fork of this process, which has everything imported. `python -m support.killed WAY SIGNAL FOLDER
LOG MOMENTS` prints, for each moment, what was wrong; nothing where nothing was.
"""

import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader

import fastdata as fd
from support.numbered import COUNT, map_style
from support.processes import assert_no_more_threads_than, threads

BATCH_SIZE = 3


class ByLoader:
    """Batches of a Loader, with the state after each."""

    def __init__(self, folder: str, decoder: Any, state: dict[str, Any] | None) -> None:
        self._loader = fd.Loader(map_style(Path(folder)), BATCH_SIZE, num_threads=2, shuffle=True, decoder=decoder)
        if state:
            self._loader.load_state_dict(state)

    def __iter__(self) -> Iterator[tuple[list[int], dict[str, Any]]]:
        for _, targets in self._loader:
            yield targets.tolist(), self._loader.state_dict()


class ByWorkers:
    """Batches of a DataLoader with two workers, likewise."""

    def __init__(self, folder: str, state: dict[str, Any] | None) -> None:
        dataset = map_style(Path(folder))
        self._sampler = fd.EpochSampler(dataset, BATCH_SIZE, shuffle=True)
        if state:
            self._sampler.load_state_dict(state)
        self._batches = DataLoader(dataset, BATCH_SIZE, sampler=self._sampler, num_workers=2, collate_fn=fd.collate)

    def __iter__(self) -> Iterator[tuple[list[int], dict[str, Any]]]:
        for received, (_, targets) in enumerate(self._batches, start=1):
            yield targets.tolist(), self._sampler.state_dict(batches=received)


WAYS: dict[str, Callable[[str, dict[str, Any] | None], Any]] = {
    "cpu": lambda folder, state: ByLoader(folder, "cpu", state),
    "dali": lambda folder, state: ByLoader(folder, "dali", state),
    "workers": lambda folder, state: ByWorkers(folder, state),
}


def end_at(moment: int, number: int, in_worker: bool) -> None:
    """Send this process, or a worker of its, a signal at that call of a function of fastdata's, of any thread."""
    calls = itertools.count(1)

    def step(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or f"{os.sep}fastdata{os.sep}" not in frame.f_code.co_filename:
            return
        if in_worker == (multiprocessing.parent_process() is not None) and next(calls) == moment:
            os.kill(os.getpid(), number)

    threading.setprofile(step)
    sys.setprofile(step)


def no_longer_count() -> None:
    sys.setprofile(None)
    threading.setprofile(None)


def deliver(way: str, folder: str, log: Path) -> None:
    """An epoch, from where the log ends, each batch with its state into the log."""
    lines = log.read_text().splitlines()
    with log.open("a", buffering=1) as file:
        for targets, state in WAYS[way](folder, json.loads(lines[-1])["state"] if lines else None):
            file.write(json.dumps({"targets": targets, "state": state}) + "\n")


def in_a_fork(do: Callable[[], None]) -> int:
    """The exit status of a fork that does this."""
    child = os.fork()
    if child == 0:
        try:
            do()
        except BaseException as error:  # noqa: BLE001 - reported, and the process ends
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def deliver_by_workers(folder: str, log: Path) -> None:
    """Until torch says that one has died: in what it reads from it, or wherever its signal handler interrupts."""
    with suppress(RuntimeError, ConnectionError, EOFError):
        try:
            deliver("workers", folder, log)
        finally:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def ended(way: str, number: signal.Signals, folder: str, log: Path, moment: int) -> None:
    """An epoch that is ended. One that survives its signal, by an error with a name, goes on by itself."""
    before = threads()
    end_at(moment, number, in_worker=way == "workers")
    if way == "workers":
        deliver_by_workers(folder, log)
    else:
        with suppress(KeyboardInterrupt):
            deliver(way, folder, log)
    no_longer_count()
    assert_no_more_threads_than(before + (way == "workers"))  # torch keeps one that watches its pipe
    assert not multiprocessing.active_children()


def what_is_wrong(way: str, number: signal.Signals, folder: str, log: Path, moment: int) -> str:
    log.write_text("")
    status = in_a_fork(lambda: ended(way, number, folder, log, moment))
    if status not in (0, -number if number == signal.SIGKILL and way != "workers" else 0):
        return f"ended with {status}"
    delivered = len(log.read_text().splitlines())
    if delivered * BATCH_SIZE < COUNT and in_a_fork(lambda: deliver(way, folder, log)):
        return "can't go on"
    targets = [target for line in log.read_text().splitlines() for target in json.loads(line)["targets"]]
    if sorted(targets) != list(range(COUNT)):
        return f"delivered {sorted(targets)}"
    left = os.listdir("/dev/shm")
    return f"left {left} in /dev/shm" if left else ""


def main(way: str, name: str, folder: str, log: str, count: str) -> None:
    warnings.simplefilter("ignore")  # Python 3.12 warns of forks
    if way == "dali":
        import nvidia.dali.fn  # noqa: F401 - once, not in each fork
    moments = random.Random(14).sample(range(1, 700), int(count))
    for moment in moments:
        if problem := what_is_wrong(way, signal.Signals[name], folder, Path(log), moment):
            print(f"{name} at call {moment}: {problem}")


if __name__ == "__main__":
    main(*sys.argv[1:])
