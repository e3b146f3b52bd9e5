"""Each sample several times in a row."""

import pytest

from fastdata.epoch.repeated import Repeated
from support.orders import SAMPLES, over, picked


def test_each_sample_comes_so_often_in_a_row_in_as_many_views() -> None:
    pairs = picked(over(Repeated(3)), 4)
    plain = [number for number, _ in picked(over(None), 4)]
    assert pairs == [(number, 4 + time * 2**32) for number in plain for time in range(3)]


def test_a_shorter_epoch_goes_on_where_the_last_one_ended() -> None:
    whole = [pair for epoch in range(2) for pair in picked(over(Repeated(3)), epoch)]
    short = [pair for epoch in range(6) for pair in picked(over(Repeated(3, SAMPLES)), epoch)]
    assert short == whole


def test_once_is_the_plain_order() -> None:
    assert picked(over(Repeated(1)), 2) == picked(over(None), 2)


def test_less_than_once_is_an_error() -> None:
    with pytest.raises(ValueError, match="times must be at least 1, not 0"):
        Repeated(0)
