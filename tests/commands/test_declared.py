"""A command's arguments and options are the parameters of a function."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import click
import pytest

from fastdata.commands.declared import argument, command, option


class Colour(StrEnum):
    DARK_RED = "dark-red"
    BLUE = "blue"


@dataclass(frozen=True)
class Looks:
    colour: Annotated[Colour, option("Looks", "Of the paint.")] = Colour.BLUE
    max_side: Annotated[int | None, option("Looks", "In pixels.", min=1, metavar="N")] = None
    out: Annotated[Path, option("Where it goes", "A file.")] = Path("a.png")
    title: Annotated[str, option("Where it goes", "Above it.")] = ""
    as_json: Annotated[bool, option("Where it goes", "One line.", "--json")] = False


given: list[Any] = []


def paint(
    things: Annotated[list[str], argument("What is painted.")],
    looks: Looks,
    rate: Annotated[float, option("Speed", "A second.", max=2)] = 1.5,
) -> None:
    """Paint things.

    At length.
    """
    given.append((things, looks, rate))


def run(*arguments: str) -> Any:
    given.clear()
    command(paint).main(list(arguments), standalone_mode=False)
    return given.pop()


def test_values_have_their_types_and_fields_of_dataclasses_are_options() -> None:
    assert run("wall") == (["wall"], Looks(), 1.5)
    many = run("a", "b", "--colour", "dark-red", "--max-side", "7", "--out", "x/y", "--json", "--rate", "2")
    assert many == (["a", "b"], Looks(Colour.DARK_RED, 7, Path("x/y"), "", True), 2.0)
    assert isinstance(run("wall")[1].colour, Colour)
    assert isinstance(many[1].out, Path)


@pytest.mark.parametrize(
    "wrong", [[], ["a", "--max-side", "0"], ["a", "--rate", "2.1"], ["a", "--colour", "red"], ["a", "--as-json"]]
)
def test_what_does_not_fit_is_a_wrong_usage(wrong: list[str]) -> None:
    with pytest.raises(click.UsageError):
        run(*wrong)


def test_help_has_a_section_for_each_group_with_the_defaults() -> None:
    made = command(paint)
    text = made.get_help(click.Context(made, info_name="paint"))
    sections = [line for line in text.splitlines() if line and not line.startswith(" ") and line.endswith(":")]
    assert sections == ["Positional arguments:", "Looks:", "Where it goes:", "Speed:", "Options:"]
    assert " ".join(text.split()).count("[dark-red|blue] Of the paint. [default: blue]") == 1
    assert "--title TEXT Above it. --json" in " ".join(text.split())
    assert (made.name, made.short_help) == ("paint", "Paint things.")
