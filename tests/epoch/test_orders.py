"""What holds for every order: each position of it is delivered once, whoever goes on with it, in views of its own."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdata.epoch.balanced import Balanced
from fastdata.epoch.orders import Order, Orders, PlainOrders, orders_of
from fastdata.epoch.repeated import Repeated
from fastdata.epoch.weighted import Weighted
from fastdata.epoch.window import Window
from fastdata.errors import StateError
from support.orders import SAMPLES, SEED, WEIGHTS, cursor, mix, over, pairs, picked

KINDS: dict[str, Callable[[], Orders]] = {
    "plain": lambda: over(None),
    "window": lambda: over(None, Window(3, streams=4, window=9, global_batch=8)),
    "weighted": lambda: over(Weighted(WEIGHTS)),
    "weighted, long": lambda: over(Weighted(WEIGHTS, 333)),
    "balanced": lambda: over(Balanced()),
    "balanced, short": lambda: over(Balanced(7)),
    "balanced, long": lambda: over(Balanced(1300)),
    "repeated": lambda: over(Repeated(3)),
    "repeated, timm's length": lambda: over(Repeated(3, SAMPLES)),
    "repeated, in order": lambda: over(Repeated(2), shuffle=False),
    "mix": mix,
    "mix, in order": lambda: mix(shuffle=False),
    "mix, with a schedule": lambda: mix(schedule={0: [3, 2, 1], 2: [1, 0, 1], 4: [0, 0, 1]}),
}
kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
@settings(max_examples=25)
@given(epoch=st.integers(0, 5), data=st.data())
def test_positions_are_computed_alone_as_together(kind: str, epoch: int, data: st.DataObject) -> None:
    orders = KINDS[kind]()
    together = picked(orders, epoch)
    places = data.draw(st.lists(st.integers(0, orders.num_positions - 1), max_size=30))
    alone = pairs(KINDS[kind]().of(epoch).picks(np.array(places, np.int64)))
    assert alone == [together[place] for place in places]


@kinds
@pytest.mark.filterwarnings("ignore:the epoch.s final step")
@settings(max_examples=30, deadline=None)
@given(
    epoch=st.integers(0, 5),
    before=st.tuples(st.integers(1, 3), st.integers(1, 9)),
    after=st.tuples(st.integers(1, 3), st.integers(1, 9)),
    data=st.data(),
)
def test_ranks_and_who_goes_on_after_any_step_deliver_each_position_once(
    kind: str, epoch: int, before: tuple[int, int], after: tuple[int, int], data: st.DataObject
) -> None:
    delivered: list[tuple[int, int]] = []
    world_size, batch_size = before
    cursors = [cursor(KINDS[kind](), batch_size, rank, world_size) for rank in range(world_size)]
    steps = data.draw(st.integers(0, cursors[0].plan(0).steps(0)))
    for each in cursors:
        each.set_epoch(epoch)
        delivered += [pair for picks in list(each.begin().batches())[:steps] for pair in pairs(picks)]
    state = cursors[0].state_after(steps)
    world_size, batch_size = after
    for rank in range(world_size):
        other = cursor(KINDS[kind](), batch_size, rank, world_size)
        other.load(state, said=True)
        delivered += [pair for picks in other.begin().batches() for pair in pairs(picks)]
    assert Counter(delivered) == Counter(picked(KINDS[kind](), epoch))


@kinds
def test_no_view_of_a_sample_comes_twice_in_several_epochs(kind: str) -> None:
    orders = KINDS[kind]()
    seen = Counter(pair for epoch in range(6) for pair in picked(orders, epoch))
    assert max(seen.values()) == 1
    assert all(0 <= number < SAMPLES for number, _ in seen)


@kinds
def test_epochs_have_orders_of_their_own(kind: str) -> None:
    orders = KINDS[kind]()
    if orders.shuffle:
        numbers = [[number for number, _ in picked(orders, epoch)] for epoch in range(2)]
        assert numbers[0] != numbers[1]


@kinds
def test_a_state_of_another_order_is_an_error_that_says_so(kind: str) -> None:
    state = cursor(KINDS[kind](), 4, 0, 1).state_after(1)
    others = [over(Weighted(np.ones(SAMPLES))), over(Balanced(9)), over(Repeated(4)), mix(61), over(None, seed=9)]
    for other in others:
        with pytest.raises(StateError, match=r"in the state, .* here"):
            cursor(other, 4, 0, 1).load(state)
    cursor(KINDS[kind](), 4, 0, 1).load(state)


def test_the_state_of_a_plain_order_is_as_it_was() -> None:
    assert "order" not in cursor(over(None), 4, 0, 1).state_after(1)
    assert cursor(over(Balanced()), 4, 0, 1).state_after(1)["order"].startswith("Balanced(")


@pytest.mark.parametrize("shuffle", [None, True])
@pytest.mark.parametrize("order", [Weighted(WEIGHTS), Balanced()], ids=["weighted", "balanced"])
def test_what_draws_at_random_is_shuffled(order: Order, shuffle: bool | None) -> None:
    assert over(order, shuffle).shuffle
    with pytest.raises(ValueError, match="leave out shuffle=False"):
        over(order, shuffle=False)


def test_what_is_no_order_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"as fd.Balanced\(\), got a list"):
        over([1, 2])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no samples to draw from"):
        orders_of(None, 0, Repeated(2), True, SEED)
    with pytest.raises(ValueError, match="num_samples must be"):
        over(Repeated(2, 0))
    assert orders_of(None, 0, None, None, SEED) == PlainOrders(0, False, SEED)
