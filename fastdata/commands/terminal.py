"""What was read from elsewhere, as it may be shown on a terminal."""

import io
import sys

import click


def printable(text: object) -> str:
    """The text, with what a terminal would act on, or could not show, escaped as in a Python string.

    A file's or a class's name may hold sequences that recolour, overwrite or retitle a terminal.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def escape_what_the_terminal_lacks() -> None:
    """Has standard output escape, as in a Python string, the letters that are not in its encoding: a command does not
    fail for a class's name in a C locale."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def echo(text: str, *, err: bool = False) -> None:
    """Prints a line on standard output, or standard error, with the letters that it lacks escaped.

    `click.echo` that is not told where to takes ASCII for a misconfiguration, and writes UTF-8.
    """
    click.echo(text, sys.stderr if err else sys.stdout)
