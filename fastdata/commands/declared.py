"""A command is a function. Its parameters are arguments and options, and so are the fields of dataclasses among them.

    def shard(src: Annotated[str, argument("A folder.")], images: ImageOptions) -> None: ...

Every parameter is Annotated, by `argument` or `option`, or such a dataclass. Types are str, int, float, bool (a flag),
Path, a StrEnum's members, list[str] for arguments, or any of these or None.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import click
from click.shell_completion import CompletionItem


@dataclass(frozen=True)
class Declared:
    """What stands beside an argument's or an option's type; `section` is the option's in --help, '' for an argument.

    `exists`: of a Path that names a file which must be there.
    """

    section: str
    help: str
    names: tuple[str, ...] = ()
    metavar: str | None = None
    min: float | None = None
    max: float | None = None
    exists: bool = False
    is_file: bool = False  # of an option's text: shells complete it as a path, as they do an argument's


def option(section: str, help: str, *names: str, **how: Any) -> Declared:
    """An option in a section of --help: by its parameter's name, unless others are given; `how` as in `Declared`."""
    return Declared(section, help, names, **how)


def argument(help: str, metavar: str | None = None) -> Declared:
    """An argument, required unless its parameter has a default."""
    return Declared("", help, metavar=metavar)


def command(function: Callable[..., None]) -> click.Command:
    """The command that calls the function, with its name and its docstring."""
    declared = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in declared.items() if is_dataclass(hint)}
    of_command = inspect.signature(function).parameters
    parameters: dict[click.Parameter, str] = {}
    for name, parameter in of_command.items():
        if name in groups:
            parameters |= dict(_options_of(groups[name]))
        else:
            made, section = _parameter(name, declared[name], parameter.default)
            parameters[made] = section

    def call(**given: Any) -> None:
        made = {
            name: group(**{each.name: given.pop(each.name) for each in fields(group)}) for name, group in groups.items()
        }
        function(**given, **made)

    return _Command(function.__name__, parameters, call, inspect.getdoc(function))


def _options_of(group: Any) -> Iterator[tuple[click.Parameter, str]]:
    hints = get_type_hints(group, include_extras=True)
    return (_parameter(each.name, hints[each.name], each.default) for each in fields(group))


def _parameter(name: str, hint: Any, default: Any) -> tuple[click.Parameter, str]:
    """An argument or option, and its section in --help."""
    kind, declared = get_args(hint)
    several = get_origin(kind) is list
    kind = next(each for each in get_args(kind) or (kind,) if each is not NoneType)
    how: dict[str, Any] = {"metavar": declared.metavar, "help": declared.help}
    if default is not inspect.Parameter.empty:
        how["default"] = default.value if isinstance(default, StrEnum) else default
    if kind is str and (declared.is_file or not declared.section):
        how["shell_complete"] = _files
    if not declared.section:
        required = "default" not in how
        if several:
            how |= {"nargs": -1, "callback": lambda context, parameter, given: list(given)}
        return click.Argument([name], type=_type(kind, declared), required=required, **how), declared.section
    names = declared.names or (f"--{name.replace('_', '-')}",)
    typed: dict[str, Any] = {"is_flag": True} if kind is bool else {"type": _type(kind, declared)}
    shown = how.get("default") != ""  # which would stand there as [default: ""]
    return click.Option([name, *names], show_default=shown, **typed, **how), declared.section


def _files(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Has the shell complete a path."""
    return [CompletionItem(begun, type="file")]


def _type(kind: Any, declared: Declared) -> click.ParamType[Any]:
    bounds: Any = declared.min, declared.max
    if kind is int:
        return click.IntRange(*bounds)
    if kind is float:
        return click.FloatRange(*bounds)
    if kind is Path:
        return click.Path(exists=declared.exists, dir_okay=not declared.exists, path_type=Path)
    return _Member(kind) if issubclass(kind, StrEnum) else click.STRING


class _Member(click.Choice[str]):
    """A member of a StrEnum, by its value."""

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__([member.value for member in kind])
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> StrEnum:
        return self._kind(super().convert(value, param, ctx))


class _Command(click.Command):
    """A command whose help has a section for each group of options."""

    def __init__(
        self, name: str, sections: dict[click.Parameter, str], call: Callable[..., None], help: str | None
    ) -> None:
        first = (help or "").partition("\n\n")[0]  # whole, which click would shorten to a line
        super().__init__(name, params=list(sections), callback=call, help=help, short_help=first)
        self._sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                rows.setdefault(self._sections.get(parameter, "Options"), []).append(record)
        for section, records in rows.items():
            with formatter.section(section):
                formatter.write_dl(records)


class Commands(click.Group):
    """Commands, which --help lists in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)
