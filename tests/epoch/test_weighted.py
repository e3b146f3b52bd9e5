"""Samples drawn with replacement, in proportion to weights."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.epoch.orders import orders_of
from fastdata.epoch.weighted import Weighted
from support.orders import SAMPLES, SEED, WEIGHTS, over, picked


def test_each_sample_comes_as_often_as_its_weight_says_up_to_one() -> None:
    for epoch in range(20):
        counts = Counter(number for number, _ in picked(over(Weighted(WEIGHTS, 333)), epoch))
        expected = WEIGHTS / WEIGHTS.sum() * 333
        assert all(np.floor(expected[i]) <= counts[i] <= np.ceil(expected[i]) for i in range(SAMPLES))


def test_over_many_epochs_each_sample_has_its_share() -> None:
    orders, epochs = over(Weighted(WEIGHTS)), 2000
    counts = np.bincount([number for epoch in range(epochs) for number, _ in picked(orders, epoch)])
    expected = WEIGHTS / WEIGHTS.sum() * SAMPLES * epochs
    assert np.abs(counts - expected).max() < 5 * np.sqrt(epochs) / 2


def test_any_two_samples_meet_in_an_epoch() -> None:
    orders = over(Weighted(np.ones(SAMPLES), SAMPLES // 2))
    met = np.zeros((SAMPLES, SAMPLES), bool)
    for epoch in range(60):
        numbers = [number for number, _ in picked(orders, epoch)]
        met[np.ix_(numbers, numbers)] = True
    assert met.all()


def test_equal_weights_give_each_sample_once() -> None:
    for epoch in range(200):
        assert sorted(picked(over(Weighted([0.1] * SAMPLES)), epoch)) == [(i, epoch) for i in range(SAMPLES)]


def test_views_count_from_the_epochs_own_on() -> None:
    weights = np.zeros(SAMPLES)
    weights[7] = 2.5
    assert sorted(picked(over(Weighted(weights, 3)), 6)) == [(7, 6 + time * 2**32) for time in range(3)]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"one weight for each of 50 samples, got shape \(1,\)"),
        ([1.0] * 49 + [-1], "weight of sample 49 is -1"),
        ([float("nan")] + [1.0] * 49, "weight of sample 0 is nan"),
        ([0.0] * 50, "sum of all weights is 0"),
    ],
)
def test_weights_that_are_none_are_an_error(weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        over(Weighted(weights))


def test_an_epoch_out_of_range_is_an_error() -> None:
    with pytest.raises(ValueError, match="epoch must be from 0 to"):
        over(Weighted(WEIGHTS)).of(2**32)


@given(
    weights=st.lists(st.floats(0, 1e6), min_size=1, max_size=60).filter(lambda some: sum(some) > 0),
    length=st.integers(1, 2000),
    epoch=st.integers(0, 2**32 - 1),
)
def test_no_tick_is_lost_or_doubled(weights: list[float], length: int, epoch: int) -> None:
    orders = orders_of(None, len(weights), Weighted(weights, length), None, SEED)
    drawn = picked(orders, epoch)
    assert len(set(drawn)) == length
    for number, times in Counter(number for number, _ in drawn).items():
        assert weights[number] > 0
        assert sorted(view for n, view in drawn if n == number) == [epoch + t * 2**32 for t in range(times)]


def test_a_sample_that_comes_often_is_spread_over_the_epoch() -> None:
    weights = np.ones(SAMPLES)
    weights[7] = 50
    places = [place for place, (number, _) in enumerate(picked(over(Weighted(weights, 990)), 0)) if number == 7]
    assert len(places) == 500
    assert max(np.diff(places)) < 20
