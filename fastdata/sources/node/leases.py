"""Leases: pieces of a cache that are on disk while somebody has one."""

import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from fastdata.sources.node.piece_calls import Span
from fastdata.sources.node.sparse import Piece


class Pin:
    """A piece in use in this process: how many leases there are on it, and their lock."""

    __slots__ = ("_turn", "abandoned", "error", "is_settled", "leases", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.leases = 1
        self._turn = threading.Lock()  # held until it is settled; an Event takes a dozen times as long to make
        self._turn.acquire()
        self.is_settled = False
        self.error: OSError | None = None
        self.abandoned = False  # by a thread that was interrupted: others try again

    def settle(self) -> None:
        """Says that the piece is there, or can't be had; once."""
        self.is_settled = True
        self._turn.release()

    def wait(self) -> None:
        """Until it is settled."""
        if not self.is_settled:
            with self._turn:
                pass


Pins = Mapping[Piece, Pin]


class Lease:
    """Pieces that are on disk until it is closed; `errors` has what is wrong with those that can't be had."""

    def __init__(self, release: Callable[[Pins], None], pins: dict[Piece, Pin]) -> None:
        self._release = release
        self._pins = {piece: pin for piece, pin in pins.items() if pin.error is None}
        self.errors = {piece: pin.error for piece, pin in pins.items() if pin.error is not None}

    def taken(self, pieces: Iterable[Piece]) -> dict[Piece, Pin]:
        """Those of the pieces that it has, which whoever takes them has to release."""
        pins = {piece: self._pins.pop(piece, None) for piece in pieces}
        return {piece: pin for piece, pin in pins.items() if pin is not None}

    def drop(self, pieces: Iterable[Piece]) -> None:
        """Lets go of some of the pieces, at most once of each, whoever says so."""
        self._release(self.taken(pieces))

    def close(self) -> None:
        """Lets go of all."""
        self.drop(list(self._pins))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
