import math
import subprocess
import sys
import tracemalloc
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastdata.epoch.order import EpochOrder
from fastdata.epoch.plan import EpochPlan, Last, Place, batches_of_samples

LASTS: tuple[Last, ...] = ("partial", "drop", "pad")

# Small ones are sorted, from 1025 on a network permutes: primes, powers of two, and what lies beside them.
SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 10, 13, 256, 257, 1023, 1024, 1025, 1031, 1056, 1089, 4096, 4099, 65536, 65537]

samples = st.integers(0, 2000)
batch_sizes = st.integers(1, 70)
ranks = st.integers(1, 16)
workers = st.integers(0, 8).map(lambda count: max(count, 1))  # 0 workers: the process alone, 0 of 1
lasts = st.sampled_from(LASTS)


@st.composite
def plans(draw: st.DrawFn) -> EpochPlan:
    n = draw(samples)
    start = draw(st.integers(0, n))
    return EpochPlan(n, draw(batch_sizes), draw(ranks), draw(lasts), start)


def batches_of(plan: EpochPlan, rank: int) -> list[list[int]]:
    return [plan.positions(rank, step).tolist() for step in range(plan.steps(rank))]


def global_batches(plan: EpochPlan) -> list[list[int]]:
    """The ranks' batches of each step, side by side."""
    by_rank = [batches_of(plan, rank) for rank in range(plan.world_size)]
    return [
        [position for batches in by_rank if step < len(batches) for position in batches[step]]
        for step in range(max(map(len, by_rank)))
    ]


def delivered(plan: EpochPlan) -> list[int]:
    return [position for batch in global_batches(plan) for position in batch]


# --- the shuffle


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_has_every_sample_exactly_once(n: int, shuffle: bool) -> None:
    ids = EpochOrder(n, shuffle, seed=3, epoch=1).samples(0, n)
    assert ids.dtype == np.int64
    assert np.array_equal(np.sort(ids), np.arange(n))


@given(n=samples, seed=st.integers(0, 2**80), epoch=st.integers(0, 1000), data=st.data())
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


# --- how good the shuffle is. A test fails below p = 0.0001, and above 0.9999, which is too regular for chance.


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


# --- the split


@given(plan=plans())
def test_what_is_left_of_an_epoch_is_delivered_exactly_once_and_only_the_choice_of_last_differs(
    plan: EpochPlan,
) -> None:
    left = list(range(plan.start, plan.num_samples))
    over = len(left) % plan.global_batch
    match plan.last:
        case "partial":
            assert delivered(plan) == left
        case "drop":
            assert delivered(plan) == left[: len(left) - over]
        case "pad":
            missing = plan.global_batch - over if over else 0
            from_the_start = [position % plan.num_samples for position in range(missing)]
            assert delivered(plan) == left + from_the_start


@given(plan=plans())
def test_steps_and_samples_of_a_rank_are_those_it_delivers(plan: EpochPlan) -> None:
    for rank in range(plan.world_size):
        batches = batches_of(plan, rank)
        assert plan.samples_of(rank) == sum(map(len, batches))
        assert all(batches)
        assert all(len(batch) == plan.batch_size for batch in batches[:-1])
        assert plan.positions(rank, 0, plan.steps(rank)).tolist() == [p for batch in batches for p in batch]


@given(plan=plans())
def test_ranks_take_equally_many_steps_unless_the_plan_says_it_is_uneven(plan: EpochPlan) -> None:
    steps = [plan.steps(rank) for rank in range(plan.world_size)]
    sizes = [plan.samples_of(rank) for rank in range(plan.world_size)]
    left = (plan.num_samples - plan.start) % plan.global_batch
    assert plan.uneven == (len(set(steps)) > 1) == (plan.last == "partial" and 0 < left < plan.world_size)
    assert max(steps) - min(steps) <= 1
    assert max(sizes) - min(sizes) <= 1
    if plan.last != "partial":
        assert len(set(sizes)) == 1


