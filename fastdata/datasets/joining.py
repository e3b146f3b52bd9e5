"""Tables of a target are read and joined with a dataset's samples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastdata.datasets.fields import Declared, Wanted
from fastdata.sources.tables.coco import Coco
from fastdata.sources.tables.join import Joined, join
from fastdata.sources.tables.table import Table
from fastdata.transforms.fields import Field


@dataclass(frozen=True, eq=False)
class JoinedTarget:
    """The fields with their tables joined; the samples that are left, None for all; and counts of what was left out."""

    wanted: Wanted
    kept: npt.NDArray[np.int64] | None
    left_out: Mapping[str, int]


def join_tables(
    target: Declared, hashes: Callable[[], npt.NDArray[np.uint64]], key: Callable[[int], str]
) -> JoinedTarget:
    """Read the tables among the fields and join them: `hashes` gives the `key_hash` of each sample, `key` its key.

    Samples that any of the tables leaves out are left out. ValueError as `join` has it, and where none is left.
    """
    tables = {name: field for name, field in target.fields.items() if isinstance(field, Table | Coco)}
    stored: dict[str, Field | Joined] = {n: field for n, field in target.fields.items() if isinstance(field, Field)}
    if not tables:
        return JoinedTarget(Wanted(stored, target.named), None, {})
    of_samples = hashes()
    joins = {name: join(field.read(), of_samples, key) for name, field in tables.items()}
    left_out = {what: count for each in joins.values() for what, count in each.left_out.items()}
    numbers = np.flatnonzero(np.logical_and.reduce([each.kept for each in joins.values()]))
    if not len(numbers):
        raise ValueError(f"no sample is left that has a row in each of the tables of {', '.join(joins)}")
    fields = {name: joins[name].joined.of(numbers) if name in joins else stored[name] for name in target.fields}
    kept = None if len(numbers) == len(of_samples) else numbers
    return JoinedTarget(Wanted(fields, target.named), kept, left_out)
