"""Images in the columns of Parquet files, by number."""

import functools
import os
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from fastdata.datasets.base import Transforms
from fastdata.datasets.fields import Declared, Target, Wanted, check_followed, declared
from fastdata.datasets.joining import join_tables
from fastdata.datasets.mapping import Map
from fastdata.datasets.mix import Selectable
from fastdata.datasets.prepared import Data
from fastdata.epoch.identity import fingerprint_of_selected
from fastdata.errors import ReadError, TargetError
from fastdata.images.limits import MAX_PIXELS
from fastdata.sample import Sample, key_hash
from fastdata.sources.arrow import Kind
from fastdata.sources.parquet import ParquetFile, read_files, read_whole_column
from fastdata.sources.row_groups import Group, RowGroups
from fastdata.sources.row_keys import NumberedRows, digest_of, keys_of_rows
from fastdata.sources.targets import read_field
from fastdata.sources.urls import Urls, expand
from fastdata.transforms.fields import Field, Label, Npy, Raw, field_of

CACHE_BYTES = 256 << 20
"""Of row groups that a process keeps, where nothing else is said."""


class ParquetImageDataset(Selectable, Dataset[tuple[Tensor, Any]]):
    """Images in Parquet files, by number, as Hugging Face's datasets have them: `dataset[i]` is (uint8 tensor of shape
    (3, H, W), target).

    `urls` are paths, globs or brace notation of files, or URLs (`hf://datasets/…`, `s3://…`), of which only what is
    needed is read. The column `image` has encoded images, as structs of bytes and path or as bytes alone; a path is
    not followed.

    `target` is a column, a field (`fd.Boxes("objects", "bbox")`) or a table, or several by name, as
    `TarImageDataset` takes them; None makes targets -1. A column of integers, floats or text gives such, one of lists
    of numbers arrays, and one of bytes what its name ends in ("caption.txt", "boxes.npy"). `classes` are a
    ClassLabel's names where the file has Hugging Face's features.

    Keys are those of the column `key` (text or integers), by default of `__key__`, where there is one; else an image's
    path makes its key, as in a folder, where each row has one of its own; else it is `<file>/<row>`.

    Row groups are read whole, and `cache_bytes` of them kept by each process. An image in a column without compression
    is read alone once its row group was read; with compression, an order that leads through all row groups at random
    reads a whole one for nearly each sample, where they don't all fit. `block_ends` says where they end.
    """

    def __init__(
        self,
        urls: Urls,
        transform: Transforms = None,
        image: str = "image",
        target: Target = "label",
        key: str | None = None,
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
        map: Map | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        super().__init__(transform, seed, max_pixels, map)
        self.image, self.target = image, target
        fields = declared(target, Raw)
        columns = list(dict.fromkeys([image, *([] if key is None else [key]), *(fields.components if fields else [])]))
        files = _with_rows(read_files(_paths(urls), columns))
        self._kinds = _common_kinds(files, columns)
        if not self._kinds[image].is_bytes:
            raise ValueError(f"{files[0].path}: its column {image!r} has {self._kinds[image].value}, not images")
        fields = declared(target, partial(_field_of, self._kinds))
        if fields is not None:
            check_followed(fields, self.transform)
        self._groups = RowGroups(files, cache_bytes)
        self._keys = keys_of_rows(files, image, key)
        self._kept: npt.NDArray[np.int64] | None = None
        self.left_out: Mapping[str, int] = {}
        self._fields = None if fields is None else self._join(fields)
        self.classes = list((fields and fields.classes) or _classes(files, fields))
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}

    def _join(self, fields: Declared) -> Wanted:
        """The fields with their tables joined; which samples are kept is decided here."""
        joined = join_tables(fields, self._all_hashes, self._keys.__getitem__)
        self._kept, self.left_out = joined.kept, joined.left_out
        return joined.wanted

    @property
    def num_samples(self) -> int:
        return self._groups.num_rows if self._kept is None else len(self._kept)

    @property
    def block_ends(self) -> npt.NDArray[np.int64]:
        """Where row groups end, of which one is read at once: int64, of each the number behind its last sample's."""
        ends = self._groups.ends
        return np.unique(ends if self._kept is None else np.searchsorted(self._kept, ends))

    @property
    def block_size(self) -> int:
        """The samples of a row group, on average: `fd.Window(block_size=dataset.block_size)`."""
        return max(1, round(self.num_samples / max(1, len(self.block_ends))))

    @property
    def bytes_per_sample(self) -> float:
        """What a sample takes in its file, on average."""
        return sum(file.identity.size for file in self._groups.files) / self._groups.num_rows

    @functools.cached_property
    def fingerprint(self) -> str:
        digest = blake2b(digest_size=8)
        for file in self._groups.files:
            digest.update(file.digest + b"%d;" % file.identity.size)
        if isinstance(self._keys, NumberedRows):
            digest.update("/".join(self._keys.names).encode("utf-8", "surrogateescape"))
        else:
            digest.update(digest_of(self._keys))
        whole = digest.hexdigest()
        return whole if self._kept is None else fingerprint_of_selected(whole, self._kept)

    def key(self, number: int) -> str:
        return self._keys[self._stored(number)]

    def key_hashes(self) -> npt.NDArray[np.uint64]:
        return self._all_hashes() if self._kept is None else self._all_hashes()[self._kept]

    @functools.cached_property
    def targets(self) -> npt.NDArray[np.int64] | list[Any]:
        """The target of every sample, as torchvision's: int64 where it is a column of integers.

        Any other is read from each sample, when first asked for.
        """
        field = None if self._fields is None or self._fields.named else self._fields.fields["target"]
        if isinstance(field, Raw | Label) and self._kinds[field.component] is Kind.INT:
            columns = [read_whole_column(file, field.component) for file in self._groups.files]
            if not any(column.null_count for column in columns):
                targets = np.concatenate([np.asarray(column.cast("int64")) for column in columns])
                return targets if self._kept is None else targets[self._kept]
        return [self._target_of(number) for number in range(self.num_samples)]

    def where(self, number: int) -> str:
        group, row = self._groups.locate(self._stored(number))
        return f"{self._groups.files[group.file].path}, row {row} of row group {group.number}"

    def read_beginning(self, number: int, length: int) -> bytes:
        return bytes(self._encoded(number)[:length])

    def _read(self, number: int) -> Sample[bytes]:
        return Sample(self.key(number), bytes(self._encoded(number)), self._target_of(number))

    def _read_in_memory(self, number: int) -> Sample[Data]:
        return Sample(self.key(number), self._encoded(number), self._target_of(number))

    def _encoded(self, number: int) -> Data:
        """A sample's image. ReadError where it has none."""
        group, row = self._groups.locate(self._stored(number))
        data = self._groups.file(group, self.image, row)
        if data is None:
            cause = f"its column {self.image!r} has no bytes here; a path alone is not followed"
            raise ReadError(cause, self.key(number), self.where(number))
        return data

    def _target_of(self, number: int) -> Any:
        if self._fields is None:
            return -1
        group, row = self._groups.locate(self._stored(number))
        try:
            return self._fields.read(number, partial(self._field, group, row))
        except TargetError as error:
            raise error.at(self.key(number), self.where(number)) from error

    def _field(self, group: Group, row: int, field: Field) -> Any:
        column, kind = field.component, self._kinds[field.component]
        if kind.is_bytes:
            data = self._groups.file(group, column, row)
            if data is None:
                raise TargetError("is null")
            return read_field(field, bytes(data))
        values = self._groups.values(group, column)
        if isinstance(field, Raw) or (isinstance(field, Npy) and kind is Kind.NUMBERS):
            return values.value(row)
        return read_field(field, values.component(row))

    def _all_hashes(self) -> npt.NDArray[np.uint64]:
        return np.fromiter(map(key_hash, self._keys), np.uint64, len(self._keys))

    def _stored(self, number: int) -> int:
        """The sample's number among all rows. IndexError for one that no sample has."""
        if not 0 <= number < self.num_samples:
            raise IndexError(f"sample {number} of {self.num_samples}")
        return number if self._kept is None else int(self._kept[number])


