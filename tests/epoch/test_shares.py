"""Parts in proportion, evenly spread over an endless sequence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.epoch.shares import Interleaving, whole_weights

weights = st.lists(st.integers(0, 2**25), min_size=1, max_size=40).filter(any)


@pytest.mark.parametrize(
    ("given_weights", "whole"),
    [
        ([0.7, 0.3], [7, 3]),
        ([70, 30], [7, 3]),
        ([1e-3, 0, 3e-3], [1, 0, 3]),
        ([1 / 3, 2 / 3], [1, 2]),
        ([0.123456789123, 0.876543210877], [0.123456789123 * 2**30, 0.876543210877 * 2**30]),
        ([5], [1]),
    ],
)
def test_weights_become_whole_numbers_in_their_proportion(given_weights: list[float], whole: list[float]) -> None:
    assert whole_weights(given_weights).tolist() == [round(number) for number in whole]


def test_a_tiny_weight_is_not_lost() -> None:
    assert whole_weights([1e-30, 1]).tolist() == [1, 2**30]


@pytest.mark.parametrize("bad", [[-1.0, 2.0], [float("nan")], [float("inf"), 1.0], [0.0, 0.0]])
def test_other_weights_are_an_error(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        whole_weights(bad)


@given(whole=weights, start=st.integers(0, 2**45), length=st.integers(1, 300))
def test_each_part_counts_on_from_what_came_before(whole: list[int], start: int, length: int) -> None:
    interleaving = Interleaving.of(np.array(whole))
    parts, before = interleaving.at(np.arange(start, start + length))
    counts = interleaving.counts(start)
    assert counts.sum() == start
    for part, turn in zip(parts.tolist(), before.tolist(), strict=True):
        assert whole[part] > 0
        assert turn == counts[part]
        counts[part] += 1
    assert np.array_equal(counts, interleaving.counts(start + length))


@given(whole=weights, start=st.integers(0, 2**45), length=st.integers(0, 10_000))
def test_each_run_of_positions_has_the_parts_in_their_proportion(whole: list[int], start: int, length: int) -> None:
    interleaving = Interleaving.of(np.array(whole))
    counts = (interleaving.counts(start + length) - interleaving.counts(start))[: len(whole)]
    expected = np.array(whole) / sum(whole) * length
    levels = len(interleaving.tree).bit_length() - 2
    assert np.abs(counts - expected).max() <= max(levels, 1e-6)


@given(whole=st.lists(st.integers(0, 20), min_size=1, max_size=9).filter(any), rounds=st.integers(0, 2**40))
def test_counts_are_exact_where_all_shares_are_whole(whole: list[int], rounds: int) -> None:
    counts = Interleaving.of(np.array(whole)).counts(rounds * sum(whole))
    assert counts[: len(whole)].tolist() == [rounds * weight for weight in whole]


def test_large_weights_at_distant_positions_are_exact() -> None:
    interleaving = Interleaving.of(np.array([2**30 - 1, 2**30 - 1, 2]))
    assert interleaving.counts(2**45)[:3].tolist() == [2**44 - 2**14, 2**44 - 2**14, 2**15]
    parts, before = interleaving.at(np.array([2**45]))
    assert before.tolist() == [[2**44 - 2**14, 2**44 - 2**14, 2**15][parts[0]]]
