"""Pieces of a remote file, fetched and checked against their hashes."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

from fastdata.sources.faults import as_machines
from fastdata.sources.node.sparse import Piece, Run, is_intact


class Ranges(Protocol):
    """Of a storage what is needed here."""

    def get_ranges(self, url: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes | memoryview]:
        """The bytes of the ranges, each (offset, size). OSError that names the URL."""


Came = tuple[Run, memoryview]
"""A run, and its bytes."""


class Fetched(NamedTuple):
    """What came, and what is wrong with the other pieces."""

    intact: list[Came]
    errors: dict[Piece, OSError]


def fetch(storage: Ranges, runs: Sequence[Run]) -> Fetched:
    """The bytes of some runs of one file. What comes with another hash is asked for once more, piece by piece.

    OSError, as the storage raises it, where nothing comes; a network's faults are the machine's.
    """
    came = _ask(storage, runs)
    if not came.errors:
        return came
    again = _ask(storage, [[piece] for piece in came.errors])
    return Fetched(came.intact + again.intact, again.errors)


def _ask(storage: Ranges, runs: Sequence[Run]) -> Fetched:
    ranges = [(run[0].offset, run[-1].end - run[0].offset) for run in runs]
    intact: list[Came] = []
    errors: dict[Piece, OSError] = {}
    url = runs[0][0].file.url
    with as_machines(url):
        received = storage.get_ranges(url, ranges)
    for run, buffer in zip(runs, received, strict=True):
        data = memoryview(buffer)
        parts = [data] if len(run) == 1 else _parts(run, data)
        bad = {piece: _damaged(piece) for piece, part in zip(run, parts, strict=True) if not is_intact(piece, part)}
        if bad:
            pairs: Iterable[tuple[Piece, memoryview]] = zip(run, parts, strict=True)
            intact += [([piece], part) for piece, part in pairs if piece not in bad]
            errors |= bad
        else:
            intact.append((run, data))
    return Fetched(intact, errors)


def _parts(run: Run, data: memoryview) -> list[memoryview]:
    """The data of each of a run's pieces."""
    ends = accumulate(piece.size for piece in run)
    return [data[end - piece.size : end] for piece, end in zip(run, ends, strict=True)]


def _damaged(piece: Piece) -> OSError:
    return OSError(
        f"{piece.file.url}, offset {piece.offset}: the {piece.size} bytes that came, twice, are not those that were "
        "packed (their xxh3_64 is another): damaged, or replaced without its index; fastdata verify says which"
    )
