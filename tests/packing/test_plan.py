from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.packing.plan import (
    SamplesPerShard,
    ShardCount,
    ShardPlan,
    ShardSize,
    parse_size,
    parse_split,
    plan_shards,
    split_samples,
)


def sizes_of(samples: int, size: int = 1000) -> np.ndarray:
    return np.full(samples, size, np.int64)


@given(st.integers(1, 10_000), st.data())
def test_shards_hold_consecutive_samples_and_differ_by_at_most_one(samples: int, data: st.DataObject) -> None:
    shards = data.draw(st.integers(1, samples))
    bounds = ShardPlan(samples, shards).bounds()
    counts = np.diff(bounds)
    assert len(counts) == shards
    assert (bounds[0], bounds[-1]) == (0, samples)
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("shards", [0, -1, 4])
def test_there_is_a_sample_for_each_shard_or_an_error(shards: int) -> None:
    with pytest.raises(ValueError, match=f"{shards} shards for 3 samples: there can be from 1 to 3"):
        plan_shards(sizes_of(3), ShardCount(shards))


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_no_shard_has_more_samples_than_wanted(samples: int, wanted: int) -> None:
    plan = plan_shards(sizes_of(samples), SamplesPerShard(wanted))
    assert np.diff(plan.bounds()).max() <= wanted
    assert plan.num_shards == -(-samples // wanted)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=300), st.integers(1, 10**7))
def test_no_shard_is_larger_than_wanted_unless_one_sample_is(sizes: list[int], limit: int) -> None:
    bounds = plan_shards(np.array(sizes, np.int64), ShardSize(limit)).bounds()
    totals = np.add.reduceat(sizes, bounds[:-1])
    archive = -(-(int(totals.max()) + 1024) // 10_240) * 10_240  # as tar ends and pads one
    assert archive <= limit or totals.max() <= max(sizes)


@given(st.integers(1, 3000), st.integers(20_000, 10**6))
def test_samples_of_one_size_make_no_more_shards_than_needed(samples: int, limit: int) -> None:
    shards = plan_shards(sizes_of(samples), ShardSize(limit)).num_shards
    in_one = (limit - 10_240) // 1000
    assert shards <= -(-samples // in_one) + 1 + shards // 100


@pytest.mark.parametrize("division", [SamplesPerShard(0), ShardSize(0), ShardSize(-5)])
def test_nothing_per_shard_is_an_error(division: SamplesPerShard | ShardSize) -> None:
    with pytest.raises(ValueError, match="per shard must be at least 1"):
        plan_shards(sizes_of(3), division)


@given(st.integers(1, 3000), st.lists(st.integers(1, 100), min_size=1, max_size=5), st.integers(0, 2**40))
def test_splits_are_disjoint_complete_ascending_and_exact_to_one_sample(
    samples: int, weights: list[int], seed: int
) -> None:
    fractions = {f"part{i}": Fraction(weight, sum(weights)) for i, weight in enumerate(weights)}
    try:
        parts = split_samples(samples, fractions, seed)
    except ValueError:
        assert min(fractions.values()) * samples < 1
        return
    assert list(parts) == list(fractions)
    for name, ids in parts.items():
        assert abs(len(ids) - fractions[name] * samples) < 1
        assert (np.diff(ids) > 0).all()
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(samples))


def test_a_split_depends_on_its_seed_and_on_nothing_else() -> None:
    halves = {"a": Fraction(1, 2), "b": Fraction(1, 2)}
    first, again, other = (split_samples(5000, halves, seed)["a"].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert abs(np.mean(first) - 2500) < 100  # from all over the folder


@pytest.mark.parametrize("text", ["train=0.9", "a=0.5,b=0.6", "a=1.5,b=-0.5", "a=1,b=0"])
def test_fractions_that_are_no_whole_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="must be positive and sum to 1"):
        split_samples(100, parse_split(text), 0)


def test_a_split_without_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="split val=1/100 gets none of 50 samples"):
        split_samples(50, parse_split("val=1/100,train=99/100"), 0)


def test_fractions_are_exact() -> None:
    assert parse_split("train=0.9, val=0.1") == {"train": Fraction(9, 10), "val": Fraction(1, 10)}
    assert sum(parse_split("a=1/3,b=1/3,c=1/3").values()) == 1


@pytest.mark.parametrize("text", ["", "train", "train=", "=1", "a=x,b=1", "a=1/0", "a=0.5,a=0.5", "a=1,"])
def test_what_is_no_split_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="split"):
        parse_split(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GB", 10**9), ("500 mb", 500 * 10**6), ("1.5GiB", 3 * 2**29), ("64K", 64_000), ("2TiB", 2**41), ("77", 77)],
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1XB", "1iB", "1 G B", "1e9", "١GB"])
def test_what_is_no_size_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)
