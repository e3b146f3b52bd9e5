"""What is read is kept while there is room."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar


class Sized(Protocol):
    """What knows how many bytes it takes."""

    @property
    def nbytes(self) -> int: ...


S = TypeVar("S", bound=Sized)


class Cache:
    """Values by name, the last used ones of up to `limit` bytes and always the very last.

    Each is made by one thread, for which the others wait, and no more than `at_once` are made at a time. What makes one
    must not ask the same cache. It is of one process: after a fork its locks could be held for ever.
    """

    def __init__(self, limit: int, at_once: int) -> None:
        self._limit, self._bytes = limit, 0
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._making = [threading.Lock() for _ in range(at_once)]

    def get(self, name: Hashable, make: Callable[[], S]) -> S:
        """The value of this name, which is made where it is not kept."""
        found: S | None = self.known(name)
        if found is None:
            with self._making[hash(name) % len(self._making)]:
                found = self.known(name)
                if found is None:
                    found = self._keep(name, make())
        return found

    def known(self, name: Hashable) -> Any:
        """The value where it is kept, else None."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            return self._kept.get(name)

    def _keep(self, name: Hashable, value: S) -> S:
        with self._lock:
            self._kept[name] = value
            self._bytes += value.nbytes
            while self._bytes > self._limit and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return value
