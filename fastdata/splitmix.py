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
_11, _27, _30, _31 = (np.uint64(bits) for bits in (11, 27, 30, 31))


def words(start: Words | np.uint64, indices: Words) -> Words:
    """The 64-bit numbers of the generator that starts at `start`, at `indices`; both are broadcast."""
    z = indices * _GOLDEN + start
    z = (z ^ (z >> _30)) * _MULTIPLY_1
    z = (z ^ (z >> _27)) * _MULTIPLY_2
    return z ^ (z >> _31)


def uniform(starts: Words, first: int, count: int) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1), multiples of 2**-53: of each of n starts those at `first` and the `count` - 1 after it.

    float64, shape (n, count).
    """
    indices = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    numbers: npt.NDArray[np.float64] = (words(starts[:, np.newaxis], indices) >> _11) * np.float64(2.0**-53)
    return numbers
