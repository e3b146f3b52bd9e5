"""What `fastdata shard` packs: the images of a folder with classes, fields and a table's columns."""

import os
from collections.abc import Iterable
from typing import Literal

from fastdata.packing.origins.beside import with_fields
from fastdata.packing.origins.from_urls import collect_url
from fastdata.packing.origins.labels import Labels, with_labels
from fastdata.packing.origins.source import Missing, Source
from fastdata.sources.folder import scan_classes, scan_pattern
from fastdata.sources.urls import is_remote, local_folder


def collect(
    root: str | os.PathLike[str],
    pattern: str | None = None,
    labels: Literal["folder"] | Labels | None = "folder",
    fields: Iterable[str] = (),
    missing: Missing = "error",
    *,
    follow_links: bool = True,
) -> Source:
    """The samples below `root`, a folder, or a URL, see `collect_url`, for `pack`.

    Images are those in class folders, with labels="folder", or any, or those that match `pattern`; see `scan_classes`
    and `scan_pattern`. `labels` says where classes come from: the folders, a table (`Labels`), or nowhere (None).
    `fields` are the extensions of what lies beside the images and goes with them; see `with_fields`. An image without
    one of them, or without a row in the table, is an error, unless `missing` is "allow".

    Raises what these raise: FileNotFoundError, ValueError or PackError that names the file.
    """
    if is_remote(os.fspath(root)):
        return collect_url(os.fspath(root), pattern, labels, fields, missing)
    root = local_folder(root)
    if labels == "folder":
        scan = scan_classes(root, pattern, follow_links=follow_links)
    else:
        scan = scan_pattern(root, pattern, follow_links=follow_links)
    source = with_fields(scan, fields, missing, follow_links=follow_links)
    return with_labels(source, labels, missing) if isinstance(labels, Labels) else source
