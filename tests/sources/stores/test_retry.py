"""What may go better is tried again, a bounded number of times and seconds; nothing else is."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.sources.stores import retry
from fastdata.sources.stores.retry import Attempts, Policy, TransientError


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, which pass at once."""
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    monkeypatch.setattr("time.monotonic", lambda: sum(seconds))
    return seconds


def failing(times: int, error: type[Exception] = TransientError) -> object:
    """Fails so many times, then returns how often it was called."""
    calls = 0

    def request() -> int:
        nonlocal calls
        calls += 1
        if calls <= times:
            raise error(f"call {calls} failed")
        return calls

    return request


def test_delays_are_doubled_from_the_first_to_the_longest() -> None:
    policy = Policy(first_delay=0.5, longest_delay=3.0)
    assert [policy.longest_after(attempt) for attempt in (1, 2, 3, 4, 5, 5000)] == [0.5, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_a_request_is_made_again_until_it_succeeds(slept: list[float]) -> None:
    assert retry.retry(failing(9)) == 10  # type: ignore[arg-type]
    assert len(slept) == 9
    assert sum(slept) < 43
    assert all(0 <= seconds <= retry.policy.longest_after(attempt) for attempt, seconds in enumerate(slept, start=1))


def test_when_attempts_are_used_up_the_last_failure_is_the_error(slept: list[float]) -> None:
    with pytest.raises(OSError, match=r"^call 10 failed \(tried 10 times in \d+\.\d s\)$") as caught:
        retry.retry(failing(10))  # type: ignore[arg-type]
    assert type(caught.value) is OSError
    assert len(slept) == 9


def test_nothing_is_tried_again_after_the_total_time(slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "policy", Policy(attempts=10**6))
    with pytest.raises(OSError, match="tried"):
        retry.retry(failing(10**6))  # type: ignore[arg-type]
    assert 180 <= sum(slept) <= 190


def test_what_is_no_transient_error_is_raised_at_once(slept: list[float]) -> None:
    for error in (OSError, FileNotFoundError, ValueError, KeyError):
        with pytest.raises(error, match="call 1 failed"):
            retry.retry(failing(1, error))  # type: ignore[arg-type]
    lasting = FileNotFoundError("not there")
    with pytest.raises(FileNotFoundError):
        Attempts().after([TransientError("lost"), lasting])
    assert slept == []


def test_waiting_draws_nothing_from_the_scripts_random_numbers(slept: list[float]) -> None:
    before = random.getstate()
    retry.retry(failing(3))  # type: ignore[arg-type]
    assert random.getstate() == before


@given(st.integers(1, 1000), st.floats(0.001, 1), st.floats(1, 100))
def test_delays_double_up_to_the_longest(attempt: int, first: float, longest: float) -> None:
    policy = Policy(first_delay=first, longest_delay=longest)
    delay, after = policy.longest_after(attempt), policy.longest_after(attempt + 1)
    assert first <= delay <= after <= longest
    assert after == pytest.approx(min(2 * delay, longest))
