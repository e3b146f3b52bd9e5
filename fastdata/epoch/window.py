"""`Window`: a shuffle for data that is far away. It reads blocks of neighbouring samples, and mixes many of them.

As `EpochOrder` it is arithmetic: positions become sample numbers when asked, and nothing of an epoch is stored.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np

from fastdata import splitmix
from fastdata.epoch.order import EpochOrder, Ids, Picks, _check, derived_seed, each_permuted

_BLOCK_BYTES = 1 << 20
_LARGEST, _MOST_STREAMS = 2**40, 2**16  # their product is an int64


@dataclass(frozen=True)
class Window:
    """Shuffling by blocks: `shuffle=fd.Window()`, or `shuffle="window"`. docs/shuffling.md has how well that mixes.

    Blocks of `block_size` neighbouring samples (by default as many as have about 1 MiB in the dataset's shards, or are
    in a row group of Parquet) are permuted, in a new order each epoch, and shared by `streams`. Each stream shuffles
    its samples within windows of `window`, of whole blocks where they fit. The epoch takes `global_batch` samples at a
    time, the same number from each stream, one stream after the other. The fewer than `streams` blocks that are left
    over come last, as one more window. Each sample comes exactly once. What is open at any time is `streams` windows.

    With B samples a rank and batch on R ranks, where B is a multiple of `global_batch` / `streams`, a rank reads

    - `streams` / R streams of its own, and so no block that another reads, if `global_batch` is a multiple of B * R;
    - the same `streams` * B / `global_batch` streams in all steps, with other ranks, if B * R is one of `global_batch`.

    Else it may read any. This holds up to the epoch's last, incomplete round of `global_batch` samples, or step; and
    where a run is resumed, on other numbers of ranks too, at a multiple of `global_batch` / `streams` samples. The
    order itself depends on neither ranks nor batches.

    ValueError for numbers below 1 or absurdly large, and for a `global_batch` that is no multiple of `streams`.
    """

    block_size: int | None = None
    streams: int = 64
    window: int = 1000
    global_batch: int = 1024

    def __post_init__(self) -> None:
        for name in ("block_size", "window", "global_batch"):
            if (value := getattr(self, name)) is not None:
                _check(name, value, 1, _LARGEST)
        _check("streams", self.streams, 1, _MOST_STREAMS)
        if self.global_batch % self.streams:
            raise ValueError(f"global_batch={self.global_batch} must be a multiple of streams={self.streams}")

    def over(
        self, samples: int, seed: int, bytes_per_sample: float | None, block_size: int | None = None
    ) -> "WindowOrders":
        """Its orders of so many samples; `block_size` is the dataset's, of what it reads at once.

        ValueError where it can't be told how many samples a block has.
        """
        size = self.block_size or block_size
        if size is not None:
            return WindowOrders(samples, seed, self, size)
        if bytes_per_sample is None:
            raise ValueError(
                "a window shuffle reads blocks of about 1 MiB, and of this dataset it is not known how many samples "
                "that is, as it is of shards: say it, shuffle=fd.Window(block_size=...)"
            )
        return WindowOrders(samples, seed, self, block_size_of(bytes_per_sample))


def block_size_of(bytes_per_sample: float) -> int:
    """How many samples a block has where it is not said."""
    return max(1, round(_BLOCK_BYTES / max(bytes_per_sample, 1)))


@dataclass(frozen=True)
class WindowOrders:
    """`Window` over so many samples, with blocks of `block_size`."""

    num_positions: int
    seed: int
    window: Window
    block_size: int
    shuffle: bool = True

    def name(self, epoch: int, position: int) -> str:
        """As `Orders` says."""
        return repr(replace(self.window, block_size=self.block_size))

    def of(self, epoch: int) -> "WindowEpoch":
        _check("epoch", epoch, 0)
        return WindowEpoch(self, epoch)

    @property
    def blocks(self) -> int:
        """The number of full blocks."""
        return self.num_positions // self.block_size

    @property
    def stream_size(self) -> int:
        """The number of samples of each stream, which are those of whole blocks."""
        return self.blocks // self.window.streams * self.block_size

    @property
    def window_size(self) -> int:
        """The number of samples of a window, which are those of whole blocks where it can have one."""
        size = self.window.window
        return size - size % self.block_size if size >= self.block_size else size

    def excess(self, batch: int) -> float:
        """By how much the chi-square of the classes in a batch (over all ranks) exceeds that of a full shuffle.

        As a fraction of that, if each block is all of one class and classes are many; 0 is as good as a full shuffle.
        With b samples a block it is about batch * (b - 1) / (streams * window): the expected number of samples in the
        batch that are of the same block as a given one, beyond what it is with all samples in one window.
        """
        window = min(self.window_size, self.stream_size)
        if window < 2:  # all samples are in the window that comes last
            return 0.0
        of_stream = max(batch, self.window.global_batch) / self.window.streams  # in one batch, one after the other
        stretch = of_stream / max(window, self.block_size)  # which may not lie in one window
        in_window = 1 - stretch / 3 if stretch < 1 else (1 - 1 / (3 * stretch)) / stretch
        together = (of_stream - 1) * in_window * min(1.0, (self.block_size - 1) / (window - 1))
        by_chance = (batch - 1) * (self.block_size - 1) / (self.num_positions - 1)
        return max(0.0, together - by_chance)


@dataclass(frozen=True)
class WindowEpoch:
    """One epoch of it.

    All permuted blocks stand in a line: first each stream's, stream after stream, then those left over, then the
    samples that fill no block. Positions become places in that line, and these samples.
    """

    orders: WindowOrders
    epoch: int

    def picks(self, positions: Ids) -> Picks:
        """As `OneEpoch` says."""
        in_streams = self.orders.stream_size * self.orders.window.streams
        is_rest = positions >= in_streams
        if not is_rest.any():
            return Picks(self._samples(self._in_streams(positions)), self.epoch)
        line = np.empty_like(positions)
        line[~is_rest] = self._in_streams(positions[~is_rest])
        rest = EpochOrder(self.orders.num_positions - in_streams, True, self._seed("rest"), self.epoch)
        line[is_rest] = in_streams + rest.at(positions[is_rest] - in_streams)
        return Picks(self._samples(line), self.epoch)

    def blocks(self, numbers: Ids) -> Ids:
        """The block that each of these samples is in: its first sample's number and the one behind its last, (n, 2)."""
        size, short_block, short = self.orders.block_size, self._short_block, self._short
        shifts = np.where(numbers < short_block + short, 0, short)
        begins = (numbers - shifts) // size * size + shifts
        is_short = (numbers >= short_block) & (numbers < short_block + short)
        return np.stack([begins, begins + np.where(is_short, short, size)], 1)

    @property
    def open_samples(self) -> int:
        """The most samples that blocks have of which some have come and others have not, over all ranks."""
        return min(self.orders.window.streams * self.orders.window_size, self.orders.num_positions)

    def _in_streams(self, positions: Ids) -> Ids:
        """The places in the line of positions at which streams take turns."""
        window, size = self.orders.window, self.orders.stream_size
        run = window.global_batch // window.streams
        rounds, last_run = divmod(size, run)
        turns = positions // window.global_batch
        runs = np.where(turns < rounds, run, last_run)  # the last round is a short one
        streams, within = np.divmod(positions - turns * window.global_batch, runs)
        line: Ids = streams * size + self._shuffled(streams, turns * run + within)
        return line

    def _shuffled(self, streams: Ids, places: Ids) -> Ids:
        """The places in their streams, shuffled within windows."""
        orders = self.orders
        size, shifts = orders.window_size, self._shifts[streams]
        windows = (places + shifts) // size
        begins: Ids = np.maximum(windows * size - shifts, 0)
        ends = np.minimum((windows + 1) * size - shifts, orders.stream_size)
        key = np.uint64(self._seed(f"windows {self.epoch}"))
        starts = splitmix.words(splitmix.words(key, streams.astype(np.uint64)), windows.astype(np.uint64))
        return begins + each_permuted(places - begins, ends - begins, starts)

    @functools.cached_property
    def _shifts(self) -> Ids:
        """By how much the windows of each stream are shifted, int64.

        So they begin in one stream after the other: if all of them were new at once, that much would have to be read
        ahead. A stream that fits into one window is left whole.
        """
        orders = self.orders
        shifts = np.arange(orders.window.streams, dtype=np.int64) * orders.window_size // orders.window.streams
        if orders.window_size >= orders.block_size:
            shifts -= shifts % orders.block_size
        return shifts if orders.window_size < orders.stream_size else np.zeros_like(shifts)

    def _samples(self, line: Ids) -> Ids:
        """The sample numbers at places of the line."""
        size, full = self.orders.block_size, self.orders.blocks
        blocks, within = np.divmod(line, size)
        order = EpochOrder(full, True, self._seed("blocks"), self.epoch)
        is_full = blocks < full
        blocks[is_full] = order.at(blocks[is_full])
        numbers: Ids = blocks * size + within
        numbers[is_full & (numbers >= self._short_block)] += self._short
        numbers[~is_full] = self._short_block + within[~is_full]
        return numbers

    @property
    def _short(self) -> int:
        """The number of samples that fill no block."""
        return self.orders.num_positions % self.orders.block_size

    @functools.cached_property
    def _short_block(self) -> int:
        """The first of them: another in each epoch, so that `last="drop"` does not always leave out the same."""
        places = EpochOrder(self.orders.blocks + 1, True, self._seed("short block"), self.epoch)
        return int(places.samples(0, 1)[0]) * self.orders.block_size

    def _seed(self, what: str) -> int:
        return derived_seed(self.orders.seed, what)
