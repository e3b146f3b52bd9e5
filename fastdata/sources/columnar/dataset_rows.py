"""Rows of a `datasets.Dataset` of Hugging Face, which lie in Arrow's memory, as a rule that of mapped files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fastdata.sources.columnar.arrow import PATH, Encoded, Kind, Values, has_paths, kind_of, plain_array
from fastdata.sources.columnar.parquet import KEY, classes_of
from fastdata.sources.ranges import Data
from fastdata.sources.regular import read_regular

T = TypeVar("T", Encoded, Values)


class DatasetRows:
    """The rows of a `datasets.Dataset`, in its order. Nothing is decoded, and no image is copied.

    An image of which it has the path alone, as of those of a local folder, is read from there.
    """

    def __init__(self, dataset: Any, columns: Sequence[str]) -> None:
        self._dataset, self._columns = dataset, columns
        schema = dataset.data.schema
        missing = next((name for name in columns if name not in schema.names), None)
        if missing is not None:
            known = ", ".join(f"{field.name!r} ({kind_of(field.type).value})" for field in schema)
            raise ValueError(f"{self._name} has no column {missing!r}, but {known or 'none'}")
        wanted = [name for name in schema.names if name in (KEY, *columns)]
        self.kinds: Mapping[str, Kind] = {name: kind_of(schema.field(name).type) for name in wanted}
        self.classes = dict.fromkeys(columns, ()) | classes_of(dataset.features.arrow_schema.metadata, columns)
        images = [name for name, kind in self.kinds.items() if kind is Kind.IMAGE]
        self.with_paths = frozenset(name for name in images if has_paths(schema.field(name).type))
        indices = dataset._indices  # which rows are left, and in which order, after select and shuffle
        self._rows = None if indices is None else np.asarray(indices.column(0)).astype(np.int64)
        self._chunks = {name: [plain_array(chunk) for chunk in dataset.data.column(name).chunks] for name in wanted}
        self._ends = {name: np.cumsum([len(chunk) for chunk in self._chunks[name]]) for name in wanted}
        self._seen: dict[tuple[str, int, type], Any] = {}

    def __reduce__(self) -> tuple[type["DatasetRows"], tuple[Any, Sequence[str]]]:
        return DatasetRows, (self._dataset, self._columns)

    @property
    def ends(self) -> npt.NDArray[np.int64]:
        return np.arange(1, len(self._dataset) + 1, dtype=np.int64)

    @property
    def num_bytes(self) -> int:
        stored = self._dataset.data.nbytes
        return int(stored * len(self._dataset) / max(1, self._dataset.data.num_rows))

    @property
    def digest(self) -> bytes:
        return str(self._dataset._fingerprint).encode()

    def where(self, number: int) -> str:
        return f"{self._name}, row {number}"

    def numbered(self) -> Sequence[str]:
        """The numbers that rows had before any of them were selected, so that samples keep their keys."""
        rows = range(len(self._dataset)) if self._rows is None else self._rows.tolist()
        return [str(row) for row in rows]

    def whole(self, name: str) -> Iterator[Any]:
        import pyarrow as pa

        column, _, part = name.partition(".")
        chunks = self._chunks[column]
        if part:
            chunks = [chunk.flatten()[chunk.type.get_field_index(part)] for chunk in chunks]
        if self._rows is None:
            yield from chunks
        else:
            yield pa.concat_arrays(chunks).take(pa.array(self._rows))

    def file(self, number: int, column: str) -> Data | None:
        encoded, row = self._at(number, column, Encoded)
        data = encoded[row]
        if data is not None or column not in self.with_paths:
            return data
        chunk, row = self._locate(number, column)
        image = self._chunks[column][chunk][row].as_py()
        if image is None or not image[PATH]:
            return None
        if not Path(image[PATH]).is_absolute():
            raise OSError(f"{image[PATH]} is no local file: embed the images in the dataset, or load them locally")
        return read_regular(image[PATH])

    def values(self, number: int, column: str) -> tuple[Values, int]:
        return self._at(number, column, Values)

    def _at(self, number: int, column: str, kind: type[T]) -> tuple[T, int]:
        """A column's chunk that has a row, by `kind`, and the row there."""
        chunk, row = self._locate(number, column)
        found: T | None = self._seen.get((column, chunk, kind))
        if found is None:  # threads that meet each make one, of which the last stays
            found = self._seen[column, chunk, kind] = kind(self._chunks[column][chunk])
        return found, row

    def _locate(self, number: int, column: str) -> tuple[int, int]:
        """The chunk of a column that has a row, and the row there."""
        stored, ends = number if self._rows is None else int(self._rows[number]), self._ends[column]
        chunk = int(np.searchsorted(ends, stored, side="right"))
        return chunk, stored - (int(ends[chunk - 1]) if chunk else 0)

    @property
    def _name(self) -> str:
        files = self._dataset.cache_files
        return files[0]["filename"] if files else f"Hugging Face dataset {self._dataset._fingerprint}"
