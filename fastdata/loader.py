"""`Loader`: threads decode straight into the batch's memory, and the batch is handed out as it lies there.

torch's DataLoader makes samples in processes and moves them; here decoders release the GIL, so threads do, and there
is nothing to move. Order, views and pixels are the dataset's: the same as through torch's DataLoader.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

from fastdata.crew import Crew, available_cpus
from fastdata.dali import Dali, DaliCrew, check_installed
from fastdata.datasets import ImageDirectoryDataset, TarImageDataset
from fastdata.image_dataset import ImageDataset
from fastdata.jobs import BatchJob, Memory, Setup
from fastdata.order import EpochOrder, EpochPlan, Last, Place, batches_of_samples
from fastdata.sample import Batch
from fastdata.skipping import SkipBudget, Skipped
from fastdata.state import EpochState


class Stats(NamedTuple):
    """Where the time of an iteration went. Seconds; those of the stages and waits are summed over all threads."""

    images: int
    seconds: float
    num_threads: int
    read: float
    draw: float
    decode: float
    resize: float
    threads_waited: float
    caller_waited: float

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def bottleneck(self) -> str:
        """The loader's longest stage if the caller waits for batches more than threads wait for it, else "caller"."""
        if self.threads_waited / self.num_threads > self.caller_waited:
            return "caller"
        return max(("read", "draw", "decode", "resize"), key=lambda stage: float(getattr(self, stage)))


