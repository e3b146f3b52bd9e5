"""What is kept, and what is made again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from fastdata.sources.sized_cache import Cache


class Value(NamedTuple):
    name: int
    nbytes: int = 10


class Made:
    """Makes values, and counts them."""

    def __init__(self, limit: int) -> None:
        self.cache, self.names = Cache(limit, at_once=4), list[int]()

    def get(self, name: int, nbytes: int = 10) -> Value:
        def make() -> Value:
            self.names.append(name)
            return Value(name, nbytes)

        return self.cache.get(name, make)


def test_the_last_used_are_kept_up_to_the_limit() -> None:
    made = Made(limit=30)
    for name in (1, 2, 3, 1, 4, 1, 3, 2):
        assert made.get(name).name == name
    assert made.names == [1, 2, 3, 4, 2]


def test_the_very_last_is_kept_however_large_it_is() -> None:
    made = Made(limit=30)
    for name in (1, 2, 2, 2, 1):
        made.get(name, 100 if name == 2 else 10)
    assert made.names == [1, 2, 1]


def test_threads_that_ask_for_one_value_have_it_made_once() -> None:
    made, barrier = Made(limit=1000), threading.Barrier(8)

    def ask(_: int) -> list[Value]:
        barrier.wait()
        return [made.get(name) for name in range(50)]

    with ThreadPoolExecutor(8) as pool:
        assert all(values == [Value(name) for name in range(50)] for values in pool.map(ask, range(8)))
    assert sorted(made.names) == list(range(50))


def test_what_can_not_be_made_is_tried_again() -> None:
    made = Made(limit=30)

    def fail() -> Value:
        raise OSError("now")

    with pytest.raises(OSError, match="now"):
        made.cache.get(1, fail)
    assert made.get(1) == Value(1)
