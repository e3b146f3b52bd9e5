"""What is made of the values that a command line gives."""

from collections.abc import Callable
from typing import TypeVar

import click

T = TypeVar("T")
G = TypeVar("G")


def parsed(parse: Callable[[G], T], given: G, option: str) -> T:
    """What is made of an option's value; BadParameter where that raises ValueError."""
    try:
        return parse(given)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def said(error: Exception) -> str:
    """What an error says; that of the system without its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def listed(text: str | None) -> list[str]:
    """The names in 'a,b'."""
    return [] if text is None else [name.strip() for name in text.split(",")]


def numbers(text: str) -> list[int]:
    """The numbers in '1,2,4'; ValueError for one that is none, or less than 1."""
    try:
        found = [int(number) for number in text.split(",") if number.strip()]
    except ValueError:
        raise ValueError(f"{text!r} is no list of whole numbers, as 1,2,4") from None
    if any(number < 1 for number in found):
        raise ValueError(f"{text!r} has a number below 1")
    return found
