"""Parquet files: what they say of themselves, and the columns of their row groups. pyarrow is imported here."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from types import ModuleType
from typing import Any, Final, NamedTuple

from fastdata.sources.columnar.arrow import BYTES, Kind, has_paths, kind_of, plain_array
from fastdata.sources.ranges import Identity, Piece, RangeFile, Stream, open_ranges
from fastdata.sources.regular import MAX_BYTES

MAX_FOOTER: Final = 1 << 26
"""Bytes of a footer: one of a million columns is no file of images."""

MAX_COLUMNS: Final = 10_000

_TAIL, _MAGIC = 8, b"PAR1"
KEY: Final = "__key__"
"""The column of keys, as webdataset's samples and Hugging Face's datasets of such have it."""

_ROWS_AT_ONCE: Final = 256  # that pyarrow unpacks before it is asked how much they are

AT_ONCE: Final = 16
"""Files that are read at the same time."""


def pyarrow_parquet(path: str) -> ModuleType:
    """The module pyarrow.parquet; ImportError that says what to install."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(f"{path} is read by pyarrow: pip install 'fastdata-images[parquet]'") from error
    return parquet  # type: ignore[no-any-return]


class Footer(NamedTuple):
    """What pyarrow has read of a file's footer, and the digest of its bytes."""

    metadata: Any
    digest: bytes


@dataclass(frozen=True)
class ParquetFile:
    """What is kept of a file: the rows of each row group, and of some columns their kinds, of those of structs whether
    these have paths, and of labels their classes.
    """

    path: str
    identity: Identity
    digest: bytes
    rows: tuple[int, ...]
    kinds: Mapping[str, Kind]
    with_paths: frozenset[str]
    classes: Mapping[str, tuple[str, ...]]

    @property
    def num_rows(self) -> int:
        """The rows of all of its row groups."""
        return sum(self.rows)


def read_files(paths: Sequence[str], columns: Sequence[str]) -> list[ParquetFile]:
    """What these files say of themselves and of some columns, many read at a time.

    ValueError where one has no such column, OSError, without an errno, where it is no Parquet file or damaged,
    ImportError where pyarrow is missing.
    """
    pyarrow_parquet(paths[0])
    with ThreadPoolExecutor(min(AT_ONCE, len(paths))) as pool:
        return list(pool.map(partial(_read_file, columns=columns), paths))


def _read_file(path: str, columns: Sequence[str]) -> ParquetFile:
    with open_ranges(path) as file:
        metadata, digest = read_footer(file, path)
        with arrow_faults(path):
            opened = pyarrow_parquet(path).ParquetFile(Stream(file), metadata=metadata, pre_buffer=False)
            schema = opened.schema_arrow
            rows = tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
    missing = next((name for name in columns if schema.get_all_field_indices(name) == []), None)
    if missing is not None:
        known = ", ".join(f"{field.name!r} ({kind_of(field.type).value})" for field in list(schema)[:20])
        raise ValueError(f"{path} has no column {missing!r}, but {known or 'none'}")
    twice = next((name for name in columns if len(schema.get_all_field_indices(name)) > 1), None)
    if twice is not None:
        raise ValueError(f"{path} has several columns {twice!r}: rename all but one")
    if any(count < 0 for count in rows) or sum(rows) > file.identity.size:  # not even of a byte each
        raise OSError(f"{path} claims row groups of {min(rows)} to {max(rows)} rows in {file.identity.size} bytes")
    types = {field.name: field.type for field in schema if field.name in (KEY, *columns)}
    kinds = {name: kind_of(type_) for name, type_ in types.items()}
    with_paths = frozenset(name for name, kind in kinds.items() if kind is Kind.IMAGE and has_paths(types[name]))
    return ParquetFile(path, file.identity, digest, rows, kinds, with_paths, classes_of(schema.metadata or {}, columns))


