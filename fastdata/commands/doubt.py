"""Options that are surely a mistake: whoever sits there is asked, a script is told."""

import sys
from collections.abc import Sequence

import click

from fastdata.commands.terminal import printable


def ask(problems: Sequence[str], sure: bool) -> None:
    """Asks about each on a terminal; click.Abort for a no. Elsewhere BadParameter, unless it is `sure`."""
    for problem in () if sure else problems:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise click.BadParameter(printable(f"{problem}; say --yes if that is meant"))
        click.confirm(printable(f"{problem}. Go on?"), abort=True, err=True)
