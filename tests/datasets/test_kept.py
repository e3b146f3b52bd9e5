"""Which of the stored samples are kept, against numpy's own indexing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.datasets.kept import Kept

STORED = 20
choices = st.none() | st.lists(st.integers(0, STORED - 1), min_size=1, unique=True).map(sorted)


@given(choices, st.data())
def test_numbers_are_those_of_the_samples_that_are_kept(chosen: list[int] | None, data: st.DataObject) -> None:
    kept = Kept(STORED, None if chosen is None else np.array(chosen))
    here = list(range(STORED)) if chosen is None else chosen
    assert len(kept) == len(here)
    assert [kept.stored(number) for number in range(len(here))] == here
    assert kept.of(np.arange(STORED)).tolist() == here
    some = data.draw(st.lists(st.integers(0, len(here) - 1), min_size=1))
    assert kept.some_stored(some).tolist() == [here[number] for number in some]


@given(choices, st.integers(-5, -1) | st.integers(STORED, STORED + 5))
def test_a_number_that_no_sample_has_is_an_error(chosen: list[int] | None, number: int) -> None:
    kept = Kept(STORED, None if chosen is None else np.array(chosen))
    with pytest.raises(IndexError, match=f"sample {number} of {len(kept)}"):
        kept.stored(number)
    with pytest.raises(IndexError, match=f"sample {number} of {len(kept)}"):
        kept.some_stored([0, number])


@given(choices, st.sets(st.integers(0, STORED - 1)))
def test_blocks_of_stored_samples_end_where_their_kept_ones_do(chosen: list[int] | None, inner: set[int]) -> None:
    kept = Kept(STORED, None if chosen is None else np.array(chosen))
    ends = sorted({*inner, STORED})  # and where the first block is empty, at 0
    blocks = np.searchsorted(ends, kept.of(np.arange(STORED)), side="right").tolist()  # that each kept sample is of
    following = [*blocks[1:], None]
    assert kept.ends(np.array(ends)).tolist() == [
        number for number, (this, after) in enumerate(zip(blocks, following, strict=True), 1) if this != after
    ]


def test_a_fingerprint_is_that_of_all_where_all_are_kept() -> None:
    assert Kept(STORED).fingerprint("whole") == "whole"
    some = {Kept(STORED, np.array(numbers)).fingerprint("whole") for numbers in ([0], [1], [0, 1])}
    assert len(some | {"whole"}) == 4
