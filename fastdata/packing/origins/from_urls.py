"""What lies below a URL as what is packed, by a listing."""

import dataclasses
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fastdata.packing.origins.beside import with_fields
from fastdata.packing.origins.labels import Labels, with_labels
from fastdata.packing.origins.source import Missing, Source
from fastdata.packing.origins.stored import Stored
from fastdata.packing.origins.usable import UNUSABLE, far_problem
from fastdata.sources.folder import scan_classes, scan_pattern
from fastdata.sources.paths import Paths
from fastdata.sources.stores.storage import Entry, storage_of
from fastdata.sources.walk import ListedFolder

_ODD = "with '', '.' or '..' in their names"

ASKED = 64
"""Objects that are asked for their sizes at the same time."""


def collect_url(
    url: str,
    pattern: str | None = None,
    labels: Literal["folder"] | Labels | None = "folder",
    fields: Iterable[str] = (),
    missing: Missing = "error",
    *,
    entries: Iterable[Entry] | None = None,
) -> Source:
    """The samples below a URL, for `pack`: those that `collect` finds in a local folder with the same files.

    It is listed once, or `entries` says what lies below it. Arguments, and what is raised, are those of `collect`; also
    OSError that names the URL where it can't be listed, as over HTTP.
    """
    protocol, _, path = url.rstrip("/").partition("://")
    root = f"{protocol.lower()}://{path}"  # as listings have it
    listed: dict[str, Entry] = {}
    odd = 0
    for entry in storage_of(root).entries(root) if entries is None else entries:
        name = entry.url.removeprefix(f"{root}/")
        if {"", ".", ".."} & set(name.split("/")):
            odd += 1  # no key can be made of it, and no file of a folder is named so
        else:
            listed[name] = entry
    if not listed and not odd:
        raise FileNotFoundError(f"nothing lies below {root}: check the URL")
    folder = ListedFolder(root, listed)
    scan = scan_classes(folder, pattern) if labels == "folder" else scan_pattern(folder, pattern)
    if odd:
        scan = dataclasses.replace(scan, left_out={**scan.left_out, _ODD: odd})
    source = with_fields(scan, fields, missing, folder=folder)
    columns = [[listed.get(name) for name in paths] for paths in (source.scan.paths, *source.fields.values())]
    source = dataclasses.replace(source, stored=_stored(columns))
    return with_labels(source, labels, missing) if isinstance(labels, Labels) else source


def _stored(columns: Sequence[Sequence[Entry | None]]) -> Stored:
    """Where samples' components lie: `columns` are the images, then each field, None for a sample without."""
    entries = asked([entry for column in columns for entry in column if entry is not None])
    numbers = iter(range(len(entries)))
    which = np.array([[-1 if entry is None else next(numbers) for entry in column] for column in columns], np.int64).T
    sizes = np.array([*(entry.size for entry in entries), -1], np.int64)[which]
    which = np.where(which < 0, which[:, :1], which)
    return stored_objects(entries, which, sizes)


def stored_objects(
    entries: Sequence[Entry], which: NDArray[np.int64], sizes: NDArray[np.int64], *, are_rows: bool = False
) -> Stored:
    """Components that are objects of their own; int64 of shape (N, 1 + fields): which entry each is, and its size."""
    files, versions = Paths.of(entry.url for entry in entries), Paths.of(entry.etag or "" for entry in entries)
    return Stored.of(files, versions, which, np.where(sizes == -1, -1, 0), sizes, are_rows=are_rows)


def asked(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The entries, of which those of a negative size are asked for it; UNUSABLE is that of one that can't be had.

    PackError where a store does not answer.
    """
    if all(entry.size >= 0 for entry in entries):
        return entries
    with ThreadPoolExecutor(ASKED) as pool:
        return list(pool.map(_asked, entries))


def _asked(entry: Entry) -> Entry:
    if entry.size >= 0:
        return entry
    try:
        return Entry(entry.url, *storage_of(entry.url).stat(entry.url))
    except OSError as error:
        far_problem(entry.url, error)  # which raises what is the store's fault
        return entry._replace(size=UNUSABLE)
