"""A table of URLs as what is packed."""

import reprlib
from collections.abc import Iterator, Sequence
from itertools import takewhile
from urllib.parse import unquote

import numpy as np

from fastdata.packing.origins.from_urls import asked, stored_objects
from fastdata.packing.origins.labels import LabelColumns, with_rows
from fastdata.packing.origins.source import Missing, Source
from fastdata.packing.origins.values import Column
from fastdata.sources.folder import FolderScan
from fastdata.sources.paths import Paths, keys_of
from fastdata.sources.stores.storage import Entry
from fastdata.sources.urls import is_remote, path_of


def are_urls(names: Column, root: str) -> bool:
    """Whether a table's images lie at URLs: its first is one, or a path below a URL."""
    first = names.values[0]
    return is_remote(root) or (isinstance(first, str) and is_remote(first))


def collect_urls(columns: LabelColumns, root: str | None, missing: Missing = "error") -> Source:
    """The images whose URLs a table has, a row each, in its order. Objects are asked for their sizes.

    Paths are below `root`, a URL, and keys are the images' paths there; by default it is the deepest folder that all
    URLs have in common, of several hosts the protocol. In http and https URLs special characters are as %XX, and what
    follows a "?" is in no key.

    Raises ValueError that names the row for what is no URL, lies elsewhere than in `root` or is there twice, PackError
    where a store does not answer.
    """
    urls = list(_urls(columns.names, root))
    places = [_place(url) for url in urls]
    base = root.rstrip("/") if root is not None else _common_folder(columns.names, places)
    paths = Paths.of(_below(base, columns.names, places))
    entries = asked([Entry(url, -1, None) for url in urls])
    which = np.arange(len(urls))[:, None]
    sizes = np.array([entry.size for entry in entries], np.int64)[:, None]
    stored = stored_objects(entries, which, sizes, are_rows=True)
    scan = FolderScan(base, paths, np.full(len(paths), -1, np.int64), [], {}, keys_of(paths))
    return with_rows(Source(scan, stored=stored), columns, range(len(scan)), missing)


def _urls(names: Column, root: str | None) -> Iterator[str]:
    for row, value in enumerate(names.values):
        if not isinstance(value, str) or not value:
            names.refuse(row, f"the column {names.name!r} names no image: it holds {reprlib.repr(value)}")
        if not is_remote(value) and (root is None or value.startswith(("/", "file:"))):
            names.refuse(row, f"{value!r} is no URL, as {names.values[0]!r} is: pack local files by themselves")
        yield value if is_remote(value) else f"{str(root).rstrip('/')}/{value.removeprefix('./')}"


def _place(url: str) -> str:
    """A URL as the path that it means."""
    return unquote(path_of(url).partition("#")[0]) if url.startswith(("http://", "https://")) else url


def _common_folder(names: Column, places: Sequence[str]) -> str:
    first = places[0].partition("://")[0]
    for row, place in enumerate(places):
        if place.partition("://")[0] != first:
            problem = f"{names.values[row]!r} is of another protocol than {names.values[0]!r}"
            names.refuse(row, f"{problem}: pack each by itself, or say --root (root=)")
    folders = [place.split("/")[:-1] for place in places]
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(min(folders), max(folders), strict=False))
    common = [name for name, _ in pairs]
    return "/".join(common) if len(common) > 2 else f"{first}://"


def _below(base: str, names: Column, places: Sequence[str]) -> Iterator[str]:
    """The places' paths below `base`."""
    rows: dict[str, int] = {}
    prefix = base if base.endswith("://") else f"{base}/"
    for row, place in enumerate(places):
        path = place.removeprefix(prefix)
        if path == place or {"", ".", ".."} & set(path.split("/")) or "\0" in path:
            value = names.values[row]
            names.refuse(row, f"{value!r} is no plain path below {base}: '..', '.' and '//' are not followed")
        if (first := rows.setdefault(path, row)) != row:
            names.refuse(row, f"{names.values[row]!r} again, after row {first + 1}: remove one of these rows")
        yield path
