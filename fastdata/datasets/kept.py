"""Which of the stored samples a dataset has: all, or those that the tables of its target keep."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdata.epoch.identity import fingerprint_of_selected

Numbers = npt.NDArray[np.int64]


class Kept:
    """The samples that are kept of `stored` ones: those with these `numbers`, int64; None keeps all."""

    def __init__(self, stored: int, numbers: Numbers | None = None) -> None:
        self._numbers = numbers
        self._count = stored if numbers is None else len(numbers)

    def __len__(self) -> int:
        return self._count

    def stored(self, number: int) -> int:
        """A sample's number among the stored ones. IndexError for one that no sample has."""
        if not 0 <= number < self._count:
            raise IndexError(f"sample {number} of {self._count}")
        return number if self._numbers is None else int(self._numbers[number])

    def some_stored(self, numbers: Sequence[int]) -> Numbers:
        """The same of some samples, at least one: int64 of shape (N,)."""
        if min(numbers) < 0 or max(numbers) >= self._count:
            outside = next(number for number in numbers if not 0 <= number < self._count)
            raise IndexError(f"sample {outside} of {self._count}")
        chosen = np.array(numbers, np.int64)
        return chosen if self._numbers is None else self._numbers[chosen]

    def of(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Of a value for each stored sample those of the samples that are kept."""
        return column if self._numbers is None else column[self._numbers]

    def ends(self, ends: Numbers) -> Numbers:
        """Where blocks of stored samples end, as numbers of kept ones; blocks of which none is kept are left out."""
        of_kept = np.unique(ends if self._numbers is None else np.searchsorted(self._numbers, ends))
        return of_kept[of_kept > 0]

    def fingerprint(self, whole: str) -> str:
        """That of the samples that are kept, from that of all."""
        return whole if self._numbers is None else fingerprint_of_selected(whole, self._numbers)
