"""Batches of one shape out of several: each sample once, nearly all in the shape nearest to their own."""

import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, Subset

from fastdata.epoch.buckets import Buckets
from fastdata.epoch.order import Picks
from fastdata.epoch.orders import OrdersOfBatches, orders_of
from fastdata.epoch.plan import Last
from fastdata.errors import StateError
from fastdata.sample import Size
from support.orders import cursor

SIZES: list[Size] = [(256, 192), (224, 224), (192, 256)]
WIDTHS_AND_HEIGHTS = [(300, 400), (400, 300), (310, 300), (290, 300), (0, 0), (100, 900), (1, 70000)]


class Images(list[tuple[int, int]]):
    """A dataset that knows the sizes of its images, and nothing else."""

    @property
    def image_sizes(self) -> Any:
        return np.array(self, np.int32).reshape(-1, 2)

    def check_size(self, size: Size) -> None:
        pass


images = st.lists(st.sampled_from(WIDTHS_AND_HEIGHTS), min_size=1, max_size=120).map(Images)
shares = st.sampled_from([(12, 1), (6, 2), (4, 3), (3, 4), (1, 12)])


def over(dataset: Any, shuffle: bool = True, sizes: list[Size] = SIZES) -> OrdersOfBatches:
    orders = orders_of(dataset, len(dataset), Buckets(sizes), shuffle, seed=3)
    assert isinstance(orders, OrdersOfBatches)
    return orders


def nearest(image: tuple[int, int]) -> Size:
    """By the definition; the squarest for an image of unknown size."""
    aspect = math.log(image[0] / image[1]) if image[0] else 0
    return min(sorted(SIZES, key=lambda s: s[1] / s[0]), key=lambda s: abs(aspect - math.log(s[1] / s[0])))


def steps_of(dataset: Any, epoch: int, batch_size: int, world_size: int, **how: Any) -> list[list[Picks]]:
    """What each rank has in each step: all of the same size."""
    ranks = []
    for rank in range(world_size):
        each = cursor(over(dataset, how.pop("shuffle", True)), batch_size, rank, world_size, **how)
        if "state" in how:
            each.load(how["state"], said=True)
        else:
            each.set_epoch(epoch)
        ranks.append(list(each.begin().batches()))
    length = max(map(len, ranks))
    steps = [[batches[step] for batches in ranks if step < len(batches)] for step in range(length)]
    for step in steps:
        assert len({picks.size for picks in step}) == 1
    return steps


def together(steps: list[list[Picks]]) -> list[tuple[Size, list[int]]]:
    """Size and samples of each step, over all ranks."""
    samples = []
    for step in steps:
        assert step[0].size is not None
        samples.append((step[0].size, [number for picks in step for number in picks.numbers.tolist()]))
    return samples


@given(dataset=images, epoch=st.integers(0, 5), data=st.data())
def test_positions_are_computed_alone_as_together(dataset: Images, epoch: int, data: st.DataObject) -> None:
    order = over(dataset).of_batches(12).of(epoch)
    whole = order.picks(np.arange(len(dataset))).numbers
    positions = data.draw(st.lists(st.integers(0, len(dataset) - 1), max_size=30))
    assert order.picks(np.array(positions, np.int64)).numbers.tolist() == whole[positions].tolist()


@pytest.mark.filterwarnings("ignore:the epoch.s final step")
@given(dataset=images, share=shares, epoch=st.integers(0, 5))
def test_each_sample_comes_once_and_only_where_two_buckets_meet_in_another_ones_size(
    dataset: Images, share: tuple[int, int], epoch: int
) -> None:
    steps = together(steps_of(dataset, epoch, *share))
    assert sorted(number for _, numbers in steps for number in numbers) == list(range(len(dataset)))
    assert all(len(numbers) == 12 for _, numbers in steps[:-1])
    mixed = 0
    for size, numbers in steps:
        own = [nearest(dataset[number]) for number in numbers]
        assert size in own
        mixed += len(set(own)) > 1
    assert mixed < len(set(map(nearest, dataset)))


@pytest.mark.filterwarnings("ignore:the epoch.s final step")
@given(dataset=images, share=shares, other=shares, epoch=st.integers(0, 5))
def test_ranks_share_a_batch(dataset: Images, share: tuple[int, int], other: tuple[int, int], epoch: int) -> None:
    assert together(steps_of(dataset, epoch, *share)) == together(steps_of(dataset, epoch, *other))


@pytest.mark.filterwarnings("ignore:last=.drop. leaves nothing")
@pytest.mark.parametrize("last", ["drop", "pad"])
@given(dataset=images, share=shares, epoch=st.integers(0, 5))
def test_all_ranks_take_as_many_steps(last: Last, dataset: Images, share: tuple[int, int], epoch: int) -> None:
    steps = steps_of(dataset, epoch, *share, last=last)
    assert all(len(picks.numbers) == share[0] for step in steps for picks in step)
    assert all(len(step) == share[1] for step in steps)
    assert len(steps) == (len(dataset) + 11 * (last == "pad")) // 12
    partial = together(steps_of(dataset, epoch, 12, 1))
    assert [size for size, _ in together(steps)] == [size for size, _ in partial][: len(steps)]


