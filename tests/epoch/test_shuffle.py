"""How good the shuffle is. A test fails below p = 0.0001, and above 0.9999, which is too regular for chance."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from fastdata.epoch.order import EpochOrder


def p_value(statistic: float, degrees: int) -> float:
    """Of a chi-square statistic, by Wilson and Hilferty's normal approximation."""
    width = 2 / (9 * degrees)
    return 1 - NormalDist().cdf(((statistic / degrees) ** (1 / 3) - 1 + width) / math.sqrt(width))


def assert_like_chance(statistic: float, degrees: int) -> None:
    assert 1e-4 < p_value(statistic, degrees) < 1 - 1e-4


def chi_square(counts: np.ndarray[Any, Any], expected: np.ndarray[Any, Any] | float) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


def assert_independent(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], n: int, bins: int = 16) -> None:
    """Values a[i] and b[i], both in [0, n), have nothing to do with each other."""
    table = np.zeros((bins, bins))
    np.add.at(table, (a * bins // n, b * bins // n), 1)
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    assert_like_chance(chi_square(table, expected), (bins - 1) ** 2)


def whole_epoch(n: int, seed: int = 0, epoch: int = 0) -> np.ndarray[Any, Any]:
    return EpochOrder(n, shuffle=True, seed=seed, epoch=epoch).samples(0, n)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("varied", ["seed", "epoch"])
def test_all_permutations_of_a_few_samples_come_up_equally_often(n: int, varied: str) -> None:
    draws = 40 * math.factorial(n)
    seen = [tuple(whole_epoch(n, **{varied: number})) for number in range(draws)]
    counts = np.array([seen.count(permutation) for permutation in set(seen)])
    assert len(counts) == math.factorial(n)
    assert_like_chance(chi_square(counts, 40.0), len(counts) - 1)


@pytest.mark.parametrize("n", [7, 8, 13, 64, 257])
def test_every_sample_comes_at_every_position_equally_often(n: int) -> None:
    counts, draws = np.zeros((n, n)), 20 * n
    for seed in range(draws):
        counts[np.arange(n), whole_epoch(n, seed)] += 1
    # Rows and columns add up exactly, which shrinks the statistic by (n - 1) / n.
    assert_like_chance(chi_square(counts, draws / n) * (n - 1) / n, (n - 1) ** 2)


LARGE = [1025, 1031, 1056, 4096, 4099, 65536, 65537, 100_003]


@pytest.mark.parametrize("n", LARGE)
def test_position_says_nothing_about_the_sample(n: int) -> None:
    for seed in range(3):
        assert_independent(np.arange(n), whole_epoch(n, seed), n)


@pytest.mark.parametrize("n", LARGE)
def test_neighbours_have_nothing_to_do_with_each_other(n: int) -> None:
    for seed in range(3):
        ids = whole_epoch(n, seed)
        assert_independent(ids[0:-1:2], ids[1::2], n)
        assert_independent(ids[0:-1:2], (ids[1::2] - ids[0:-1:2]) % n, n)


@pytest.mark.parametrize("n", LARGE)
def test_epochs_and_seeds_have_nothing_to_do_with_each_other(n: int) -> None:
    assert_independent(whole_epoch(n), whole_epoch(n, epoch=1), n)
    assert_independent(whole_epoch(n), whole_epoch(n, seed=1), n)
    assert_independent(whole_epoch(n, seed=1), whole_epoch(n, epoch=1), n)


@pytest.mark.parametrize("n", [5, 8, 257, 1031, 4096])
def test_one_sample_on_average_stays_where_it_was(n: int) -> None:
    """As in any random permutation; the number of them is Poisson's, with mean and variance 1."""
    draws = 600
    stayed = [int((whole_epoch(n, seed) == np.arange(n)).sum()) for seed in range(draws)]
    assert abs(sum(stayed) / draws - 1) < 3.9 / math.sqrt(draws)


@pytest.mark.parametrize("n", [10**9, 10**9 + 7, 2**48])
def test_stretches_of_a_huge_epoch_are_spread_over_all_its_samples(n: int) -> None:
    order = EpochOrder(n, shuffle=True, seed=0, epoch=0)
    for start in (0, n // 3, n - 50_000):
        ids = order.samples(start, start + 50_000)
        assert_like_chance(chi_square(np.bincount(ids * 256 // n, minlength=256), 50_000 / 256), 255)
        assert_independent(ids[0::2], ids[1::2], n)
        assert_independent(ids, EpochOrder(n, shuffle=True, seed=0, epoch=1).samples(start, start + 50_000), n)