class Loader:
    """Batches of a dataset, made by threads: `for images, targets in loader`.

    `images` is uint8, shape (N, 3, H, W), in channels-last memory, or what `normalize` makes of it. They are the same
    samples, order and pixels as torch's DataLoader gives. A batch's memory is used again only once it is dropped.

    dataset: an ImageDirectoryDataset, or a TarImageDataset (without a batch_size), whose transform ends in a
    fixed size. batch_size: of each rank. num_threads: the CPUs that this process may use, by default.
    shuffle: for map-style datasets, as in torch; shards say it themselves. last: how the epoch ends, see `EpochPlan`.
    prefetch: batches under way at most. device: where the batches go; "cuda" copies them from pinned memory on a stream
    of its own, to the GPU numbered LOCAL_RANK where that is set.
    normalize: a module or function that gets the images on their device, such as `Normalize.imagenet()`.
    decoder: "cpu", or "dali" (a `Dali(...)` with hints): NVIDIA DALI decodes, on the CPU or, with device "cuda", there.
    on_error: "raise" a SampleError for a bad sample, or "skip" it: another of its batch takes its place, and `skipped`
    lists it. With more than `max_skipped` in an epoch, over all ranks, the run stops, on all ranks at the same step.
    rank, world_size: detected where not given, as by the dataset.
    """

    def __init__(
        self,
        dataset: ImageDirectoryDataset | TarImageDataset,
        batch_size: int,
        *,
        num_threads: int | None = None,
        shuffle: bool | None = None,
        last: Last = "partial",
        prefetch: int = 3,
        device: str | torch.device | None = None,
        normalize: Callable[[Tensor], Tensor] | None = None,
        decoder: Literal["cpu", "dali"] | Dali = "cpu",
        on_error: Literal["raise", "skip"] = "raise",
        max_skipped: int = 100,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        _check(dataset, batch_size, num_threads, shuffle, last, prefetch, decoder, on_error, max_skipped)
        self.dataset = dataset
        self.batch_size = batch_size
        self.num_threads = num_threads or available_cpus()
        self.shuffle = dataset.shuffle if isinstance(dataset, TarImageDataset) else bool(shuffle)
        self.last: Last = last
        self.prefetch = prefetch
        self.device = _device(device)
        self.dali = Dali() if decoder == "dali" else decoder if isinstance(decoder, Dali) else None
        self.normalize = normalize.to(self.device) if isinstance(normalize, torch.nn.Module) else normalize
        self.on_error = on_error
        self.skipped: list[Skipped] = []
        self._max_skipped = max_skipped
        if rank is None and world_size is None and isinstance(dataset, TarImageDataset):
            rank, world_size = dataset.ranks
        self._ranks = (rank, world_size)
        self._position = 0
        self._images = self._delivered = 0
        self._finished_epoch = -1
        self._crew: Crew[BatchJob] | DaliCrew | None = None
        self._setup: Setup | None = None
        self._budget: SkipBudget | None = None
        self._memory: tuple[int, Memory] | None = None
        self._begun = self._ended = 0.0
        len(self)  # raises for a rank or an end of the epoch that there is not

    def plan(self) -> EpochPlan:
        """How the ranks share what is left of the epoch; a finished one begins anew."""
        return self._plan_from(0 if self._finished_epoch == self.dataset.epoch else self._position)

    def _plan_from(self, position: int) -> EpochPlan:
        world_size = Place.detect(*self._ranks).world_size
        return EpochPlan(self.dataset.num_samples, self.batch_size, world_size, self.last, position)

    def __len__(self) -> int:
        """The number of batches that an iteration gives this rank: the rest of the epoch."""
        return self.plan().steps(Place.detect(*self._ranks).rank)

    def __iter__(self) -> Iterator[Batch]:
        """Make what is left of the epoch. A running iteration of this Loader is closed by it."""
        self.close()
        if self._finished_epoch == self.dataset.epoch and (self.shuffle or not self.dataset.transform.is_fixed):
            warnings.warn(
                f"epoch {self.dataset.epoch} is run once more, with the same order and views: call set_epoch first",
                stacklevel=2,
            )
        plan = self.plan()
        plan.warn_if_uneven()
        self._budget = SkipBudget(self._max_skipped, plan, self.on_error == "skip", self._budget)
        return self._batches(plan, self._budget)

    def _batches(self, plan: EpochPlan, budget: SkipBudget) -> Iterator[Batch]:
        # All threads are begun and ended in here, so an iteration that is never begun leaves none behind.
        self.close()
        setup = self._setup = Setup(self.dataset, self._batch_memory(), self.device, self.on_error == "skip")
        crew = self._crew = self._new_crew(plan, setup)
        self._position, self._finished_epoch = plan.start, -1
        self._images = self._delivered = 0
        self._begun, self._ended = time.perf_counter(), 0.0
        try:
            for job in crew.start():
                bad = [Skipped.of(job.errors[row]) for row in sorted(job.errors)]
                self.skipped += bad
                budget.spend(len(bad))
                images, targets = job.batch()
                self._images += job.rows
                self._delivered += 1
                del job
                yield Batch(images if self.normalize is None else self.normalize(images), targets)
                del images, targets  # so that the memory is the caller's alone
            budget.settle()
            self._finished_epoch = self.dataset.epoch
        finally:
            if self._crew is crew:  # another iteration may have been begun since
                self._ended = time.perf_counter()
            crew.close()
            setup.memory.let_go()

    def _new_crew(self, plan: EpochPlan, setup: Setup) -> Crew[BatchJob] | DaliCrew:
        rank = Place.detect(*self._ranks).rank
        order = EpochOrder(self.dataset.num_samples, self.shuffle, self.dataset.seed, self.dataset.epoch)
        batches = batches_of_samples(order, plan, rank, range(plan.steps(rank)))
        if self.dali is not None:
            return DaliCrew(setup, batches, self.num_threads, self.prefetch, self.dali)
        return Crew((BatchJob(setup, ids) for ids in batches), self.num_threads, self.prefetch)

    def _batch_memory(self) -> Memory:
        """Kept from epoch to epoch, but not into another process."""
        if self._memory is None or self._memory[0] != os.getpid():
            width, height = self.dataset.transform.output_size or (0, 0)
            pinned = self.device is not None and self.device.type == "cuda"
            self._memory = (os.getpid(), Memory((self.batch_size, height, width, 3), pinned, self.prefetch + 3))
        return self._memory[1]

    def set_epoch(self, epoch: int) -> None:
        """Run this epoch next, from its start, or from the position of a loaded state if it is that state's epoch.

        A running iteration is closed: it would go on with the views of another epoch.
        """
        self.close()
        if epoch != self.dataset.epoch or self._finished_epoch == epoch:
            self._position = 0
        self._delivered = 0
        self._finished_epoch = -1
        self.dataset.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where to go on: after the batches that this Loader has handed out. A small dict that survives JSON."""
        plan = self._plan_from(self._position)
        delivered = min(self._delivered, plan.steps(0))
        return self._state(plan.position_after(delivered)).to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at the very next sample, with any number of ranks and threads and any batch size.

        StateError if the state is another dataset's, seed's or shuffle's; it says what differs.
        """
        loaded = EpochState.from_dict(state)
        loaded.check(self._state(0))
        self.set_epoch(loaded.epoch)
        self._position = loaded.position

    def _state(self, position: int) -> EpochState:
        dataset = self.dataset
        return EpochState(dataset.epoch, position, dataset.seed, self.shuffle, dataset.num_samples, dataset.fingerprint)

    def stats(self) -> Stats:
        """Where the time of the running, or else the last, iteration went."""
        if self._crew is None or self._setup is None:
            return Stats(0, 0.0, self.num_threads, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        seconds = (self._ended or time.perf_counter()) - self._begun
        read, draw, decode, resize = (nanoseconds / 1e9 for nanoseconds in self._setup.spent())
        threads_waited, caller_waited = self._crew.threads_waited_ns / 1e9, self._crew.caller_waited_ns / 1e9
        return Stats(self._images, seconds, self.num_threads, read, draw, decode, resize, threads_waited, caller_waited)

    def close(self) -> None:
        """End the threads of a running iteration, if there is one. The Loader can be iterated over again."""
        if self._crew is not None:
            self._crew.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check(
    dataset: ImageDataset,
    batch_size: int,
    num_threads: int | None,
    shuffle: bool | None,
    last: Last,
    prefetch: int,
    decoder: str | Dali,
    on_error: str,
    max_skipped: int,
) -> None:
    if not isinstance(dataset, ImageDataset):
        raise TypeError(f"Loader takes an ImageDirectoryDataset or a TarImageDataset, got {type(dataset).__name__}")
    for name, value in (("batch_size", batch_size), ("num_threads", num_threads), ("prefetch", prefetch)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if max_skipped < 0:
        raise ValueError(f"max_skipped must be at least 0, got {max_skipped}")
    if dataset.transform.output_size is None:
        raise ValueError(
            f"{dataset.transform} gives images of different sizes: end it with a fixed one, as RandomResizedCrop(224) "
            "or [Resize(256), CenterCrop(224)] have"
        )
    if isinstance(dataset, TarImageDataset):
        if shuffle is not None:
            raise ValueError("shuffle is for map-style datasets: shards take TarImageDataset(..., shuffle=True)")
        if dataset.batch_size not in (None, batch_size) or dataset.last not in ("partial", last):
            raise ValueError(
                f"the dataset has batch_size={dataset.batch_size} and last={dataset.last!r}, the Loader {batch_size} "
                f"and {last!r}: leave them to the Loader"
            )
    if decoder == "dali" or isinstance(decoder, Dali):
        check_installed()
    elif decoder != "cpu":
        raise ValueError(f"decoder must be 'cpu', 'dali' or a Dali(...), got {decoder!r}")
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")


def _device(device: str | torch.device | None) -> torch.device | None:
    """None for the CPU, where batches are already."""
    if device is None:
        return None
    device = torch.device(device)
    if device.type == "cpu":
        return None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device='cuda', but torch sees no CUDA device here: leave device out to stay on the CPU")
    return torch.device("cuda", _local_gpu()) if device.type == "cuda" and device.index is None else device


def _local_gpu() -> int:
    """This rank's GPU, by torchrun's LOCAL_RANK; the current one where a rank sees fewer, its own alone for example."""
    local_rank = int(os.environ.get("LOCAL_RANK", "-1"))
    return local_rank if 0 <= local_rank < torch.cuda.device_count() else torch.cuda.current_device()