def classes_of(metadata: Mapping[bytes, bytes], columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The class names of those columns that Hugging Face's features in a schema's metadata call a ClassLabel."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        found = {name: features[name] for name in columns if name in features}
        labels = {name: each["names"] for name, each in found.items() if each.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}  # somebody else's metadata: names are all that would be known by it
    return {name: tuple(map(str, names)) for name, names in labels.items() if isinstance(names, list)}


def read_footer(file: RangeFile, path: str) -> Footer:
    """The footer of an open file. OSError where it has none, or one of more than `MAX_FOOTER` bytes."""
    size = file.identity.size
    tail = file.read_at(max(0, size - _TAIL), _TAIL)
    if tail[4:] != _MAGIC:
        raise OSError(f"{path} is no Parquet file: it ends in {tail[4:]!r}, not in {_MAGIC!r}; cut short, perhaps")
    length = int.from_bytes(tail[:4], "little")
    if not 0 < length <= min(size - _TAIL, MAX_FOOTER):
        raise OSError(f"{path} claims a footer of {length} bytes; it has {size}, and {MAX_FOOTER} are the most")
    start = size - _TAIL - length
    whole = file.read_at(start, length + _TAIL)
    with arrow_faults(path):
        metadata = pyarrow_parquet(path).read_metadata(Stream(file, Piece(start, whole)))
    if metadata.num_columns > MAX_COLUMNS:
        raise OSError(f"{path} has {metadata.num_columns} columns: more than {MAX_COLUMNS} are no table of images")
    return Footer(metadata, blake2b(whole, digest_size=16).digest())


@contextmanager
def arrow_faults(where: str) -> Iterator[None]:
    """What pyarrow raises of a damaged file becomes an OSError that says where, without an errno: it is the file's.

    One with an errno is the machine's, and where memory is lacking that is none of the file's.
    """
    from pyarrow import ArrowException

    try:
        yield
    except MemoryError:
        raise
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise OSError(f"{where}: {error}") from error


def read_column(stream: Stream, path: str, metadata: Any, groups: Sequence[int], name: str) -> Any:
    """A column of some row groups of an open file, or a part of a struct: an Arrow array.

    OSError, without an errno where it is damaged or too large. (What `metadata` says of a column is not asked for:
    of a damaged one pyarrow would end the process.)
    """
    with arrow_faults(f"{path}, row group {_listed(groups)}, column {name!r}"):
        opened = pyarrow_parquet(path).ParquetFile(
            stream, metadata=metadata, pre_buffer=False, page_checksum_verification=True
        )
        array = _joined(opened.iter_batches(_ROWS_AT_ONCE, list(groups), [name], use_threads=False))
    rows = sum(metadata.row_group(group).num_rows for group in groups)
    if len(array) != rows:
        raise OSError(f"{path}: its column {name!r} has {len(array)} values in {rows} rows")
    return array


def _joined(batches: Iterable[Any]) -> Any:
    """The only column of some batches, an Arrow array. OSError where it takes more than MAX_BYTES.

    Of a value that is there once, and in each of thousands of rows, a file has just its number.
    """
    from pyarrow import concat_arrays

    parts, size = [], 0
    for batch in batches:
        parts.append(plain_array(batch.column(0)))
        size += parts[-1].nbytes
        if size > MAX_BYTES:
            problem = f"unpacked it has more than {MAX_BYTES} bytes"
            raise OSError(f"{problem}: write smaller row groups (row_group_size=100), or smaller files")
    return parts[0] if len(parts) == 1 else concat_arrays(parts)


def _listed(groups: Sequence[int]) -> str:
    return str(groups[0]) if len(groups) == 1 else f"0 to {len(groups) - 1}"


def leaf_of(kind: Kind) -> str:
    """The part of a column of this kind that has the files; the whole where there are no parts."""
    return BYTES if kind is Kind.IMAGE else ""


def read_whole_column(file: ParquetFile, name: str) -> Any:
    """A column of all of a file's rows, an Arrow array; of a struct its part `struct.part`. OSError."""
    with open_ranges(file.path, file.identity) as opened:
        metadata = read_checked_metadata(opened, file)
        array = read_column(Stream(opened), file.path, metadata, range(metadata.num_row_groups), name)
    column, _, part = name.partition(".")
    return array.flatten()[0] if part and file.kinds.get(column) is Kind.IMAGE else array


def read_checked_metadata(opened: RangeFile, file: ParquetFile) -> Any:
    """pyarrow's of an open file. OSError, without an errno, where it is another file than `file` was."""
    metadata, digest = read_footer(opened, file.path)
    if digest != file.digest:
        raise OSError(f"{file.path} is another file than it was when the dataset was made: make the dataset again")
    return metadata
