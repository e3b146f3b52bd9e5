"""A table of what is packed in a file, which processes and machines map: a task is then its path and a shard's number.

The file is a line of JSON, padded with blanks to whole pages, and behind it each array's bytes at a page's start.
Nothing in it is unpickled.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from fastdata import __version__
from fastdata.errors import PackError
from fastdata.files import whole_file
from fastdata.packing.convert import Conversion
from fastdata.packing.origins.stored import Stored
from fastdata.packing.plan import PlannedField
from fastdata.packing.table import PackTable, PlannedDataset
from fastdata.sources.paths import Paths
from fastdata.sources.urls import is_remote

TABLE = ".plan"
"""What the file's name ends in, behind a hash of its content."""

_PAGE = 4096  # bytes
_CONVERSIONS = {kind.__name__: kind for kind in get_args(Conversion)}


def store_table(table: PackTable) -> Path:
    """Writes the table into its folder, whole; gives the file's path, which is the same for the same table."""
    path = table.folder.absolute() / table_name(table)
    arrays = _arrays(table)
    with whole_file(path) as file:
        file.write(_head(table, arrays))
        for array in arrays:
            file.write(array.data)
            file.write(bytes(-array.nbytes % _PAGE))
    return path


def table_name(table: PackTable) -> str:
    """The name of the table's file: a hash of its content, and `TABLE`."""
    arrays = _arrays(table)
    digest = blake2b(_head(table, arrays), digest_size=8)
    for array in arrays:
        digest.update(array.data)
    return f"{digest.hexdigest()}{TABLE}"


@functools.lru_cache(maxsize=1)
def open_table(path: str) -> PackTable:
    """The table in a file that `store_table` wrote; its arrays are maps of the file.

    PackError where this process doesn't see the file, or is of another version of fastdata than the one that wrote it.
    """
    try:
        with Path(path).open("rb") as file:
            line = file.readline()
        pages = np.memmap(path, np.uint8, "r")
    except OSError as error:
        problem = f"{path} can't be opened ({error.strerror})"
        raise PackError(f"{problem}: where shards are written the folder must be that of the run's start") from error
    head = json.loads(line)
    if (version := head["version"]) != __version__:
        raise PackError(f"{path} is of fastdata {version}, and here is {__version__}: install the same everywhere")
    return _table(head, Path(path).parent, _mapped(pages, head["arrays"], _padded(len(line))))


def _arrays(table: PackTable) -> list[NDArray[Any]]:
    """All arrays of a table, in the order in which `_table` takes them."""
    stored = table.stored
    paths = [table.files, *(field.files for field in table.fields), *([] if table.columns is None else [table.columns])]
    paths += [] if stored is None else [stored.files, stored.versions]
    sizes = [field.sizes for field in table.fields]
    columns: list[NDArray[Any]] = [table.bounds, table.apart, table.targets, table.sizes, table.times, *sizes]
    columns += [array for each in paths for array in (each.joined, each.offsets)]
    columns += [] if stored is None else [stored.rows, stored.which, stored.offsets, stored.sizes]
    return [np.ascontiguousarray(column) for column in columns]


def _head(table: PackTable, arrays: list[NDArray[Any]]) -> bytes:
    head = {
        "version": __version__,
        "root": table.root if is_remote(table.root) else str(Path(table.root).absolute()),
        "datasets": list(table.datasets),
        "fields": [field.name for field in table.fields],
        "columns": table.columns is not None,
        "stored": None if table.stored is None else table.stored.column,
        "conversion": [type(table.conversion).__name__, asdict(table.conversion)],
        "check": table.check,
        "hash": table.hash,
        "skip": table.skip,
        "arrays": [[array.dtype.str, array.shape] for array in arrays],
    }
    line = json.dumps(head).encode("ascii") + b"\n"
    return line.ljust(_padded(len(line)))


def _mapped(pages: NDArray[np.uint8], arrays: list[Any], start: int) -> Iterator[NDArray[Any]]:
    for name, shape in arrays:
        dtype = np.dtype(name)
        size = int(np.prod(shape)) * dtype.itemsize
        yield np.asarray(pages[start : start + size]).view(dtype).reshape(shape)
        start += _padded(size)


def _table(head: Any, folder: Path, arrays: Iterator[NDArray[Any]]) -> PackTable:
    bounds, apart, targets, sizes, times = (next(arrays) for _ in range(5))
    of_fields = [next(arrays) for _ in head["fields"]]
    images = Paths(next(arrays), next(arrays))
    fields = [
        PlannedField(name, Paths(next(arrays), next(arrays)), size)
        for name, size in zip(head["fields"], of_fields, strict=True)
    ]
    columns = Paths(next(arrays), next(arrays)) if head["columns"] else None
    kind, options = head["conversion"]
    conversion = _CONVERSIONS[kind](**options)
    datasets = [PlannedDataset(*dataset) for dataset in head["datasets"]]
    recipe = conversion, head["check"], head["hash"], head["skip"]
    stored = None
    if head["stored"] is not None:
        files, versions = (Paths(next(arrays), next(arrays)) for _ in range(2))
        at, which, starts, lengths = arrays
        stored = Stored(files, versions, at, which, starts, lengths, head["stored"])
    return PackTable(
        folder, datasets, bounds, head["root"], images, apart, targets, sizes, times, fields, columns, *recipe, stored
    )


def _padded(size: int) -> int:
    return -(-size // _PAGE) * _PAGE
