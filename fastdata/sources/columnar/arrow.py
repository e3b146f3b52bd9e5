"""Values of Arrow's columns: encoded images as they lie in memory, and targets as Python has them."""

import enum
import json
from typing import Any

import numpy as np

from fastdata.errors import TargetError

BYTES, PATH = "bytes", "path"
"""The fields of an image's struct, as Hugging Face's datasets have it: its file, and where that came from."""


class Kind(enum.Enum):
    """What a column has in its rows."""

    IMAGE = "images, as structs of bytes and path"
    BYTES = "bytes"
    TEXT = "text"
    INT = "integers"
    FLOAT = "floats"
    NUMBERS = "lists of numbers"
    OTHER = "something else"

    @property
    def is_bytes(self) -> bool:
        """Whether there are files in it."""
        return self in (Kind.IMAGE, Kind.BYTES)


def kind_of(type_: Any) -> Kind:
    """That of a column of this Arrow type; extension types are what they are stored as."""
    from pyarrow import types

    type_ = getattr(type_, "storage_type", type_)
    if types.is_dictionary(type_):
        return kind_of(type_.value_type)
    if types.is_struct(type_):
        at = type_.get_field_index(BYTES)
        return Kind.IMAGE if at >= 0 and kind_of(type_.field(at).type) is Kind.BYTES else Kind.OTHER
    if types.is_binary(type_) or types.is_large_binary(type_):
        return Kind.BYTES
    if types.is_string(type_) or types.is_large_string(type_):
        return Kind.TEXT
    if types.is_integer(type_) or types.is_boolean(type_):
        return Kind.INT
    if types.is_floating(type_):
        return Kind.FLOAT
    if types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_):
        return Kind.NUMBERS if kind_of(type_.value_type) in (Kind.INT, Kind.FLOAT) else Kind.OTHER
    return Kind.OTHER


def has_paths(type_: Any) -> bool:
    """Whether a struct of an image has its path, as text."""
    type_ = getattr(type_, "storage_type", type_)
    at = type_.get_field_index(PATH)
    return at >= 0 and kind_of(type_.field(at).type) is Kind.TEXT


def plain_array(array: Any) -> Any:
    """An array without a dictionary, of what extension types are stored as."""
    array = getattr(array, "storage", array)
    return array.dictionary_decode() if hasattr(array, "dictionary_decode") else array


def file_column(array: Any) -> Any:
    """Of an array of images the part that has their files."""
    if kind_of(array.type) is not Kind.IMAGE:
        return array
    return array.flatten()[array.type.get_field_index(BYTES)]  # which knows of structs that are null


class Encoded:
    """The files in a column of bytes, or of structs with such, by row; none of them is copied."""

    def __init__(self, array: Any) -> None:
        array = file_column(array)
        _, offsets, data = array.buffers()
        wide = np.int64 if str(array.type) == "large_binary" else np.int32
        self._ends = np.zeros(1, wide) if offsets is None else np.frombuffer(offsets, wide)[array.offset :]
        self._data = memoryview(b"" if data is None else data).cast("B")
        self._null = np.asarray(array.is_null())
        self.nbytes = int(array.nbytes)

    def __len__(self) -> int:
        return len(self._null)

    def __getitem__(self, row: int) -> memoryview | None:
        """The file in a row, as it lies in memory; None for null."""
        return None if self._null[row] else self._data[int(self._ends[row]) : int(self._ends[row + 1])]


class Values:
    """The values of a column by row, as targets have them."""

    def __init__(self, array: Any) -> None:
        self._array, self._kind = array, kind_of(array.type)
        self.nbytes = int(array.nbytes)

    def __len__(self) -> int:
        return len(self._array)

    def value(self, row: int) -> Any:
        """An int, a float or a str; an array, where the column has lists of numbers; else what Arrow makes of it.

        A bool is an int. TargetError where there is none.
        """
        scalar = self._scalar(row)
        match self._kind:
            case Kind.INT:
                return int(scalar.as_py())
            case Kind.NUMBERS if not scalar.values.null_count:
                return np.array(scalar.values.to_numpy(zero_copy_only=False))  # a copy: what it lies in is large
            case Kind.IMAGE:
                return self.component(row)
            case _:
                return _as_python(scalar)

    def component(self, row: int) -> bytes:
        """The same as a file would have it: bytes and text as they are, anything else as JSON. TargetError."""
        value = _as_python(self._scalar(row))
        if self._kind is Kind.IMAGE:
            value = value[BYTES]
            if value is None:
                raise TargetError("has no bytes")
        if isinstance(value, bytes):
            return value
        try:
            return (value if isinstance(value, str) else json.dumps(value)).encode()
        except (TypeError, UnicodeEncodeError) as error:
            raise TargetError(f"is neither bytes nor text, and no JSON: {error}") from error

    def _scalar(self, row: int) -> Any:
        scalar = self._array[row]
        if not scalar.is_valid:
            raise TargetError("is null")
        return scalar


def _as_python(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        raise TargetError(f"is not UTF-8: {error}") from error
    except (ValueError, OverflowError) as error:  # a date before the year 1, say, of which Python has none
        raise TargetError(f"can't be told in Python: {error}") from error
