"""An inventory of S3 in place of a listing: a table of all that lies in a bucket, which S3 writes once a day."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal
from urllib.parse import unquote_plus

from fastdata.packing.origins.from_urls import collect_url
from fastdata.packing.origins.labels import Labels
from fastdata.packing.origins.near import near
from fastdata.packing.origins.source import Missing, Source
from fastdata.sources.stores.storage import Entry
from fastdata.sources.tables.columns import Columns, read_columns

NEEDED = ("bucket", "key")
"""The columns by which an inventory is known for one."""

_ETAGS = ("etag", "e_tag")
_LATEST, _DELETED = "is_latest", "is_delete_marker"


def collect_inventory(
    path: str,
    names: Iterable[str],
    root: str | None = None,
    pattern: str | None = None,
    labels: Literal["folder"] | Labels | None = "folder",
    fields: Iterable[str] = (),
    missing: Missing = "error",
) -> Source:
    """The samples below `root` (default: the bucket), by an inventory at a path or URL; see `collect_url`.

    `names` are those of the inventory's columns, as its manifest.json has them under fileSchema, in lower case with
    '_' between words: bucket, key, size, etag, is_latest and is_delete_marker are used, of which the first two are
    needed. Without sizes and ETags objects are asked for them. Keys in CSV are URL-encoded, as S3 writes them, those in
    Parquet are not. Versions that are not the latest, and delete markers, are no samples.

    Raises as `collect_url`, and ValueError for a table that is no inventory, or has several buckets, of which none is
    said.
    """
    names = list(names)
    is_parquet = path.lower().endswith(".parquet")
    with near(path) as copy:
        columns = read_columns(copy, [*NEEDED, *_ETAGS], () if is_parquet else names, path)
    missing_names = [name for name in {*NEEDED, *names} if name not in columns]
    if missing_names:
        raise ValueError(f"{path} has no column {missing_names[0]!r}: it has {', '.join(columns)}")
    entries = list(_entries(columns, encoded=not is_parquet))
    if root is None:
        buckets = sorted(set(columns["bucket"]))
        if len(buckets) != 1:
            raise ValueError(f"{path} is of the buckets {', '.join(buckets[:10])}: say --root (root=), as s3://bucket")
        root = f"s3://{buckets[0]}"
    below = f"{root.rstrip('/')}/"
    here = [entry for entry in entries if entry.url.startswith(below)]
    if not here:
        raise ValueError(f"{path} has nothing below {root}, but {entries[0].url if entries else 'no objects'}")
    return collect_url(root, pattern, labels, fields, missing, entries=here)


def _entries(columns: Columns, encoded: bool) -> Iterator[Entry]:
    count = len(columns["key"])
    etags = next((columns[name] for name in _ETAGS if name in columns), [None] * count)
    sizes = columns.get("size", [None] * count)
    latest, deleted = columns.get(_LATEST, [True] * count), columns.get(_DELETED, [False] * count)
    rows = zip(columns["bucket"], columns["key"], sizes, etags, latest, deleted, strict=True)
    for bucket, key, size, etag, is_latest, is_deleted in rows:
        if _is_true(is_latest) and not _is_true(is_deleted):
            known = isinstance(size, int) and etag
            name = unquote_plus(key) if encoded else key
            tag = '"{}"'.format(str(etag).strip('"'))
            yield Entry(f"s3://{bucket}/{name}", size if known else -1, tag if known else None)


def _is_true(cell: Any) -> bool:
    return cell is True or str(cell).lower() == "true"
