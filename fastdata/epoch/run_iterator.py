"""What an iterator has to know for torchdata's StatefulDataLoader to save and load it safely."""

from collections.abc import Iterator
from typing import Any

from fastdata.errors import StateError


class RunIterator(Iterator[Any]):
    """One pass over a run, which torchdata's StatefulDataLoader can save and load: what that needs to be safe.

    Only who iterates knows what of it the training loop has received. StatefulDataLoader does, and asks for the state
    of both, what is iterated over and its iterator; a state of one without the other is an error as soon as it shows.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._needs_partner = False
        self._asked = self._answered = -1
        self._given = 0

    def expect_partner(self) -> None:
        """Note that the state of what is iterated over was asked for: at this point its iterator's has to be, too."""
        self._asked = self._given

    def _answer(self) -> None:
        self._answered = self._given

    def _go_on(self, given: int) -> None:
        """Its own state is loaded."""
        self._given, self._asked, self._answered, self._needs_partner = given, -1, -1, False

    def _check(self) -> None:
        """StateError where what comes next would be a guess."""
        if self._needs_partner:
            raise StateError(
                f"the {self._what}'s state was taken in the middle of an iteration, without the number of batches that "
                "the loop had received (take it by state_dict(batches=...)); set_epoch begins another epoch"
            )
        if self._asked == self._given != self._answered:
            raise StateError(
                "state_dict() in the middle of an iteration can't tell what of the handed out samples the loop "
                "has received: call state_dict(batches=...), or use torchdata's StatefulDataLoader"
            )
