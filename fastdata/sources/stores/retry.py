"""When a request to an object store is tried again: one policy, above all backends."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Result = TypeVar("Result")


class TransientError(OSError):
    """What may go better when it is tried again: a lost connection, a timeout, a status 429 or 5xx, a short body."""


@dataclass(frozen=True)
class Policy:
    """Exponential backoff with full jitter (AWS Architecture Blog, 2015): delays in seconds.

    The delays of ten attempts are 21 seconds on average and 43 at most: an object store's bad half minute, such as
    S3 answering 503 while it repartitions, does not end a training of days, and what is really down is said within a
    minute. A server's Retry-After is not followed: it could hold a training for hours.
    """

    attempts: int = 10
    first_delay: float = 0.2
    longest_delay: float = 10.0
    total: float = 180.0  # after so many seconds nothing is tried again: requests that time out are slow to fail

    def longest_after(self, attempt: int) -> float:
        """The seconds that are waited after attempt number 1, 2, …, at most."""
        return min(self.longest_delay, self.first_delay * 2.0 ** min(attempt - 1, 100))


policy = Policy()
"""What all requests of this process follow."""

_jitter = random.Random()  # of its own: the global generator is the training script's


@dataclass
class Attempts:
    """Counts the attempts at something, and waits between them."""

    made: int = 0
    begun: float = field(default_factory=lambda: time.monotonic())

    def after(self, failures: Sequence[OSError]) -> None:
        """Counts an attempt after which these are left, and waits before the next one.

        Raises the first failure that is no TransientError, and OSError when there is to be no other attempt.
        """
        self.made += 1
        for failure in failures:
            if not isinstance(failure, TransientError):
                raise failure
        if self.made >= policy.attempts or self._seconds() >= policy.total:
            raise OSError(f"{failures[0]} ({self})") from failures[0].__cause__
        time.sleep(_jitter.uniform(0.0, policy.longest_after(self.made)))

    def _seconds(self) -> float:
        return time.monotonic() - self.begun

    def __str__(self) -> str:
        times = "once" if self.made == 1 else f"{self.made} times"
        return f"tried {times} in {self._seconds():.1f} s"


def retry(request: Callable[[], Result]) -> Result:
    """What `request` returns; it is called again while it raises TransientError, which becomes an OSError at last."""
    attempts = Attempts()
    while True:
        try:
            return request()
        except TransientError as error:
            failure = error
        attempts.after([failure])
