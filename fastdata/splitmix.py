"""Random numbers as arithmetic: splitmix64 (Steele, Lea and Flood, "Fast splittable …", OOPSLA 2014).

The number at an index is a function of a start and that index, the same on every platform, computed for as many as are
asked for.
"""

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

_GOLDEN, _MULTIPLY_1, _MULTIPLY_2 = (
    np.uint64(word) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_27, _30, _31 = (np.uint64(bits) for bits in (27, 30, 31))
_ALL = 2**64 - 1


def words(start: Words | np.uint64, indices: Words) -> Words:
    """The 64-bit numbers of the generator that starts at `start`, at `indices`; both are broadcast."""
    z = indices * _GOLDEN + start
    z = (z ^ (z >> _30)) * _MULTIPLY_1
    z = (z ^ (z >> _27)) * _MULTIPLY_2
    return z ^ (z >> _31)


def word(start: int, index: int) -> int:
    """One of these numbers, without numpy."""
    z = (index * 0x9E3779B97F4A7C15 + start) & _ALL
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _ALL
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _ALL
    return z ^ (z >> 31)


def uniform(start: int, index: int) -> float:
    """The number at an index from 0 on in [0, 1), a multiple of 2**-53."""
    return (word(start, index + 1) >> 11) * 2.0**-53
