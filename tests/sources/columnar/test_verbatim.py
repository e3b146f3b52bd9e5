"""Values are found where they lie in a chunk."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fastdata.sources.columnar.arrow import Encoded
from fastdata.sources.columnar.verbatim import find_places

VALUES = st.lists(st.none() | st.binary(max_size=40) | st.sampled_from([b"", b"same", b"same" * 9]), max_size=12)


def written(value: bytes) -> bytes:
    return len(value).to_bytes(4, "little") + value


@given(VALUES, st.lists(st.binary(max_size=9), min_size=13, max_size=13), st.booleans())
def test_what_is_found_is_the_value_and_whatever_lies_there_is_found(
    values: list[bytes | None], between: list[bytes], once: bool
) -> None:
    chunk, before = b"", set[bytes]()
    for gap, value in zip(between, values, strict=False):
        if value is not None and not (once and value in before):
            chunk += gap + written(value)
            before.add(value)
    places = find_places(Encoded(pa.array(values, pa.binary())), chunk, 1000)
    for row, value in enumerate(values):
        place = places.of(row)
        if place is not None:
            offset, size = place
            assert chunk[offset - 1000 : offset - 1000 + size] == value
    if not any(between) and not once:
        assert [place is not None for place in map(places.of, range(len(values)))] == [v is not None for v in values]


def test_a_value_that_is_written_once_is_found_in_all_its_rows_and_not_taken_for_one_that_begins_alike() -> None:
    one, other, neither = (b"the same beginning: " + end for end in (b"b", b"z", b"k"))
    chunk = written(one) + written(b"between") + written(other)
    places = find_places(Encoded(pa.array([one, one, neither, b"between", b"between", other, other, one])), chunk, 0)
    found = [place and chunk[place[0] : sum(place)] for place in map(places.of, range(8))]
    assert found == [one, one, None, b"between", b"between", other, other, None]


def test_values_of_which_many_begin_alike_end_the_search() -> None:
    value = b"x" * (1 << 16)
    chunk = written(value[:-1] + b"y") * 30
    assert find_places(Encoded(pa.array([value] * 20)), chunk, 0).of(7) is None


def test_what_lies_far_behind_is_not_looked_for() -> None:
    places = find_places(Encoded(pa.array([b"value"])), bytes(1 << 20) + written(b"value"), 0)
    assert places.of(0) is None
