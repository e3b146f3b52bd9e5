"""Which row of a table is which image's."""

import reprlib
from typing import NoReturn

from fastdata.errors import PackError
from fastdata.packing.origins.source import Missing
from fastdata.packing.origins.values import Column
from fastdata.sources.folder import FolderScan


def join_rows(scan: FolderScan, names: Column, missing: Missing) -> list[int]:
    """The row of each sample, -1 where it has none.

    A row names a sample by its path below the root, with or without its extension, or by its key; a leading './' is
    nothing. PackError for a sample without a row, unless `missing` is "allow", and where there is none for any.
    ValueError for two rows of one sample, two samples of one row, and a row without a name.
    """
    by_name = _by_name(names)
    owners: dict[int, int] = {}
    rows: list[int] = []
    for i, path in enumerate(scan.paths):
        found = sorted({by_name[name] for name in _names_of(scan, i) if name in by_name})
        if len(found) > 1:
            _refuse_two(names, found[0], found[1])
        row = found[0] if found else -1
        if row >= 0 and (owner := owners.setdefault(row, i)) != i:
            problem = f"{names.values[row]!r} is both {scan.paths[owner]} and {path}: write names with their extensions"
            names.refuse(row, problem)
        rows.append(row)
    without = len(rows) - len(owners)
    if without and (missing == "error" or not owners):
        raise _none_for(scan, rows.index(-1), without, names)
    return rows


def _by_name(names: Column) -> dict[str, int]:
    """The rows by the names in them."""
    by_name: dict[str, int] = {}
    for row, value in enumerate(names.values):
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            names.refuse(row, f"the column {names.name!r} names no image: it holds {reprlib.repr(value)}")
        first = by_name.setdefault(str(value).removeprefix("./"), row)
        if first != row:
            _refuse_two(names, first, row)
    return by_name


def _names_of(scan: FolderScan, i: int) -> tuple[str, str, str]:
    path = scan.paths[i]
    folder, slash, name = path.rpartition("/")
    return path, folder + slash + name.rpartition(".")[0], scan.key(i)


def _refuse_two(names: Column, first: int, second: int) -> NoReturn:
    names.refuse(second, f"{names.values[second]!r} again, after row {first + 1}: remove one of these rows")


def _none_for(scan: FolderScan, i: int, without: int, names: Column) -> PackError:
    """The error that names the first image without a row, and shows what rows there are."""
    shown = f"names there are as {names.values[0]!r}" if names.values else "it has no rows"
    todo = "add rows, or say --missing-fields allow (missing='allow')" if without < len(scan) else "none fits"
    return PackError(
        f"{names.path} has no row for {scan.paths[i]} ({without} of {len(scan)} images have none): in its column "
        f"{names.name!r} there should be paths below {scan.root}, with or without extension, and {shown}; {todo}"
    )
