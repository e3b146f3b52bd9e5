"""Parts of a dataset, each with its share."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.epoch.parts import Parts, PartsOrders, Schedule
from fastdata.errors import StateError
from support.orders import SAMPLES, SEED, cursor, mix, picked


def test_each_part_has_its_share_of_each_epoch() -> None:
    for epoch in range(5):
        numbers = np.array([number for number, _ in picked(mix(60), epoch)])
        assert np.histogram(numbers, [0, 30, 45, 50])[0].tolist() == [30, 20, 10]


def test_and_goes_through_its_samples_without_repeats_across_epochs() -> None:
    orders = mix(60)
    drawn = [pair for epoch in range(6) for pair in picked(orders, epoch)]
    views: dict[int, list[int]] = {}
    for number, view in drawn:
        views.setdefault(number, []).append(view)
    assert sorted(views) == list(range(SAMPLES))
    assert all(sorted(of_one) == list(range(6)) for number, of_one in views.items() if number < 30)
    assert all(sorted(of_one) == list(range(8)) for number, of_one in views.items() if 30 <= number < 45)
    assert all(sorted(of_one) == list(range(12)) for number, of_one in views.items() if number >= 45)


def test_weights_change_from_an_epoch_on_and_parts_go_on_where_they_were() -> None:
    orders = mix(60, {0: [3, 2, 1], 2: [1, 0, 1]})
    epochs = [picked(orders, epoch) for epoch in range(4)]
    shares = [np.histogram([n for n, _ in epoch], [0, 30, 45, 50])[0].tolist() for epoch in epochs]
    assert shares == [[30, 20, 10], [30, 20, 10], [30, 0, 30], [30, 0, 30]]
    assert sorted(view for n, view in epochs[0] + epochs[1] + epochs[2] + epochs[3] if n == 47) == list(range(16))


def test_in_order_parts_are_dealt_in_turn() -> None:
    orders = mix(12, {0: [1, 1, 0]}, shuffle=False)
    assert sorted(number for number, _ in picked(orders, 0)[:4]) == [0, 1, 30, 31]
    assert [number for number, _ in picked(orders, 1) if number < 30] == [6, 7, 8, 9, 10, 11]


def test_a_later_change_of_weights_leaves_a_state_what_it_is() -> None:
    state = cursor(mix(60, {0: [3, 2, 1], 2: [1, 1, 1]}), 4, 0, 1)
    state.set_epoch(2)
    at_its_start, later = state.state_after(0), state.state_after(1)
    cursor(mix(60, {0: [3, 2, 1], 2: [5, 1, 1]}), 4, 0, 1).load(at_its_start)
    with pytest.raises(StateError, match="order is 'Mix"):
        cursor(mix(60, {0: [3, 2, 1], 2: [5, 1, 1]}), 4, 0, 1).load(later)
    cursor(mix(60, {0: [3, 2, 1], 2: [1, 1, 1], 3: [0, 0, 1]}), 4, 0, 1).load(later)


def test_the_order_is_the_same_on_every_platform_and_in_every_version() -> None:
    assert picked(mix(60), 0)[:5] == [(30, 1), (1, 0), (20, 0), (37, 0), (42, 0)]
    assert picked(mix(60), 2)[:5] == [(21, 2), (26, 2), (7, 2), (1, 2), (27, 2)]


@given(n=st.integers(1, 40), seed=st.integers(0, 1000))
def test_each_pass_over_a_part_has_each_sample_once(n: int, seed: int) -> None:
    orders = PartsOrders(2 * n, True, seed, Parts(np.array([n, 7])), Schedule({0: np.array([1, 1])}), "Mix")
    passes: dict[int, list[int]] = {}
    for epoch in range(2):
        for number, view in picked(orders, epoch):
            if number < n:
                passes.setdefault(view, []).append(number)
    assert [sorted(numbers) for _, numbers in sorted(passes.items())] == [list(range(n))] * 2


def test_short_passes_are_in_every_order() -> None:
    orders = PartsOrders(6, True, SEED, Parts(np.array([3, 3])), Schedule({0: np.array([1, 0])}), "Mix")
    seen = Counter(
        tuple(n for n, v in picked(orders, epoch) if v == view) for epoch in range(600) for view in (2 * epoch,)
    )
    assert len(seen) == 6
    assert min(seen.values()) > 60


def test_each_pass_is_in_an_order_of_its_own() -> None:
    orders = PartsOrders(5000, True, SEED, Parts(np.array([5000])), Schedule({0: np.array([1])}), "Mix")
    firsts = [{number for number, _ in picked(orders, epoch)[:1000]} for epoch in range(2)]
    assert 100 < len(firsts[0] & firsts[1]) < 300


def test_an_order_over_many_windows_has_each_position_once() -> None:
    orders = PartsOrders(2500, True, SEED, Parts(np.array([2500])), Schedule({0: np.array([1])}), "Mix")
    assert sorted(number for number, _ in picked(orders, 0)) == list(range(2500))
