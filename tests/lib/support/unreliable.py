"""Scripts of what goes wrong on the way to an object store."""

import random
from collections import Counter
from collections.abc import Sequence

from support.http_server import Fault, Request

_IN_A_ROW = 3  # faults of the same request: a reader tries ten times
_KINDS = (
    Fault(drop=True),
    Fault(status=500),
    Fault(status=503, retry_after="1"),
    Fault(cut=100),
    Fault(short=7),
    Fault(delay=0.02),
)


class Unreliable:
    """A share of all requests fail, in every way; and a byte of shards and indexes is flipped, each at most once.

    What goes wrong with a request is a function of the seed, of what it asks for, and of how often that was asked for
    before: not of the order in which requests come. `seen` counts what went wrong.
    """

    def __init__(self, seed: int, share: float) -> None:
        self._seed, self._share = seed, share
        self._times: Counter[str] = Counter()
        self._flipped: dict[str, set[int]] = {}
        self.seen: Counter[str] = Counter()

    def __call__(self, request: Request) -> Fault:
        what = f"{request.method} {request.path} {request.range}"
        draw = random.Random(f"{self._seed} {what} {self._times[what]}")
        self._times[what] += 1
        if self._times[what] > _IN_A_ROW or draw.random() >= self._share:
            return Fault()
        fault = draw.choice((*_KINDS, Fault(flip=0)))
        if fault.flip is not None:
            fault = self._flip(request, draw)
        for name, value in fault._asdict().items():
            self.seen[name] += value not in (None, fault._field_defaults[name])
        return fault

    def _flip(self, request: Request, draw: random.Random) -> Fault:
        """A byte is flipped where no byte of that range was before: so it is another one only once."""
        if request.range is None or not request.path.endswith(".tar"):
            return Fault()
        start, end = request.range
        before = self._flipped.setdefault(request.path, set())
        if any(start <= place < end for place in before):
            return Fault()
        place = draw.randrange(start, end)
        before.add(place)
        return Fault(flip=place - start)


class Damaged:
    """Some bytes are others at their source, whoever asks for them: (end of the path, offset)."""

    def __init__(self, places: Sequence[tuple[str, int]]) -> None:
        self._places = places

    def __call__(self, request: Request) -> Fault:
        for path, offset in self._places:
            if request.path.endswith(path) and request.range and request.range[0] <= offset < request.range[1]:
                return Fault(flip=offset - request.range[0])
        return Fault()
