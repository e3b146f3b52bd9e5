"""Walk a directory along glob patterns."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple, Protocol

from braceexpand import braceexpand

Identity = tuple[int, int]
"""A directory's device and inode."""

Patterns = frozenset[tuple[str, ...]]
"""What may still follow below a directory, one segment a level."""

ANYTHING: Patterns = frozenset({("**", "*"), ("*",)})


class Top(NamedTuple):
    """What lies directly in a folder, but for hidden names: the names of its folders, and how many files."""

    folders: list[str]
    files: int


class Folder(Protocol):
    """Where files lie that are scanned: a local folder, or what lies below a URL."""

    @property
    def root(self) -> str:
        """Its path or URL."""

    @property
    def has_links(self) -> bool:
        """Whether `top` and `walk` have come upon a symbolic link so far."""

    def top(self) -> Top:
        """What lies directly in it. FileNotFoundError for a link to what is not there."""

    def walk(self, top: str, patterns: Patterns) -> Iterator[tuple[str, list[str]]]:
        """Each directory from `top` down that `patterns` lead to, with those of its files that they match; unsorted."""

    def files_in(self, directory: str) -> Iterator[str]:
        """The names of the files in a directory below the root, but for hidden ones."""


@dataclass
class LocalFolder:
    """A folder on a disk."""

    root: str
    has_links: bool = False

    def top(self) -> Top:
        folders, files = [], 0
        with os.scandir(self.root) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                self.has_links |= entry.is_symlink()
                if is_directory(entry):
                    folders.append(entry.name)
                elif entry.is_symlink() and not Path(entry).exists():  # a class whose images would be missing, perhaps
                    raise FileNotFoundError(f"{entry.path} is a link to what is not there: mend it, or remove it")
                else:
                    files += 1
        return Top(folders, files)

    def walk(self, top: str, patterns: Patterns) -> Iterator[tuple[str, list[str]]]:
        """Each directory from `top` down that `patterns` lead to, with those of its files that they match; unsorted.

        Symbolic links are followed, but not into a directory that they lie in.
        Listings tell files from directories, so only directories and links cost a stat.
        """
        pending = [(top, patterns, frozenset({identity(self.root)} if top else ()))]
        while pending:
            directory, patterns, above = pending.pop()
            place = join(self.root, directory) if directory else self.root
            own = identity(place)
            if own in above:
                continue
            names = []
            last = _last(patterns)
            all_shown = "*" in last  # spares most walks a match for each name
            with os.scandir(place) as entries:
                for entry in entries:
                    name = entry.name
                    if entry.is_symlink():
                        self.has_links = True
                    if not is_directory(entry):
                        if (all_shown and name[0] != ".") or _is_one_of(name, last):
                            names.append(name)
                    elif below := _below(patterns, name):
                        pending.append((join(directory, name), below, above | {own}))
            yield directory, names

    def files_in(self, directory: str) -> Iterator[str]:
        with os.scandir(join(self.root, directory)) as entries:
            yield from (entry.name for entry in entries if not entry.name.startswith(".") and not is_directory(entry))


class ListedFolder:
    """What lies below a URL, by the names that a listing has, relative to it; folders are what names have in common.

    A store's marker of a folder, an object without bytes of the folder's own name, is not a file.
    """

    has_links = False

    def __init__(self, root: str, names: Iterable[str]) -> None:
        self.root = root
        self._files: dict[str, list[str]] = {"": []}
        self._folders: dict[str, set[str]] = {}
        for name in names:
            directory, _, base = name.rpartition("/")
            if directory not in self._files:
                self._add(directory)
            self._files[directory].append(base)

    def _add(self, directory: str) -> None:
        """Notes a directory in those that it lies in."""
        self._files[directory] = []
        while directory:
            above, _, base = directory.rpartition("/")
            self._folders.setdefault(above, set()).add(base)
            self._files.setdefault(above, [])
            directory = above

    def top(self) -> Top:
        folders = [name for name in self._folders.get("", ()) if not name.startswith(".")]
        return Top(folders, sum(1 for _ in self.files_in("")))

    def walk(self, top: str, patterns: Patterns) -> Iterator[tuple[str, list[str]]]:
        pending = [(top, patterns)]
        while pending:
            directory, patterns = pending.pop()
            below = ((name, _below(patterns, name)) for name in self._folders.get(directory, ()))
            pending += [(join(directory, name), left) for name, left in below if left]
            last = _last(patterns)
            yield directory, [name for name in self._of(directory) if _is_one_of(name, last)]

    def files_in(self, directory: str) -> Iterator[str]:
        return (name for name in self._of(directory) if not name.startswith("."))

    def _of(self, directory: str) -> Iterator[str]:
        folders = self._folders.get(directory, ())
        return (name for name in self._files.get(directory, ()) if name and name not in folders)


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


def _last(patterns: Patterns) -> set[str]:
    """The segments that files match here."""
    return {p[0] for p in patterns if len(p) == 1}


def _is_one_of(name: str, segments: Iterable[str]) -> bool:
    return any(_matches(name, segment) for segment in segments)


def _matches(name: str, segment: str) -> bool:
    return fnmatchcase(name, segment) and (segment[0] == "." or name[0] != ".")


def join(directory: str, name: str) -> str:
    """The path of `name` in a directory, which is '' for the root."""
    return f"{directory}/{name}" if directory else name
