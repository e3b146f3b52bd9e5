"""The keys of rows in columns."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

from fastdata.sources.columnar.arrow import PATH, Kind
from fastdata.sources.columnar.column_store import ColumnStore
from fastdata.sources.columnar.parquet import KEY
from fastdata.sources.paths import Paths, groups_of_equals, keys_of


def keys_of_rows(store: ColumnStore, image: str, key: str | None) -> Sequence[str]:
    """The key of every row: of the column `key`, or of `__key__` where there is one; else of the images' paths.

    A path is a key as a file's is in a folder. Where rows have no paths, or several share a key by them, their keys
    are those of `store.numbered`. ValueError for a column of keys that is none, and for a key that is there twice.
    """
    column = KEY if key is None and KEY in store.kinds else key
    if column is not None:
        return _checked(store, column)
    if image in store.with_paths:
        paths = Paths.of(path or "" for path in _values(store, f"{image}.{PATH}"))
        if (paths.offsets[1:] > paths.offsets[:-1]).all():
            try:
                return keys_of(paths)
            except ValueError:  # paths that share a key are none: rows are told apart by their numbers
                return store.numbered()
    return store.numbered()


def digest_of(keys: Sequence[str]) -> bytes:
    """What tells these keys from others."""
    digest = blake2b(digest_size=16)
    for key in keys:
        digest.update(key.encode("utf-8", "surrogateescape") + b"\0")
    return digest.digest()


def _checked(store: ColumnStore, column: str) -> Paths:
    if store.kinds[column] not in (Kind.TEXT, Kind.INT):
        raise ValueError(
            f"{store.where(0)}: keys are text or integers, and its column {column!r} has {store.kinds[column].value}"
        )
    keys = Paths.of(_as_text(store, column))
    for first, second, *_ in groups_of_equals(lambda: keys):
        one, other = store.where(first), store.where(second)
        raise ValueError(f"{one}, and {other}, share the key {keys[first]!r} in their column {column!r}: remove one")
    return keys


def _as_text(store: ColumnStore, column: str) -> Iterator[str]:
    for number, value in enumerate(_values(store, column)):
        if value is None or value == "":
            raise ValueError(f"{store.where(number)}: has no key in its column {column!r}")
        yield str(value)


def _values(store: ColumnStore, name: str) -> Iterator[Any]:
    number = 0
    for array in store.whole(name):
        try:
            yield from array.to_pylist()
        except UnicodeDecodeError as error:
            raise OSError(f"{store.where(number)} and on: its column {name!r} is not UTF-8: {error}") from error
        number += len(array)
