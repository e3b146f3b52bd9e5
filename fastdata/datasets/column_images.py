"""Images in columns, by number: what Parquet files and Hugging Face's datasets have in common."""

import functools
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from fastdata.datasets.base import Transforms
from fastdata.datasets.fields import Declared, Target, Wanted, check_followed, declared
from fastdata.datasets.joining import join_tables
from fastdata.datasets.kept import Kept
from fastdata.datasets.mapping import Map
from fastdata.datasets.prepared import Data
from fastdata.datasets.selection import Selectable
from fastdata.errors import ReadError, TargetError
from fastdata.sample import Sample, key_hash
from fastdata.sources.columnar.arrow import Kind
from fastdata.sources.columnar.column_store import ColumnStore
from fastdata.sources.columnar.row_keys import digest_of, keys_of_rows
from fastdata.sources.regular import refuse_larger
from fastdata.sources.targets import read_field
from fastdata.transforms.fields import Field, Label, Npy, Raw, field_of


class ColumnImages(Selectable, Dataset[tuple[Tensor, Any]]):
    """Images in columns, by number. `open_store` gives the rows, of which it is told the columns that are needed."""

    def __init__(
        self,
        open_store: Callable[[list[str]], ColumnStore],
        transform: Transforms,
        image: str,
        target: Target,
        key: str | None,
        seed: int,
        max_pixels: int,
        map: Map | None,
        max_bytes: int,
    ) -> None:
        super().__init__(transform, seed, max_pixels, map, max_bytes)
        self.image, self.target = image, target
        fields = declared(target, Raw)
        named = [image, *([] if key is None else [key]), *(fields.components if fields else [])]
        self._store = store = open_store(list(dict.fromkeys(named)))
        if not store.kinds[image].is_bytes:
            raise ValueError(f"{store.where(0)}: its column {image!r} has {store.kinds[image].value}, not images")
        fields = declared(target, partial(_field_of, store.kinds))
        if fields is not None:
            check_followed(fields, self.transform)
        self._keys = keys_of_rows(store, image, key)
        self._kept = Kept(len(self._keys))
        self.left_out: Mapping[str, int] = {}
        self._fields = None if fields is None else self._join(fields)
        components = [] if fields is None or fields.named else fields.components
        self.classes = list((fields and fields.classes) or (store.classes[components[0]] if components else ()))
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}

    def _join(self, fields: Declared) -> Wanted:
        """The fields with their tables joined; which samples are kept is decided here."""
        joined = join_tables(fields, self.key_hashes, self._keys.__getitem__)
        self._kept, self.left_out = Kept(len(self._keys), joined.kept), joined.left_out
        return joined.wanted

    @property
    def num_samples(self) -> int:
        return len(self._kept)

    @property
    def block_ends(self) -> npt.NDArray[np.int64]:
        """Where row groups end, of which one is read at once: int64, of each the number behind its last sample's."""
        return self._kept.ends(self._store.ends)

    @property
    def block_size(self) -> int:
        """The samples of a row group, on average: a block of `shuffle="window"`."""
        return max(1, round(self.num_samples / max(1, len(self.block_ends))))

    @property
    def bytes_per_sample(self) -> float:
        """What a sample takes in its file, on average."""
        return self._store.num_bytes / len(self._keys)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A short name of the samples and their order, by which a resumed run knows its dataset."""
        whole = blake2b(self._store.digest + digest_of(self._keys), digest_size=8).hexdigest()
        return self._kept.fingerprint(whole)

    def key(self, number: int) -> str:
        return self._keys[self._kept.stored(number)]

    def key_hashes(self) -> npt.NDArray[np.uint64]:
        return self._kept.of(np.fromiter(map(key_hash, self._keys), np.uint64, len(self._keys)))

    @functools.cached_property
    def targets(self) -> npt.NDArray[np.int64] | list[Any]:
        """The target of every sample, as torchvision's: int64 where it is a column of integers.

        Any other is read from each sample, when first asked for.
        """
        field = None if self._fields is None or self._fields.named else self._fields.fields["target"]
        if isinstance(field, Raw | Label) and self._store.kinds[field.component] is Kind.INT:
            columns = list(self._store.whole(field.component))
            if not any(column.null_count for column in columns):
                targets = np.concatenate([np.asarray(column.cast("int64")) for column in columns])
                return self._kept.of(targets)
        return [self._target_of(number) for number in range(self.num_samples)]

    def where(self, number: int) -> str:
        return self._store.where(self._kept.stored(number))

    def read_beginning(self, number: int, length: int) -> bytes:
        return bytes(self._encoded(number)[:length])

    def _read(self, number: int) -> Sample[bytes]:
        return Sample(self.key(number), bytes(self._encoded(number)), self._target_of(number))

    def _read_in_memory(self, number: int) -> Sample[Data]:
        return Sample(self.key(number), self._encoded(number), self._target_of(number))

    def _encoded(self, number: int) -> Data:
        """A sample's image. ReadError where it has none."""
        data = self._store.file(self._kept.stored(number), self.image)
        if data is None:
            cause = f"its column {self.image!r} has no bytes here; a path alone is not followed"
            raise ReadError(cause, self.key(number), self.where(number))
        refuse_larger(f"its column {self.image!r}", len(data), self.max_bytes)
        return data

    def _target_of(self, number: int) -> Any:
        if self._fields is None:
            return -1
        try:
            return self._fields.read(number, partial(self._field, self._kept.stored(number)))
        except TargetError as error:
            raise error.at(self.key(number), self.where(number)) from error

    def _field(self, stored: int, field: Field) -> Any:
        column, kind = field.component, self._store.kinds[field.component]
        if kind.is_bytes:
            data = self._store.file(stored, column)
            if data is None:
                raise TargetError("is null")
            refuse_larger(f"its column {column!r}", len(data), self.max_bytes)
            return read_field(field, bytes(data))
        values, row = self._store.values(stored, column)
        if isinstance(field, Raw) or (isinstance(field, Npy) and kind is Kind.NUMBERS):
            return values.value(row)
        return read_field(field, values.component(row))


def _field_of(kinds: Mapping[str, Kind], column: str) -> Field:
    """What a target is that names a column alone."""
    return field_of(column) if kinds[column].is_bytes else Raw(column)
