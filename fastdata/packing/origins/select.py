"""Pack some of the samples: those that a file of keys names."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from fastdata.errors import PackError
from fastdata.packing.origins.source import Missing, Source
from fastdata.sources.folder import selected

_NAMED = 3  # keys that an error names


def with_keys(source: Source, path: str | os.PathLike[str], missing: Missing = "error") -> Source:
    """The samples whose keys are in the file at `path`, a line each, in UTF-8; they stay in the source's order.

    PackError for a key of which there is no sample, unless `missing` is "allow", and where no sample is left.
    """
    lines = Path(path).read_text("utf-8", "surrogateescape").split("\n")
    wanted = {line.removesuffix("\r") for line in lines} - {""}
    rows = np.fromiter((row for row, key in enumerate(source.scan.keys) if key in wanted), np.int64)
    if len(rows) < len(wanted) and (missing == "error" or not len(rows)):
        lacking = sorted(wanted - {source.scan.key(row) for row in rows.tolist()})
        raise PackError(
            f"{path}: {len(lacking)} of {len(wanted)} keys are of no sample in {source.scan.root}, as "
            f"{lacking[:_NAMED]}, and keys are as {source.scan.key(0)!r}: leave them out, or say --missing-fields "
            f"allow (missing='allow')"
        )
    if not len(rows):
        raise PackError(f"{path} has no keys: write those of the samples to pack, a line each")
    left_out = {**source.left_out, f"samples not in {Path(path).name}": len(source.scan) - len(rows)}
    fields = {name: paths.take(rows) for name, paths in source.fields.items()}
    columns = [source.columns[row] for row in rows.tolist()] if source.columns else ()
    stored = None if source.stored is None else source.stored.take(rows)
    scan = selected(source.scan, rows)
    some = dataclasses.replace(source, scan=scan, fields=fields, columns=columns, left_out=left_out, stored=stored)
    counts = {what: _without(some, what) for what in source.lacking}
    return dataclasses.replace(some, lacking={what: count for what, count in counts.items() if count})


def _without(source: Source, what: str) -> int:
    """How many samples lack a component, as `Source.lacking` names it."""
    if what in source.fields:
        return sum(not path for path in source.fields[what])
    if what == "cls":
        return int((source.scan.targets < 0).sum())
    column = what.removeprefix("column ")
    return sum(not found or json.loads(found)[column] is None for found in source.columns)
