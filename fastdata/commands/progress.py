"""Progress bars, which are silent where nobody would see them; and what Ctrl-C leaves behind, in a line."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastdata.commands.terminal import echo, printable

Advance = Callable[[int], None]
"""Is told how many more are done."""


@contextmanager
def bar(total: int, unit: str, verb: str) -> Iterator[Advance]:
    """A bar on standard error, where that is a terminal. Whoever interrupts is told how many of the units are done:
    "stopped: 3 of 10 shards verified"."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more

    with interruptible(lambda: f"{done:,} of {total:,} {unit} {verb}"), _drawn(total, unit) as draw:

        def advance(more: int) -> None:
            count(more)
            draw(more)

        yield advance


@contextmanager
def interruptible(finished: Callable[[], str]) -> Iterator[None]:
    """Tells whoever interrupts what is finished."""
    try:
        yield
    except KeyboardInterrupt:
        echo(printable(f"stopped: {finished()}"), err=True)
        raise


@contextmanager
def _drawn(total: int, unit: str) -> Iterator[Advance]:
    if not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("", total=total)
        yield lambda more: shown.update(task, advance=more)


def _ignore(more: int) -> None:
    """Stands for a bar that nobody would see."""
