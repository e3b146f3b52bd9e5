"""EpochOrder: each sample once, at any positions, the same everywhere."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.epoch.order import EpochOrder

# Small ones are sorted, from 1025 on a network permutes: primes, powers of two, and what lies beside them.
SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 10, 13, 256, 257, 1023, 1024, 1025, 1031, 1056, 1089, 4096, 4099, 65536, 65537]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_has_every_sample_exactly_once(n: int, shuffle: bool) -> None:
    ids = EpochOrder(n, shuffle, seed=3, epoch=1).samples(0, n)
    assert ids.dtype == np.int64
    assert np.array_equal(np.sort(ids), np.arange(n))


@given(n=st.integers(0, 2000), seed=st.integers(0, 2**80), epoch=st.integers(0, 1000), data=st.data())
def test_any_stretch_or_choice_of_positions_gives_the_ids_of_the_whole_epoch(
    n: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    order = EpochOrder(n, shuffle=True, seed=seed, epoch=epoch)
    whole = order.samples(0, n)
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    assert np.array_equal(order.samples(start, stop), whole[start:stop])
    chosen = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=9) if n else st.just([])), dtype=np.int64)
    assert np.array_equal(order.at(chosen), whole[chosen])


def test_positions_of_any_shape_give_ids_of_that_shape() -> None:
    order = EpochOrder(5000, shuffle=True, seed=0, epoch=0)
    assert np.array_equal(order.at(np.arange(600).reshape(20, 30)).ravel(), order.samples(0, 600))


def test_without_shuffle_ids_are_positions() -> None:
    assert EpochOrder(10**12, shuffle=False, seed=0, epoch=0).samples(10**11, 10**11 + 3).tolist() == [
        10**11,
        10**11 + 1,
        10**11 + 2,
    ]


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (10, [2, 4, 7, 6]),
        (2000, [120, 1406, 1084, 933]),
        (10**9, [676610355, 246035434, 400910999, 864893683]),
        (2**48, [137115884944417, 162612433696374, 81785427422214, 11968044440192]),
    ],
)
def test_the_order_is_the_same_on_every_platform_and_in_every_version(n: int, expected: list[int]) -> None:
    assert EpochOrder(n, shuffle=True, seed=7, epoch=2).samples(0, 4).tolist() == expected


@pytest.mark.parametrize("n", [10**9, 2**30 + 1, 2**47 + 1, 2**48])
def test_billions_of_samples_cost_less_than_a_megabyte(n: int) -> None:
    order = EpochOrder(n, shuffle=True, seed=1, epoch=0)
    tracemalloc.start()
    try:
        ids = np.concatenate([order.samples(0, 256), order.samples(n - 256, n)])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
    assert len(np.unique(ids)) == 512
    assert ids.min() >= 0
    assert ids.max() < n


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": -1}, "num_samples must be from 0 to .*, not -1"),
        ({"num_samples": 2**48 + 1}, "num_samples .* not 281474976710657"),
        ({"num_samples": 1, "seed": -2}, "seed must be at least 0, not -2"),
        ({"num_samples": 1, "epoch": -3}, "epoch must be at least 0, not -3"),
    ],
)
def test_an_order_out_of_range_is_an_error_with_the_value(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpochOrder(**{"shuffle": True, "seed": 0, "epoch": 0, **arguments})


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 1), (0, 11), (11, 11)])
def test_positions_outside_the_epoch_are_an_error(start: int, stop: int) -> None:
    order = EpochOrder(10, shuffle=True, seed=0, epoch=0)
    with pytest.raises(ValueError, match=rf"\[{start}, {stop}\) .* \[0, 10\)"):
        order.samples(start, stop)


@pytest.mark.parametrize("position", [-1, 10, 2**40])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_position_outside_the_epoch_is_an_error_that_names_it(position: int, shuffle: bool) -> None:
    order = EpochOrder(10, shuffle=shuffle, seed=0, epoch=0)
    with pytest.raises(ValueError, match=rf"position {position} is not within \[0, 10\)"):
        order.at(np.array([3, position], dtype=np.int64))
