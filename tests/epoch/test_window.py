"""Shuffling by blocks: each sample once, few blocks at a time, ranks with blocks of their own; how well it mixes."""

import itertools
import tracemalloc
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

from fastdata.epoch.order import EpochOrder, Ids
from fastdata.epoch.orders import Order, PlainOrders, Shuffle, orders_of
from fastdata.epoch.plan import EpochPlan, Last
from fastdata.epoch.repeated import Repeated
from fastdata.epoch.sampler import EpochSampler
from fastdata.epoch.weighted import Weighted
from fastdata.epoch.window import Window, WindowOrders
from fastdata.errors import StateError
from support.orders import WEIGHTS, cursor, mix, over

SEED = 3
STREAMS, RUN, BLOCK, BLOCKS_A_WINDOW = 8, 4, 5, 6
"""Of `EVEN`: a round takes 32 positions, and windows have 30 samples."""
EVEN = Window(BLOCK, STREAMS, BLOCK * BLOCKS_A_WINDOW + 2, STREAMS * RUN)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Where nothing need divide anything."""
    streams = draw(st.integers(1, 9))
    return Window(
        draw(st.integers(1, 15)), streams, draw(st.integers(1, 60)), global_batch=streams * draw(st.integers(1, 7))
    )


def orders(window: Window, samples: int, seed: int = SEED) -> WindowOrders:
    return window.over(samples, seed, None)


def epoch_of(window: Window, samples: int, epoch: int = 0, seed: int = SEED) -> Ids:
    """The sample numbers of an epoch in their order."""
    return orders(window, samples, seed).of(epoch).picks(np.arange(samples)).numbers


def most_open(sequence: Ids) -> int:
    """Of how many things at most, by number, some were read and some are still to be read."""
    things, first = np.unique(sequence, return_index=True)
    last = len(sequence) - 1 - np.unique(sequence[::-1], return_index=True)[1]
    assert len(things) == len(first)
    changes = np.zeros(len(sequence) + 1, np.int64)
    np.add.at(changes, first, 1)
    np.add.at(changes, last + 1, -1)
    return int(np.cumsum(changes).max())


@given(windows(), st.integers(1, 400), st.integers(0, 3))
def test_each_sample_is_told_the_block_that_it_comes_with(window: Window, samples: int, epoch: int) -> None:
    of_epoch = orders(window, samples).of(epoch)
    begins, ends = of_epoch.blocks_of(np.arange(samples))
    blocks = sorted({*zip(begins.tolist(), ends.tolist(), strict=True)})
    assert [end for _, end in blocks] == [begin for begin, _ in blocks[1:]] + [samples]
    assert np.all((begins <= np.arange(samples)) & (np.arange(samples) < ends))
    line = of_epoch._samples(np.arange(samples))
    stops = [*range(0, samples, of_epoch.orders.block_size), samples]
    pairs = itertools.pairwise(stops)
    assert blocks == sorted((int(line[first]), int(line[stop - 1]) + 1) for first, stop in pairs)


# --- each sample once


@given(window=windows(), samples=st.integers(0, 700), seed=st.integers(0, 2**70), epoch=st.integers(0, 1000))
@settings(max_examples=400)
def test_an_epoch_has_every_sample_exactly_once(window: Window, samples: int, seed: int, epoch: int) -> None:
    numbers = epoch_of(window, samples, epoch, seed)
    assert numbers.dtype == np.int64
    assert np.array_equal(np.sort(numbers), np.arange(samples))


@given(window=windows(), samples=st.integers(1, 500), data=st.data())
def test_any_choice_of_positions_gives_the_samples_of_the_whole_epoch(
    window: Window, samples: int, data: st.DataObject
) -> None:
    whole = epoch_of(window, samples, 2)
    chosen = np.array(data.draw(st.lists(st.integers(0, samples - 1), max_size=40)), np.int64)
    before = chosen.copy()
    assert np.array_equal(orders(window, samples).of(2).picks(chosen).numbers, whole[chosen])
    assert np.array_equal(chosen, before)


@given(
    window=windows(),
    samples=st.integers(1, 300),
    last=st.sampled_from(["partial", "drop", "pad"]),
    batch_size=st.integers(1, 20),
    world_size=st.integers(1, 5),
)
def test_ranks_share_an_epoch_however_it_ends(
    window: Window, samples: int, last: Last, batch_size: int, world_size: int
) -> None:
    plan = EpochPlan(samples, batch_size, world_size, last)
    order = orders(window, samples).of(0)
    delivered = [order.picks(plan.positions(rank, 0, plan.steps(rank))).numbers.tolist() for rank in range(world_size)]
    counts = Counter(number for numbers in delivered for number in numbers)
    if last == "partial":
        assert counts == Counter(range(samples))
    elif last == "drop":
        assert set(counts.values()) <= {1}
        assert len(counts) == samples // plan.global_batch * plan.global_batch
    else:
        assert len(counts) == samples
        assert counts.total() == -(-samples // plan.global_batch) * plan.global_batch


def test_the_largest_windows_are_windows_of_everything() -> None:
    numbers = epoch_of(Window(7, 2**16, 2**40, 2**40), 10**6)
    assert np.array_equal(np.sort(numbers), np.arange(10**6))


def test_what_fills_no_block_is_not_always_the_same() -> None:
    """With "drop" the same samples would never be seen."""
    samples, full = 96 * BLOCK + 3, 96 * BLOCK
    dropped = {number for epoch in range(20) for number in epoch_of(EVEN, samples, epoch)[full:].tolist()}
    assert len(dropped) > 40


@pytest.mark.parametrize(
    ("samples", "window", "expected"),
    [
        (50, Window(3, streams=4, window=9, global_batch=8), [0, 38, 49, 48]),
        (1_280_000, Window(10), [821647, 1172475, 857486, 1212253]),
        (10**12 + 7, Window(37, streams=128), [123922199269, 152252814873, 865280779772, 464959611699]),
    ],
)
def test_the_order_is_the_same_on_every_platform_and_in_every_version(
    samples: int, window: Window, expected: list[int]
) -> None:
    assert orders(window, samples, 7).of(2).picks(np.arange(4)).numbers.tolist() == expected


def test_hundreds_of_millions_of_samples_cost_less_than_a_megabyte() -> None:
    tracemalloc.start()
    try:
        order = orders(Window(10), 10**8).of(0)
        numbers = np.concatenate([order.picks(np.arange(start, start + 256)).numbers for start in (0, 10**8 - 256)])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
    assert len(np.unique(numbers)) == 512


# --- block by block


def test_few_blocks_are_open_at_any_time() -> None:
    samples = 960 * BLOCK
    assert most_open(epoch_of(EVEN, samples) // BLOCK) <= STREAMS * BLOCKS_A_WINDOW
    assert most_open(EpochOrder(samples).samples(0, samples) // BLOCK) > 800


@pytest.mark.parametrize(("batch_size", "world_size"), [(32, 1), (8, 2), (16, 2), (8, 4), (4, 8), (4, 2), (8, 1)])
def test_a_rank_reads_blocks_of_its_own_where_batches_make_whole_rounds(batch_size: int, world_size: int) -> None:
    samples = 960 * BLOCK
    plan = EpochPlan(samples, batch_size, world_size)
    of_ranks = [
        epoch_of(EVEN, samples)[plan.positions(rank, 0, plan.steps(rank))] // BLOCK for rank in range(world_size)
    ]
    for blocks in of_ranks:
        assert len(np.unique(blocks)) == 960 // world_size
        assert most_open(blocks) <= STREAMS // world_size * BLOCKS_A_WINDOW


@pytest.mark.parametrize(("batch_size", "world_size"), [(16, 4), (8, 8), (4, 16), (16, 8)])
def test_ranks_with_more_than_a_round_in_a_step_share_blocks_with_some(batch_size: int, world_size: int) -> None:
    samples = 960 * BLOCK
    plan = EpochPlan(samples, batch_size, world_size)
    for rank in range(world_size):
        blocks = epoch_of(EVEN, samples)[plan.positions(rank, 0, plan.steps(rank))] // BLOCK
        streams = STREAMS * batch_size // EVEN.global_batch
        assert len(np.unique(blocks)) <= streams * 960 // STREAMS
        assert most_open(blocks) <= streams * BLOCKS_A_WINDOW


@given(steps=st.integers(0, 100), ranks=st.sampled_from([1, 2, 4, 8]), resumed=st.sampled_from([1, 2, 4, 8]))
def test_ranks_that_go_on_with_an_epoch_have_blocks_of_their_own_again(steps: int, ranks: int, resumed: int) -> None:
    samples = 960 * BLOCK
    order = epoch_of(EVEN, samples)
    start = EpochPlan(samples, 4, ranks).position_after(steps)
    plan = EpochPlan(samples, 4, resumed, "drop", start)
    readers: Counter[int] = Counter()
    for rank in range(resumed):
        positions = plan.positions(rank, 0, plan.steps(rank))
        readers.update(np.unique(order[positions] // BLOCK).tolist())
    assert set(readers.values()) == {1}


def test_windows_do_not_all_begin_at_once() -> None:
    """So that no more has to be read ahead in one step than in another."""
    samples = 4800 * BLOCK
    blocks = epoch_of(EVEN, samples) // BLOCK
    first = np.zeros(samples, np.int64)
    first[np.unique(blocks, return_index=True)[1]] = 1
    new = first.reshape(-1, 2 * EVEN.global_batch).sum(axis=1)
    assert new.max() < 3 * new.mean()


def test_epochs_streams_and_windows_are_shuffled_each_in_a_way_of_its_own() -> None:
    samples = 960 * BLOCK
    places = [epoch_of(EVEN, samples, epoch) % BLOCK for epoch in range(2)]  # whatever became of the blocks
    assert np.mean(places[0] == places[1]) < 0.3
    of_streams = (epoch_of(replace(EVEN, window=samples), samples) % BLOCK).reshape(-1, STREAMS, RUN)
    assert len({of_streams[:, stream].tobytes() for stream in range(STREAMS)}) == STREAMS
    only = epoch_of(Window(BLOCK, 1, 20 * BLOCK, 1), samples) % BLOCK
    assert len({window.tobytes() for window in only.reshape(-1, 20 * BLOCK)}) == samples // BLOCK // 20


@pytest.mark.parametrize("window", [10, 12, 19])
def test_windows_have_whole_blocks(window: int) -> None:
    assert orders(Window(10, window=window), 10**6).window_size == 10
    assert orders(Window(20, window=window), 10**6).window_size == window


# --- how well it mixes


def chi_square(order: Ids, class_size: int, batch: int) -> float:
    """That of the classes in a batch, on average, as a fraction of that of independent draws."""
    classes = len(order) // class_size
    batches = order[: len(order) // batch * batch].reshape(-1, batch) // class_size
    expected = batch / classes
    squares = [((np.bincount(each, minlength=classes) - expected) ** 2).sum() / expected for each in batches]
    return float(np.mean(squares)) / (classes - 1)


@pytest.mark.parametrize(
    ("window", "batch"),
    [
        (Window(10), 1024),
        (Window(10), 4096),
        (Window(10), 256),
        (Window(40, streams=32), 1024),
        (Window(50, window=500), 1024),
        (Window(10, window=100, global_batch=4096), 1024),
        (Window(1), 1024),
    ],
)
def test_the_excess_of_classes_in_a_batch_is_as_predicted(window: Window, batch: int) -> None:
    samples, class_size = 1_280_000, 1280
    sequences = orders(window, samples)
    simulated = chi_square(epoch_of(window, samples), class_size, batch) - (samples - batch) / (samples - 1)
    predicted = sequences.excess(batch)
    assert simulated == pytest.approx(predicted, rel=0.1, abs=0.02)


def test_it_is_about_as_predicted_where_windows_are_smaller_than_blocks() -> None:
    sequences = orders(Window(160, streams=8, window=80), 1_280_000)
    simulated = chi_square(sequences.of(0).picks(np.arange(1_280_000)).numbers, 1280, 1024) - 1
    assert simulated == pytest.approx(sequences.excess(1024), rel=0.25)


def test_one_window_of_all_samples_is_as_good_as_a_full_shuffle() -> None:
    assert orders(Window(10, window=10**6), 10**6).excess(1024) == pytest.approx(0, abs=0.01)
    assert orders(Window(10), 500).excess(100) == 0  # fewer blocks than streams
    in_one = chi_square(epoch_of(Window(10), 64_000), 640, 1024) - (64_000 - 1024) / (64_000 - 1)
    assert in_one == pytest.approx(orders(Window(10), 64_000).excess(1024), abs=0.03)


# --- as users say it


@pytest.mark.parametrize(
    ("shuffle", "expected"),
    [
        (True, PlainOrders(50, True, SEED)),
        ("full", PlainOrders(50, True, SEED)),
        (False, PlainOrders(50, False, SEED)),
        ("window", WindowOrders(50, SEED, Window(), 7)),
        (Window(streams=8), WindowOrders(50, SEED, Window(streams=8), 7)),
        (Window(9), WindowOrders(50, SEED, Window(9), 9)),
    ],
)
def test_a_shuffle_is_said_by_name_or_value(shuffle: Shuffle, expected: Any) -> None:
    assert orders_of(SimpleNamespace(bytes_per_sample=150_000.0), 50, None, shuffle, SEED) == expected


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"streams": 0}, "streams must be from 1"),
        ({"window": 0}, "window must be from 1"),
        ({"block_size": 0}, "block_size must be from 1"),
        ({"streams": 10**6}, "streams must be from 1 to 65536, not 1000000"),
        ({"window": 10**13}, "window must be from 1 to"),
        ({"streams": 3}, "global_batch=1024 must be a multiple of streams=3"),
    ],
)
def test_absurd_windows_are_errors(how: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Window(**how)


def test_a_shuffle_that_says_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'full', 'window' or a fd.Window\(...\), not 'windows'"):
        over(None, "windows")  # type: ignore[arg-type]


def test_a_dataset_without_bytes_needs_the_size_of_a_block() -> None:
    with pytest.raises(ValueError, match=r"say it, shuffle=fd.Window\(block_size=...\)"):
        over(None, "window")


@pytest.mark.parametrize("order", [Weighted(WEIGHTS), Repeated(2)], ids=["weighted", "repeated"])
def test_an_order_of_its_own_goes_with_no_window(order: Order) -> None:
    with pytest.raises(ValueError, match=f"{type(order).__name__} picks among all samples, .* leave out the window"):
        over(order, Window(3))


def test_a_state_of_another_shuffle_is_refused() -> None:
    window = Window(3, streams=4, window=9, global_batch=8)
    state = cursor(over(None, window), 4, 0, 1).state_after(2)
    assert state["order"] == "Window(block_size=3, streams=4, window=9, global_batch=8)"
    cursor(over(None, window), 5, 0, 3).load(state)
    others: list[Shuffle] = [True, *(replace(window, **change) for change in CHANGES)]
    for other in others:
        with pytest.raises(StateError, match=r"order is 'Window\(block_size=3, .* in the state"):
            cursor(over(None, other), 4, 0, 1).load(state)
    with pytest.raises(StateError, match="order is None in the state"):
        cursor(over(None, window), 4, 0, 1).load(cursor(over(None, True), 4, 0, 1).state_after(2))
    with pytest.raises(StateError, match="order is"):
        cursor(over(None, window), 4, 0, 1).load(cursor(mix(), 4, 0, 1).state_after(2))


CHANGES: list[dict[str, int]] = [{"block_size": 4}, {"streams": 2}, {"window": 8}, {"global_batch": 12}]


class Numbers(Dataset[int]):
    """A map-style dataset whose samples are their own numbers."""

    fingerprint = "numbers"

    def __len__(self) -> int:
        return 300

    def __getitem__(self, index: int) -> int:
        return index


def test_a_sampler_takes_it() -> None:
    samplers = [EpochSampler(Numbers(), 4, EVEN, rank=rank, world_size=2) for rank in range(2)]
    given = [list(map(int, sampler)) for sampler in samplers]
    whole = epoch_of(EVEN, 300, 0, 0)
    assert sorted(given[0] + given[1]) == list(range(300))
    assert given[0][:4] + given[1][:4] == whole[:8].tolist()
    assert samplers[0].shuffle is True
