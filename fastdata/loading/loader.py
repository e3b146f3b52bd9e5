"""`Loader`: threads decode straight into the batch's memory, and the batch is handed out as it lies there.

torch's DataLoader makes samples in processes and moves them; here decoders release the GIL, so threads do, and there
is nothing to move. Order, views and pixels are the dataset's: the same as through torch's DataLoader.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, Unpack

import torch
from torch import Tensor
from torch.utils.data import Dataset

from fastdata.cpus import available_cpus
from fastdata.datasets.far import expected
from fastdata.datasets.streams import TarImageStream
from fastdata.epoch.cursor import EpochCursor
from fastdata.epoch.orders import Order, OrdersOfBatches, Shuffle
from fastdata.epoch.plan import Last
from fastdata.epoch.run import Run
from fastdata.loading.arguments import check_choices, check_functions, check_numbers, dali_of, dataset_for, orders_for
from fastdata.loading.batch_job import BatchJob, MappedJob, Setup
from fastdata.loading.batch_transform import BatchTransform
from fastdata.loading.crew import Crew
from fastdata.loading.dali.options import Dali
from fastdata.loading.devices import device_of
from fastdata.loading.iteration import BatchCrew, Iteration
from fastdata.loading.layout import layouts
from fastdata.loading.memory import Memory
from fastdata.loading.skipping import SkipBudget, Skipped
from fastdata.loading.stats import Stats
from fastdata.loading.torch_names import TorchNames, last_of, num_threads_of
from fastdata.sample import Batch


class Loader:
    """Batches of a dataset, made by threads: `for images, targets in loader`.

    `images` is uint8, shape (N, 3, H, W), in channels-last memory, or what `normalize` makes of it. They are the same
    samples, order and pixels as torch's DataLoader gives; `batch.keys` and `batch.views` say which, and how cut. A
    batch's memory is used again only once it is dropped.

    Each iteration runs the epoch after the last one, or that which `set_epoch` says.

    dataset: one of this package, or torch's Subset or ConcatDataset of such, whose transform ends in a fixed size. The
    Loader has an epoch of its own, whatever the dataset was told.
    order: another than the plain one: `Weighted`, `Balanced`, `Repeated` or `Buckets`; a TarImageDataset may have one.
    batch_size: of each rank. num_threads: the CPUs that this process may use, by default.
    shuffle: as in torch, over all samples ("full" is the same as True); or by blocks of neighbouring ones, for data
    that is far away: "window", or a `Window(...)`. A TarImageDataset's own where it is not given.
    last: how the epoch ends, see `EpochPlan`.
    prefetch: batches under way at most. device: where the batches go; "cuda" copies them from pinned memory on a stream
    of its own, to the GPU numbered LOCAL_RANK where that is set.
    normalize: a module or function that gets the images on their device, such as `Normalize.imagenet()`.
    batch_transform: a function of (images, targets) on their device, after `normalize`, that gives both anew, such as
    torchvision's v2.CutMix and MixUp or timm's Mixup; its random numbers are a function of (seed, epoch, step).
    decoder: "cpu", or "dali" (a `Dali(...)` with hints): NVIDIA DALI decodes, on the CPU or, with device "cuda", there.
    on_error: "raise" a SampleError for a bad sample, or "skip" it: another of its batch takes its place, and `skipped`
    lists it. With more than `max_skipped` in an epoch, over all ranks, the run stops, on all ranks at the same step.
    rank, world_size: detected where not given, as by the dataset.
    Of torch's names `drop_last` and `num_workers` are taken for `last="drop"` and `num_threads`; a TypeError for others
    says what to write.
    """

    batch_sampler = None
    """Lightning asks for it, before it validates, of whatever has a `sampler`."""

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        *,
        num_threads: int | None = None,
        shuffle: Shuffle | None = None,
        order: Order | None = None,
        last: Last | None = None,
        prefetch: int = 3,
        device: str | torch.device | None = None,
        normalize: Callable[[Tensor], Tensor] | None = None,
        batch_transform: BatchTransform | None = None,
        decoder: Literal["cpu", "dali"] | Dali = "cpu",
        on_error: Literal["raise", "skip"] = "raise",
        max_skipped: int = 100,
        rank: int | None = None,
        world_size: int | None = None,
        **torch_names: Unpack[TorchNames],
    ) -> None:
        num_threads = num_threads_of(num_threads, torch_names)
        self.last: Last = last_of(last, torch_names)
        self.dataset = dataset_for(dataset, batch_size, self.last)
        check_numbers(batch_size, num_threads, prefetch, max_skipped)
        check_choices(self.dataset, self.last, decoder, on_error)
        check_functions(normalize, batch_transform)
        orders = orders_for(self.dataset, order, shuffle)
        sizes = orders.sizes if isinstance(orders, OrdersOfBatches) else ()
        self.batch_size = batch_size
        self.num_threads = num_threads or available_cpus()
        self.shuffle = orders.shuffle
        self.prefetch = prefetch
        self.device = device_of(device)
        self.dali = dali_of(decoder, self.dataset, sizes)
        self.normalize = normalize.to(self.device) if isinstance(normalize, torch.nn.Module) else normalize
        self.batch_transform = batch_transform
        self.on_error = on_error
        self.skipped: list[Skipped] = []
        self._max_skipped = max_skipped
        self._cursor = EpochCursor(
            orders,
            batch_size,
            self.last,
            self.dataset.ranks if rank is None and world_size is None else (rank, world_size),
            partial(getattr, self.dataset, "fingerprint"),
        )
        self._iteration: Iteration | None = None
        self._layouts = layouts(self.dataset.transform, batch_size, sizes)
        self._memory: tuple[int, Memory] | None = None

    def __repr__(self) -> str:
        where = f"{self.num_threads} threads, decoder={self.dali or 'cpu'}, device={self.device or 'cpu'}"
        number = "" if self.dataset.is_stream else f"{len(self):,} "
        batches = f"{number}batches of {self.batch_size}, epoch {self.epoch}, shuffle={self.shuffle}"
        return f"<Loader: {batches}, {where}, of {self.dataset!r}>"

    @property
    def epoch(self) -> int:
        """The epoch that was begun last, or the one that was said or loaded since."""
        return self._cursor.epoch

    @property
    def sampler(self) -> EpochCursor:
        """What Lightning tells the epoch, by `loader.sampler.set_epoch`."""
        return self._cursor

    def __len__(self) -> int:
        """The number of batches of an epoch that are this rank's."""
        self._refuse_of_stream("a length")
        return self._cursor.plan(0).steps(self._cursor.place().rank)

    @property
    def remaining(self) -> int:
        """The number of batches that the next iteration gives this rank: the epoch, or the rest of a loaded one."""
        self._refuse_of_stream("a length")
        return self._cursor.next_plan().steps(self._cursor.place().rank)

    def __iter__(self) -> Iterator[Batch]:
        """Run the next epoch, or what is left of a loaded one. A running iteration of this Loader is closed by it.

        It is begun by its first batch: Lightning, and who only wants to know whether one can, call `iter` in vain.
        """
        iteration = self._begun()
        try:
            yield from iteration.batches(self.normalize, self.batch_transform, self.skipped)
        finally:
            iteration.close()

    def _begun(self) -> Iteration:
        self.close()
        run = self._cursor.begin()
        before = self._iteration.budget if self._iteration else None
        budget = SkipBudget(self._max_skipped, run.plan, self.on_error == "skip", before)
        setup = Setup(self.dataset, self._layouts, self._batch_memory(), self.device, self.on_error == "skip")
        crew = partial(_new_crew, setup, run, self.num_threads, self.prefetch, self.dali)
        self._iteration = Iteration(run, setup, crew, self.num_threads, budget)
        return self._iteration

    def _batch_memory(self) -> Memory:
        """Kept from epoch to epoch, but not into another process."""
        if self._memory is None or self._memory[0] != os.getpid():
            pinned = self.device is not None and self.device.type == "cuda"
            largest = max(layout.size for layout in self._layouts.values())
            self._memory = (os.getpid(), Memory((largest,), pinned, self.prefetch + 3))
        return self._memory[1]

    def set_epoch(self, epoch: int) -> None:
        """Run this epoch next, from its start, or from the position of a loaded state if it is that state's epoch."""
        self._cursor.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where to go on: after the batches that this Loader has handed out. A small dict that survives JSON."""
        self._refuse_of_stream("a state")
        reached = self._reached()
        return self._cursor.next_state() if reached is None else self._cursor.state_at(*reached)

    def _reached(self) -> tuple[int, int] | None:
        """Epoch and position of the iteration whose rest comes next; None where the next one is another."""
        iteration = self._iteration
        if iteration is None or self._cursor.begun() is None or (self._cursor.said and not iteration.runs):
            return None
        return self._cursor.reached(iteration.run, iteration.steps)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at the very next sample, with any number of ranks and threads and any batch size.

        StateError if the state is another dataset's, seed's, shuffle's or order's; it says what differs.
        """
        self._refuse_of_stream("a state")
        self._cursor.load(state)

    def _refuse_of_stream(self, what: str) -> None:
        """TypeError where samples come by a stream, of which nobody knows that."""
        if isinstance(self.dataset, TarImageStream):
            self.dataset.refuse(what)

    def stats(self) -> Stats:
        """Where the time of the running, or else the last, iteration went."""
        if self._iteration is None:
            return Stats(0, 0.0, self.num_threads, *[0.0] * 7)
        return self._iteration.stats()

    def close(self) -> None:
        """End the threads of a running iteration, if there is one. The Loader can be iterated over again."""
        if self._iteration is not None:
            self._iteration.close()

    def __getstate__(self) -> dict[str, Any]:
        """For a copy, here or in another process. It has no iteration yet, an epoch and a list `skipped` of its own.

        Its first iteration gives what is left of the one that runs here, as after `load_state_dict`, or where none
        does the next epoch.
        """
        runs = self._iteration is not None and self._iteration.runs
        reached = self._reached() if runs and not self.dataset.is_stream else None
        return {**self.__dict__, "_iteration": None, "_memory": None, "skipped": [*self.skipped], "_copied_at": reached}

    def __setstate__(self, state: dict[str, Any]) -> None:
        reached = state.pop("_copied_at")
        self.__dict__ |= state
        self._cursor = self._cursor.copy_at(reached)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _new_crew(setup: Setup, run: Run, num_threads: int, prefetch: int, dali: Dali | None) -> BatchCrew:
    kind = MappedJob if setup.dataset.is_mapped else BatchJob
    if isinstance(setup.dataset, TarImageStream):
        streamed = setup.dataset.batches_of(run, run.plan.batch_size, kept=prefetch + 1)
        return Crew((kind(setup, picks) for picks in streamed), num_threads, prefetch, streamed.close)
    batches = expected(setup.dataset, run)
    if dali is None:
        return Crew((kind(setup, picks) for picks in batches), num_threads, prefetch)
    from fastdata.loading.dali.crew import DaliCrew

    return DaliCrew(setup, batches, num_threads, prefetch, dali)
