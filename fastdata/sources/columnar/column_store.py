"""What rows in columns can tell of themselves, wherever they lie."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastdata.sources.columnar.arrow import Kind, Values
from fastdata.sources.ranges import Data


class ColumnStore(Protocol):
    """Rows by number, from 0 on, in columns by name. Methods raise OSError where something can't be read."""

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What is in the columns that were asked for, and in the column of keys, if there is one."""

    @property
    def classes(self) -> Mapping[str, Sequence[str]]:
        """The names of the classes in those columns that have such."""

    @property
    def with_paths(self) -> frozenset[str]:
        """The columns of images that have a path for each."""

    @property
    def ends(self) -> npt.NDArray[np.int64]:
        """Where the blocks of rows end that are read at once: increasing, the last is the number of rows."""

    @property
    def num_bytes(self) -> int:
        """What all rows take."""

    @property
    def digest(self) -> bytes:
        """What tells these rows from others."""

    def file(self, number: int, column: str) -> Data | None:
        """The file in a row of a column that has such; None for null."""

    def values(self, number: int, column: str) -> tuple[Values, int]:
        """Values of a column among which that of a row is, and its row there."""

    def whole(self, name: str) -> Iterator[Any]:
        """A column of all rows, or a part of a struct, as Arrow arrays one after the other."""

    def numbered(self) -> Sequence[str]:
        """Keys for rows that have none. ValueError where there can be none."""

    def where(self, number: int) -> str:
        """The place of a row, for messages."""
