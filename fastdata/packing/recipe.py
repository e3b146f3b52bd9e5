"""What determines a dataset's bytes besides its samples."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, get_args

from fastdata.packing.check import can_check
from fastdata.packing.convert import Conversion, Keep
from fastdata.packing.plan import Division, ShardSize
from fastdata.sources.tars.content_hash import DEFAULT, Algorithm

OnError = Literal["raise", "skip"]
"""What becomes of a file that can't be packed."""

DEFAULT_DIVISION = ShardSize(10**9)
KEEP = Keep()

_NAME = re.compile(r"\w[\w.-]*")
_NAME_OF_SHARD = re.compile(r".*-\d{6}")


@dataclass(frozen=True)
class Recipe:
    """How samples are packed; see `pack`. ValueError for arguments that don't fit, or can't be had here."""

    split: Mapping[str, Fraction] = field(default_factory=lambda: {"train": Fraction(1)})
    division: Division = DEFAULT_DIVISION
    shuffle: bool = False
    seed: int = 0
    jpeg: Conversion = KEEP
    check: bool = field(default_factory=can_check)
    on_error: OnError = "raise"
    hash: Algorithm = DEFAULT

    def __post_init__(self) -> None:
        for name in self.split:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} can't name a dataset: use letters, digits, '_', '-' and '.'")
            if _NAME_OF_SHARD.fullmatch(name):
                raise ValueError(f"{name!r} can't name a dataset: a shard could have that name")
        if self.check and not can_check():
            raise ValueError("check=True needs the compiled kernel, without which this fastdata was installed")
        if self.on_error not in get_args(OnError):
            raise ValueError(f"on_error must be 'raise' or 'skip', not {self.on_error!r}")
