"""Ranks that train from a URL: real processes, each told what to deliver next by a line of JSON.

with ranks(2, environment) as both:
    for number, rank in enumerate(both):
        rank.begin(Job(url, cache, rank=number, world_size=2))
    delivered = [rank.delivered() for rank in both]
"""

import gc
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from torch import Tensor
from torch.utils.data import DataLoader

import fastdata as fd
from fastdata.sources.stores import retry
from support.classes import TRAIN
from support.processes import PYTHONPATH

Way = Literal["loader", "workers"]
WAYS: tuple[Way, ...] = ("loader", "workers")
BATCH_SIZE = 8
Sample = tuple[str, int, str]
"""Key, target, and a hash of the pixels."""


@dataclass(frozen=True)
class Job:
    """Samples to deliver: an epoch, or from a state on, or as many batches of it."""

    url: str
    cache: str
    limit: int | None = None
    way: Way = "loader"
    shuffle: str | bool = "full"
    rank: int = 0
    world_size: int = 1
    epoch: int = 0
    batches: int | None = None
    state: dict[str, Any] | None = None
    on_error: Literal["raise", "skip"] = "raise"

    def on(self, world_size: int) -> "list[Job]":
        """The same job's share of each rank."""
        return [replace(self, rank=rank, world_size=world_size) for rank in range(world_size)]


@dataclass(frozen=True)
class Delivered:
    """What came, the state after it, what was skipped as (key, where, cause), and what ended it."""

    samples: list[Sample]
    state: dict[str, Any] | None = None
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    error: str = ""


class Rank:
    """A process that delivers."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def begin(self, job: Job) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asdict(job)) + "\n")
        self.process.stdin.flush()

    def delivered(self) -> Delivered:
        """What came of the job that was begun; waits for it."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"a rank has ended: {self.process.wait()}"
        found = json.loads(line)
        for name in ("samples", "skipped"):
            found[name] = [tuple(each) for each in found[name]]
        return Delivered(**found)


@contextmanager
def ranks(number: int, environment: Mapping[str, str] | None = None) -> Iterator[list[Rank]]:
    """So many processes, which end with the block."""
    command = [sys.executable, "-P", "-m", "support.far_ranks"]
    around = {**os.environ, "PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1", **(environment or {})}
    with ExitStack() as stack:
        pipe = subprocess.PIPE
        started = [subprocess.Popen(command, env=around, stdin=pipe, stdout=pipe, text=True) for _ in range(number)]
        for process in started:
            stack.enter_context(process)
            stack.callback(process.kill)
        yield [Rank(process) for process in started]


def deliver_together(processes: Sequence[Rank], jobs: Sequence[Job]) -> list[Delivered]:
    """What comes of the jobs, as many at a time as there are processes."""
    delivered = []
    for first in range(0, len(jobs), len(processes)):
        some = jobs[first : first + len(processes)]
        for process, job in zip(processes, some, strict=False):
            process.begin(job)
        delivered += [process.delivered() for process, _ in zip(processes, some, strict=False)]
    return delivered


def together(delivered: Sequence[Delivered]) -> list[Sample]:
    """The samples of all ranks, sorted; none of these may have failed."""
    assert [each.error for each in delivered] == [""] * len(delivered)
    return sorted(chain.from_iterable(each.samples for each in delivered))


def epoch_of(json: Path, **how: Any) -> list[Sample]:
    """The samples of an epoch of a dataset on this disk, sorted."""
    return together([deliver(Job(str(json), str(json.parent), **how))])


def samples_of(batch: Any) -> list[Sample]:
    """The samples of a batch."""
    pairs = zip(batch.keys, batch.targets.tolist(), batch.images, strict=True)
    return [(key, target, _hash(image)) for key, target, image in pairs]


def _hash(image: Tensor) -> str:
    return blake2b(image.numpy().tobytes(), digest_size=8).hexdigest()


def deliver(job: Job) -> Delivered:
    """Carries out a job, in this process."""
    shuffle: Any = fd.Window(block_size=4, streams=2, window=16, global_batch=16) if job.shuffle == "window" else True
    cache, place = fd.Cache(job.cache, job.limit), {"rank": job.rank, "world_size": job.world_size}
    found = Delivered([])
    try:
        if job.way == "loader":
            dataset = fd.TarImageDataset(job.url, TRAIN, cache=cache)
            how: dict[str, Any] = {"num_threads": 2, "shuffle": shuffle, "on_error": job.on_error, **place}
            with fd.Loader(dataset, BATCH_SIZE, **how) as loader:
                return _run(job, loader, loader, found)
        dataset = fd.TarImageDataset(
            job.url,
            TRAIN,
            shuffle=shuffle,
            batch_size=BATCH_SIZE,
            cache=cache,
            rank=job.rank,
            world_size=job.world_size,
        )
        return _run(job, dataset, DataLoader(dataset, batch_size=None, num_workers=2), found)
    except Exception as error:  # noqa: BLE001 - told to the test, with what was delivered before
        return Delivered(found.samples, error=f"{type(error).__name__}: {error}")


def _run(job: Job, owner: Any, batches: Any, found: Delivered) -> Delivered:
    """`owner` knows where it stands: the Loader, or the dataset in a DataLoader."""
    if job.state is None:
        owner.set_epoch(job.epoch)
    else:
        owner.load_state_dict(job.state)
    received = 0
    for batch in islice(batches, job.batches):
        found.samples.extend(samples_of(batch))
        received += 1
    state = owner.state_dict() if job.way == "loader" else owner.state_dict(batches=received)
    skipped = [(key, where, str(cause)) for key, where, cause in getattr(owner, "skipped", ())]
    return Delivered(found.samples, state, skipped)


def main() -> None:
    """Jobs by lines of standard input, what came of them by lines of standard output."""
    retry.policy = retry.Policy(first_delay=0.01, longest_delay=0.1)
    for line in sys.stdin:
        delivered = deliver(Job(**json.loads(line)))
        gc.collect()  # a DataLoader that an error ended has its workers go on until it is gone
        assert not multiprocessing.active_children()
        print(json.dumps(asdict(delivered)), flush=True)


if __name__ == "__main__":
    main()
