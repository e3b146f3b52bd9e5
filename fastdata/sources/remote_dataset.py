"""The json and the index of a dataset that lies elsewhere."""

import secrets
from functools import partial
from pathlib import Path

from fastdata.errors import ManifestError
from fastdata.files import whole_file
from fastdata.sources.dataset_index import DatasetIndex
from fastdata.sources.manifest import MAX_BYTES, Manifest, parse
from fastdata.sources.node.cache import CacheDir, cache_folder, cached_name, make_once
from fastdata.sources.stores.storage import storage_of
from fastdata.sources.tars.index_layout import SUFFIX, IndexEntry, read_layout
from fastdata.sources.urls import beside, path_of

WHOLE = 256 << 20
"""Bytes of an index that is fetched as a whole; of a larger one each MiB when a row in it is needed."""


def remote_manifest(url: str, cache_dir: CacheDir = None) -> Manifest:
    """The manifest of a json at a URL, as it is there now; raises as `manifest.load` and `Storage`."""
    storage = storage_of(url)
    if (size := storage.size(url)) > MAX_BYTES:
        raise ManifestError(f"{url}: no dataset's json: it has {size} bytes, more than {MAX_BYTES}")
    copy = cache_folder(cache_dir) / f".{cached_name(url)}.{secrets.token_hex(8)}.json"
    try:
        storage.get_file(url, copy)  # not as a range, which some servers of HTTP don't know
        return parse(copy.read_bytes(), url)
    finally:
        copy.unlink(missing_ok=True)


def remote_index(url: str, entry: IndexEntry, cache_dir: CacheDir = None) -> DatasetIndex:
    """The index of the dataset whose json is at a URL, in the cache: of this content only.

    ManifestError where the file beside the json is not the one that it means; OSError as `Storage`.
    """
    path = path_of(url)
    name = path.rpartition("/")[2].removesuffix(".json") + SUFFIX
    source = beside(url, name)
    cached = cache_folder(cache_dir) / cached_name(source, entry.hash)

    def copy(part: Path) -> None:
        if entry.size <= WHOLE:
            storage_of(source).get_file(source, part)
        else:
            _make_sparse(part, source, entry)
        try:
            DatasetIndex(str(part), entry)
        except ManifestError as error:
            todo = "copy both there again, or open it again if it was replaced just now"
            raise ManifestError(f"{str(error).replace(str(part), source)}: {todo}") from None

    make_once(cached, copy)
    return DatasetIndex(str(cached), entry, partial(_fetch, source))


def _fetch(url: str, size: int, offset: int) -> bytes:
    [data] = storage_of(url).get_ranges(url, [(offset, size)])
    return bytes(data)


def _make_sparse(path: Path, url: str, entry: IndexEntry) -> None:
    """A file of the index's size that lacks its rows: what stands before and behind them is there."""
    try:
        layout, _ = read_layout(partial(_fetch, url), entry)
    except ValueError as error:
        raise ManifestError(f"{url} is not the index that the dataset's json means: {error}") from None
    behind = layout.begin + layout.size
    with whole_file(path) as file:
        file.write(layout.head)
        file.seek(behind)
        file.write(_fetch(url, entry.size - behind, behind))
