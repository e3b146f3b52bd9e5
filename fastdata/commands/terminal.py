"""What was read from elsewhere, as it may be shown on a terminal."""

import io
import sys


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
