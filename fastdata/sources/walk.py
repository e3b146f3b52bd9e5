"""Walk a directory along glob patterns."""

import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from braceexpand import braceexpand

Identity = tuple[int, int]
"""A directory's device and inode."""

Patterns = frozenset[tuple[str, ...]]
"""What may still follow below a directory, one segment a level."""

ANYTHING: Patterns = frozenset({("**", "*"), ("*",)})


def walk(root: str, top: str, patterns: Patterns, above: frozenset[Identity]) -> Iterator[tuple[str, list[str]]]:
    """Each directory from `top` down that `patterns` lead to, with those of its files that they match; unsorted.

    Symbolic links are followed, but not into a directory that they lie in (`above` has those above `top`).
    Listings tell files from directories, so only directories and links cost a stat.
    """
    pending = [(top, patterns, above)]
    while pending:
        directory, patterns, above = pending.pop()
        place = join(root, directory) if directory else root
        own = identity(place)
        if own in above:
            continue
        names = []
        last = {p[0] for p in patterns if len(p) == 1}
        all_shown = "*" in last  # spares most walks a match for each name
        with os.scandir(place) as entries:
            for entry in entries:
                name = entry.name
                if not is_directory(entry):
                    if (all_shown and name[0] != ".") or any(_matches(name, segment) for segment in last):
                        names.append(name)
                elif below := _below(patterns, name):
                    pending.append((join(directory, name), below, above | {own}))
        yield directory, names


def is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether it is a directory, or a link to one.

    A link to itself is none: like any broken link it is a file, and the error on reading it says its name.
    """
    try:
        return entry.is_dir()
    except OSError:
        return False


def identity(directory: str) -> Identity:
    """What a directory is known by, whatever path leads to it."""
    status = Path(directory).stat()
    return status.st_dev, status.st_ino


def patterns_of(pattern: str) -> Patterns:
    """The pattern's alternatives, each as its segments."""
    segments = {tuple(p.split("/")) for p in braceexpand(pattern, escape=False)}
    for parts in segments:
        if not all(parts) or not {".", ".."}.isdisjoint(parts):
            raise ValueError(f"pattern {pattern!r} must be a path below the root, without '.', '..' or '//'")
    return _with_none_for_stars((*p, "*") if p[-1] == "**" else p for p in segments)


def _with_none_for_stars(patterns: Iterable[tuple[str, ...]]) -> Patterns:
    """The patterns, and what they are where a leading '**' stands for no folder at all."""
    closed = set()
    for parts in patterns:
        closed.add(parts)
        while parts[0] == "**":
            parts = parts[1:]
            closed.add(parts)
    return frozenset(closed)


def _below(patterns: Patterns, folder: str) -> Patterns:
    """What is left of the patterns below `folder`; empty when they do not lead there."""
    deeper = (p if p[0] == "**" else p[1:] for p in patterns if len(p) > 1 and _matches(folder, p[0]))
    return _with_none_for_stars(deeper)


def _matches(name: str, segment: str) -> bool:
    return fnmatchcase(name, segment) and (segment[0] == "." or name[0] != ".")


def join(directory: str, name: str) -> str:
    """The path of `name` in a directory, which is '' for the root."""
    return f"{directory}/{name}" if directory else name
