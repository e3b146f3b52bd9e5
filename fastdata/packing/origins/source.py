"""What is packed: the images of a folder, and what goes with each of them into its sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fastdata.packing.origins.stored import Stored
from fastdata.sources.folder import FolderScan
from fastdata.sources.paths import Paths

Missing = Literal["error", "allow"]
"""What becomes of an image without one of the fields, or the row, that was asked for."""


@dataclass(frozen=True, eq=False)
class Source:
    """The samples of `scan`, with further components beside image and class.

    `fields` has for each extension the file of each sample, relative to the root, '' where it has none. `columns` are
    the bytes of each sample's json made of a table's columns, b"" where it has none; empty without a table.
    `left_out` counts the files and rows that are in no sample by what they are, `lacking` for each component the
    samples without it. Where samples are no files of a local folder, `stored` says where they
    lie, and `scan` and `fields` have the names that they would have as files.
    """

    scan: FolderScan
    fields: Mapping[str, Paths] = field(default_factory=dict)
    columns: Sequence[bytes] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    stored: Stored | None = None
    lacking: Mapping[str, int] = field(default_factory=dict)
