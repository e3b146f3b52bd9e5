"""Whose fault an error is, and how often it is tried again."""

import errno
import time
from collections.abc import Callable

import pytest

from fastdata.sources import faults
from fastdata.sources.faults import as_machines, is_machines, patiently


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "EIO", "ENOMEM", "ESTALE", "EAGAIN", "ETIMEDOUT", "ENOTCONN"])
def test_faults_of_the_machine(name: str) -> None:
    assert is_machines(OSError(getattr(errno, name), "said by the system"))


@pytest.mark.parametrize("name", ["ENOENT", "EISDIR", "EACCES", "ELOOP", "ENAMETOOLONG"])
def test_faults_of_a_sample(name: str) -> None:
    assert not is_machines(OSError(getattr(errno, name), "said by the system"))


def test_what_the_package_itself_refuses_is_the_samples_fault() -> None:
    assert not is_machines(OSError("a.jpg is no regular file"))


@pytest.mark.parametrize("error", [OSError(errno.EIO, "said"), FileNotFoundError("a")])
def test_what_says_whose_fault_it_is_stays_what_it_is(error: OSError) -> None:
    with pytest.raises(OSError, match=str(error.args[-1])) as caught, as_machines("s3://bucket/a"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("error", [OSError("no answer"), PermissionError("no answer")])
def test_a_fault_of_a_network_or_of_credentials_is_one_of_the_machine(error: OSError) -> None:
    with pytest.raises(OSError, match="no answer") as caught, as_machines("s3://bucket/a"):
        raise error
    assert is_machines(caught.value)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, "s3://bucket/a")


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, of which none pass."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def failing(times: int, calls: list[str], name: str) -> Callable[[], str]:
    """Raises so many times, counted over all of `calls`."""

    def attempt() -> str:
        calls.append(name)
        if len(calls) <= times:
            raise OSError(errno.EIO, f"attempt {len(calls)}")
        return name

    return attempt


@pytest.mark.parametrize("times", [0, 1, 3])
def test_what_fails_is_tried_again_after_growing_waits(waited: list[float], times: int) -> None:
    calls: list[str] = []
    made = patiently(failing(times, calls, "first"), failing(times, calls, "again"))
    assert made == ("again" if times else "first")
    assert calls == ["first", *["again"] * times]
    assert waited == list(faults.WAITS[:times])
    assert waited == sorted(waited)


def test_what_goes_on_failing_is_raised_as_it_is(waited: list[float]) -> None:
    calls: list[str] = []
    with pytest.raises(OSError, match="attempt 4") as caught:
        patiently(failing(9, calls, "first"), failing(9, calls, "again"))
    assert caught.value.errno == errno.EIO
    assert len(waited) == 3
