"""What a doctor has found."""

from importlib.metadata import PackageNotFoundError, version
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """What was looked at, what it is, and what to do where it could be better (a note) or must be (bad)."""

    what: str
    state: Literal["good", "note", "bad"]
    said: str
    remedy: str = ""


def version_of(name: str) -> str | None:
    """Of an installed distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def in_gigabytes(count: int) -> str:
    """Bytes, to be read."""
    return f"{count / 1e9:.1f} GB"