def _paths(urls: Urls) -> list[str]:
    for url in [urls] if isinstance(urls, str | os.PathLike) else urls:
        if Path(url).is_dir():
            raise IsADirectoryError(f"{url} is a folder: name the files in it, as {str(url).rstrip('/')}/*.parquet")
    return expand(urls)


def _with_rows(files: Sequence[ParquetFile]) -> Sequence[ParquetFile]:
    """Those that have rows; of others not even the types of their columns are known. ValueError for none."""
    found = [file for file in files if file.num_rows]
    if not found:
        raise ValueError(f"{files[0].path} has no rows" + (f", nor have {len(files) - 1} others" if files[1:] else ""))
    return found


def _field_of(kinds: Mapping[str, Kind], column: str) -> Field:
    """What a target is that names a column alone."""
    return field_of(column) if kinds[column].is_bytes else Raw(column)


def _common_kinds(files: Sequence[ParquetFile], columns: Sequence[str]) -> Mapping[str, Kind]:
    """What is in columns of all files. ValueError where one has something else than the first."""
    for file, column in product(files, columns):
        if file.kinds[column] is not files[0].kinds[column]:
            raise ValueError(
                f"{file.path}: its column {column!r} has {file.kinds[column].value}, and that of {files[0].path} has "
                f"{files[0].kinds[column].value}"
            )
    return {column: files[0].kinds[column] for column in columns}


def _classes(files: Sequence[ParquetFile], fields: Declared | None) -> Sequence[str]:
    """The names of the one target's classes, where it has such. ValueError where files have different ones."""
    if fields is None or fields.named or not fields.components:
        return ()
    (column,) = fields.components
    for file in files:
        if file.classes.get(column) != files[0].classes.get(column):
            raise ValueError(
                f"{file.path} has other classes in its column {column!r} than {files[0].path}: their numbers would "
                "mean two things"
            )
    return files[0].classes.get(column, ())
