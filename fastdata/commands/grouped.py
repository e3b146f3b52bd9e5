"""A command's options in groups: each group is a dataclass, whose fields typer sees as the command's own options."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, TypeVar, get_type_hints

import typer

T = TypeVar("T")
G = TypeVar("G")


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of its dataclasses in their place, as keywords; they have defaults, all of them."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        parameters += _parameters(groups[name]) if name in groups else [parameter.replace(annotation=hints[name])]

    @wraps(command)
    def ungrouped(**given: Any) -> None:
        made = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **made)

    ungrouped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    ungrouped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return ungrouped


def _parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(field.name, keyword, default=field.default, annotation=hints[field.name])
        for field in fields(group)
    ]


def option(group: str, help: str, *names: str, **how: Any) -> Any:
    """An option in a group of --help."""
    return typer.Option(*names, help=help, rich_help_panel=group, **how)


def parsed(parse: Callable[[G], T], given: G, option: str) -> T:
    """What is made of an option's value; BadParameter where that raises ValueError."""
    try:
        return parse(given)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


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