@pytest.mark.filterwarnings("ignore:the epoch.s final step")
@settings(max_examples=30)
@given(dataset=images, share=shares, other=shares, epoch=st.integers(0, 5), data=st.data())
def test_a_run_goes_on_exactly_in_batches_of_as_many_samples(
    dataset: Images, share: tuple[int, int], other: tuple[int, int], epoch: int, data: st.DataObject
) -> None:
    whole = together(steps_of(dataset, epoch, *share))
    taken = data.draw(st.integers(0, len(whole) - 1))
    first = cursor(over(dataset), share[0], 0, share[1])
    first.set_epoch(epoch)
    first.begin()
    rest = steps_of(dataset, epoch, *other, state=first.state_of(first.begun(), taken))  # type: ignore[arg-type]
    assert together(rest) == whole[taken:]


def test_within_an_epoch_other_batches_can_not_go_on() -> None:
    dataset = Images(WIDTHS_AND_HEIGHTS * 10)
    made = cursor(over(dataset), 4, 0, 3)
    made.begin()
    with pytest.raises(StateError, match=r"of 12 over all ranks' in the state, '.* of 16 over all ranks' here"):
        cursor(over(dataset), 4, 0, 4).load(made.state_after(1))
    cursor(over(dataset), 4, 0, 4).load(made.state_after(0))
    last = made.plan(0).steps(0)
    following = cursor(over(dataset), 4, 0, 4)
    following.load(made.state_after(last))
    assert (following.begin().epoch, following.begun().plan.start) == (1, 0)  # type: ignore[union-attr]


def test_a_state_is_of_these_images_and_buckets() -> None:
    state = cursor(over(Images(WIDTHS_AND_HEIGHTS)), 2, 0, 1).state_after(0)
    turned = Images([(height, width) for width, height in WIDTHS_AND_HEIGHTS])
    for other in (over(turned), over(Images(WIDTHS_AND_HEIGHTS), sizes=[(256, 192), (224, 224), (192, 257)])):
        with pytest.raises(StateError, match="order is 'Buckets"):
            cursor(other, 2, 0, 1).load(state)


def test_epochs_differ_in_batches_in_their_order_and_in_what_is_left_for_the_last() -> None:
    dataset = Images(WIDTHS_AND_HEIGHTS * 19)
    epochs = [together(steps_of(dataset, epoch, 20, 1)) for epoch in range(40)]
    batches = Counter(frozenset(numbers) for steps in epochs for _, numbers in steps)
    assert len(batches) > 0.95 * batches.total()  # only of a bucket of fewer than one some may come again
    assert len({tuple(size for size, _ in steps) for steps in epochs}) > 10
    assert {size for steps in epochs for size, _ in steps[-1:]} == set(SIZES)
    dropped = Counter(number for steps in epochs for number in steps[-1][1])
    assert len(dropped) > 0.9 * len(dataset)


def test_without_shuffling_they_come_from_narrow_to_wide() -> None:
    dataset = Images(WIDTHS_AND_HEIGHTS * 9)
    (numbers,) = [numbers for _, numbers in together(steps_of(dataset, 7, 63, 1, shuffle=False))]
    order = sorted(SIZES, key=lambda size: size[1] / size[0])
    assert numbers == sorted(range(63), key=lambda number: order.index(nearest(dataset[number])))
    sizes = [size for size, _ in together(steps_of(dataset, 7, 10, 1, shuffle=False))]
    assert sizes == sorted(sizes, key=order.index)


@given(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_the_nearest_is_by_the_logarithm(width: int, height: int) -> None:
    ((size, _),) = together(steps_of(Images([(width, height)]), 0, 1, 1))
    distances = {s: abs(math.log(width / height) - math.log(s[1] / s[0])) for s in SIZES}
    assert distances[size] <= min(distances.values()) + 1e-9


def test_a_subset_and_several_datasets_have_the_sizes_of_theirs() -> None:
    dataset: Any = Images(WIDTHS_AND_HEIGHTS)
    both: Any = ConcatDataset([Subset(dataset, [1, -7]), dataset])
    expected = Images([(400, 300), (300, 400), *WIDTHS_AND_HEIGHTS])
    assert together(steps_of(both, 2, 2, 1)) == together(steps_of(expected, 2, 2, 1))


def test_what_has_no_images_is_an_error() -> None:
    with pytest.raises(TypeError, match="a dataset of this package"):
        orders_of(SimpleNamespace(), 4, Buckets(SIZES), True, 0)


@pytest.mark.parametrize("sizes", [[], [224], [(224,)], [(0, 3)], [(2.0, 3)], [(2, 3, 4)], ["ab"], [(1, 70000)]])
def test_sizes_that_are_none_are_errors(sizes: Any) -> None:
    with pytest.raises(ValueError, match=r"\(height, width\)(, two integers from 1 to 65535, got|, at least)"):
        Buckets(sizes)


def test_two_of_one_aspect_ratio_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(112, 112\) and \(224, 224\) have the same aspect|leave one out"):
        Buckets([(224, 224), (112, 112)])


def test_without_batches_there_are_no_buckets() -> None:
    made = cursor(over(Images(WIDTHS_AND_HEIGHTS)), None, 0, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="say batch_size="):
        made.begin()


def test_what_drop_leaves_is_no_batch_of_another_size() -> None:
    dataset = Images(WIDTHS_AND_HEIGHTS * 10)
    made = cursor(over(dataset), 16, 0, 1, last="drop")
    made.begin()
    following = cursor(over(dataset), 5, 0, 1, last="drop")
    following.load(made.state_after(made.plan(0).steps(0)))
    assert (following.begin().epoch, following.begun().plan.start) == (1, 0)  # type: ignore[union-attr]