@given(n=samples, start=st.integers(0, 2000), each=st.integers(1, 8), last=lasts)
def test_full_global_batches_do_not_depend_on_the_number_of_ranks(n: int, start: int, each: int, last: Last) -> None:
    whole = each * 24
    seen = [
        global_batches(EpochPlan(n, whole // world_size, world_size, last, min(start, n)))
        for world_size in (1, 2, 3, 4, 8, 12)
    ]
    assert all(batches == seen[0] for batches in seen)


@given(plan=plans(), num_workers=workers, data=st.data())
def test_workers_in_turn_make_the_steps_of_their_rank(plan: EpochPlan, num_workers: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, plan.world_size - 1))
    by_worker = [list(plan.steps_of(rank, worker, num_workers)) for worker in range(num_workers)]
    in_turn = [by_worker[step % num_workers][step // num_workers] for step in range(plan.steps(rank))]
    assert in_turn == list(range(plan.steps(rank)))
    assert sum(map(len, by_worker)) == plan.steps(rank)


@given(plan=plans(), num_workers=workers, data=st.data())
def test_a_worker_computes_the_samples_of_its_batches_many_at_a_time(
    plan: EpochPlan, num_workers: int, data: st.DataObject
) -> None:
    order = EpochOrder(plan.num_samples, shuffle=True, seed=1, epoch=2)
    rank = data.draw(st.integers(0, plan.world_size - 1))
    worker = data.draw(st.integers(0, num_workers - 1))
    steps = plan.steps_of(rank, worker, num_workers)
    batches = [picks.numbers.tolist() for picks in batches_of_samples(order, plan, rank, steps)]
    assert batches == [order.at(plan.positions(rank, step)).tolist() for step in steps]


def test_samples_of_many_chunks_follow_each_other() -> None:
    order, plan = EpochOrder(30_001), EpochPlan(30_001, batch_size=2, world_size=1)
    ids = np.concatenate([picks.numbers for picks in batches_of_samples(order, plan, 0, range(plan.steps(0)))])
    assert np.array_equal(ids, order.samples(0, 30_001))


@given(plan=plans(), data=st.data(), batch_size=batch_sizes, world_size=ranks)
def test_a_run_resumed_anywhere_with_other_ranks_and_batches_goes_on_exactly(
    plan: EpochPlan, data: st.DataObject, batch_size: int, world_size: int
) -> None:
    taken = data.draw(st.integers(0, plan.steps(0)))
    position = plan.position_after(taken)
    before = [p for batch in global_batches(plan)[:taken] for p in batch]
    assert before[: position - plan.start] == list(range(plan.start, position))  # all else is padding
    resumed = EpochPlan(plan.num_samples, batch_size, world_size, "partial", position)
    assert delivered(resumed) == list(range(position, plan.num_samples))


@given(plan=plans(), data=st.data())
def test_a_run_resumed_as_it_was_takes_the_steps_that_it_would_have_taken(plan: EpochPlan, data: st.DataObject) -> None:
    taken = data.draw(st.integers(0, plan.steps(0)))
    start = plan.position_after(taken)
    resumed = EpochPlan(plan.num_samples, plan.batch_size, plan.world_size, plan.last, start)
    assert global_batches(resumed) == global_batches(plan)[taken:]


def test_padding_goes_round_and_round_a_tiny_dataset() -> None:
    plan = EpochPlan(2, batch_size=3, world_size=2, last="pad")
    assert [batches_of(plan, rank) for rank in range(2)] == [[[0, 1, 0]], [[1, 0, 1]]]


def test_a_resumed_run_is_padded_from_the_start_of_the_epoch() -> None:
    assert delivered(EpochPlan(10, batch_size=2, world_size=2, last="pad", start=7)) == [7, 8, 9, 0]


@pytest.mark.parametrize("last", LASTS)
def test_a_dataset_without_samples_has_no_steps(last: Last) -> None:
    assert [EpochPlan(0, 4, 3, last).steps(rank) for rank in range(3)] == [0, 0, 0]


def test_trillions_of_samples_on_thousands_of_ranks_are_no_more_work() -> None:
    plan = EpochPlan(2**48, batch_size=256, world_size=4096, start=2**47)
    assert plan.steps(4095) == 2**27
    assert plan.positions(4095, 2**27 - 1)[-1] == 2**48 - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": -1}, "num_samples .* not -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"world_size": 0}, "world_size must be at least 1, not 0"),
        ({"last": "all"}, "last must be one of 'partial', 'drop', 'pad', not 'all'"),
        ({"start": 11}, "start must be from 0 to 10, not 11"),
    ],
)
def test_a_plan_out_of_range_is_an_error_with_the_value(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpochPlan(**{"num_samples": 10, "batch_size": 2, **arguments})


def test_asking_a_plan_for_ranks_or_steps_it_does_not_have_is_an_error() -> None:
    plan = EpochPlan(10, batch_size=2, world_size=2)
    with pytest.raises(ValueError, match="rank must be from 0 to 1, not 2"):
        plan.steps(2)
    with pytest.raises(ValueError, match="rank must be from 0 to 1, not -1"):
        plan.samples_of(-1)
    with pytest.raises(ValueError, match=r"steps \[3, 4\) are not within rank 1's \[0, 3\)"):
        plan.positions(1, 3)
    with pytest.raises(ValueError, match="steps must be from 0 to 3, not 4"):
        plan.position_after(4)


# --- the place


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_a_process_alone_is_rank_0_of_1_and_worker_0_of_1() -> None:
    assert Place.detect() == Place(0, 1, 0, 1) == Place()


def test_a_launcher_says_the_rank_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert Place.detect() == Place(rank=3, world_size=8)


def test_a_process_that_lightning_has_started_has_no_rank_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "4", "LOCAL_RANK": "1", "NODE_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert Place.detect() == Place(rank=1, world_size=4)
    monkeypatch.setenv("NODE_RANK", "1")  # how many are on a node is not said: the rank may be 2 or 3
    with pytest.raises(ValueError, match="RANK=None and WORLD_SIZE=4"):
        Place.detect()


def test_explicit_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert Place.detect(rank=0, world_size=2, worker=1, num_workers=4) == Place(0, 2, 1, 4)


def test_an_initialized_process_group_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    try:
        assert Place.detect() == Place(rank=0, world_size=1)
    finally:
        torch.distributed.destroy_process_group()


class Places(torch.utils.data.Dataset[list[int]]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> list[int]:
        place = Place.detect()
        return [place.worker, place.num_workers]


def test_a_dataloader_worker_sees_itself() -> None:
    loader = torch.utils.data.DataLoader(Places(), batch_size=None, num_workers=2)
    assert list(loader) == [[0, 2], [1, 2], [0, 2], [1, 2]]


def test_detecting_a_place_does_not_import_torch() -> None:
    code = "import sys; from fastdata.epoch.plan import Place; Place.detect(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("half", ["rank", "world_size", "worker", "num_workers"])
def test_half_a_place_is_an_error(half: str) -> None:
    with pytest.raises(ValueError, match=f"{half}=0.*give both or neither"):
        Place.detect(**{half: 0})


def test_half_a_place_or_no_number_in_the_environment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ValueError, match="RANK=1 and WORLD_SIZE=None"):
        Place.detect()
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ValueError, match="WORLD_SIZE must be an integer, not 'two'"):
        Place.detect()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((2, 2), "rank must be from 0 to 1, not 2"),
        ((-1, 2), "rank must be from 0 to 1, not -1"),
        ((0, 0), "world_size must be at least 1, not 0"),
        ((0, 1, 3, 3), "worker must be from 0 to 2, not 3"),
        ((0, 1, 0, 0), "num_workers must be at least 1, not 0"),
    ],
)
def test_an_impossible_place_is_an_error_with_the_value(place: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Place(*place)
