from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.errors import TargetError
from fastdata.sources.npy import read_npy
from support.annotated import npy


def headed(header: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(5),
        np.zeros((0, 3), np.uint8),
        np.array([(1, 2.5)], [("a", "<i4"), ("b", "<f8")]),
        np.array(["ab", "c"]),
    ],
)
def test_an_array_is_what_was_stored_in_native_order(array: Any) -> None:
    read = read_npy(npy(array))
    assert read.dtype.isnative
    assert read.tolist() == array.tolist()


@pytest.mark.parametrize(
    "header",
    [
        b"{[]: 1}",
        b"{'descr': (), 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': '<f4', 'fortran_order': False, 1: 2, 'shape': (1,)}",
        b"{'descr': [('a', '<f4'), 'b'], 'fortran_order': False, 'shape': ()}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1)}",
        b"{'descr': '|S0', 'fortran_order': False, 'shape': (10**9,)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1" + b"0" * 40 + b")}",
        b"(" * 9000,
        b"\x00",
        b"",
    ],
)
def test_a_header_that_numpys_parser_stumbles_over_is_a_target_error(header: bytes) -> None:
    with pytest.raises(TargetError):
        read_npy(headed(header, b"abcd"))


GOOD = npy(np.arange(12, dtype=np.int16).reshape(3, 4))


@pytest.mark.filterwarnings("ignore")  # the compiler's, of what a damaged header has it parse
@given(
    st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, len(GOOD)),
)
def test_damage_anywhere_gives_an_array_or_a_target_error(changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(GOOD)
    for place, byte in changes:
        damaged[place] = byte
    for data in (bytes(damaged), bytes(damaged[:cut])):
        with suppress(TargetError):
            assert isinstance(read_npy(data), np.ndarray)


WORDS = "'descr' 'fortran_order' 'shape' '<f4' '|O' False True () (1,) [ ] { } ( ) : , 1 -1 10L None ' b'' 1e400 ... *"
TOKENS = st.sampled_from(WORDS.split())


@pytest.mark.filterwarnings("ignore")
@given(st.lists(TOKENS, max_size=14))
def test_any_header_of_python_gives_an_array_or_a_target_error(tokens: list[str]) -> None:
    odd = " ".join(tokens)
    for header in (odd, f"{{'descr': '<f4', 'fortran_order': False, 'shape': (1,), {odd}}}"):
        with suppress(TargetError):
            assert isinstance(read_npy(headed(header.encode(), b"abcd")), np.ndarray)
