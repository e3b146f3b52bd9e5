"""How a command line ended, for tests that run some."""

from collections.abc import Callable
from typing import NamedTuple


class Result(NamedTuple):
    """How a command line ended, and what it said."""

    status: int
    out: str
    err: str


Command = Callable[..., Result]
"""Runs a command line of these arguments."""
