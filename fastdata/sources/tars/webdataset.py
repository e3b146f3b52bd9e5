"""WebDataset's layout: which members of a tar file make which sample."""

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fastdata.errors import TarError
from fastdata.sample import key_hash as key_hash
from fastdata.sources.regular import open_regular
from fastdata.sources.tars.forward import Forward
from fastdata.sources.tars.tar import Member, walk


class Group(NamedTuple):
    """The members of one sample by extension; `start` is where the first header of the first one lies."""

    key: str
    start: int
    parts: dict[str, Member]


def split_name(name: str) -> tuple[str, str] | None:
    """Key and extension of a member's name, by WebDataset's rule.

    The key is the path up to the first dot of the basename (without a leading `./`, which tar writes for a folder
    packed as `.`); the extension is the rest in lower case. None for what is no component of a sample: names without
    extension, hidden files, and those below WebDataset's `__meta__` names. (webdataset's own expression hides
    `.a.jpg` but takes `b/.a.jpg` for the component `a.jpg` of a sample `b/`.)
    """
    name = name.removeprefix("./")
    directory, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    if not stem or not extension:
        return None
    if name.startswith("__") and (top := name.partition("/")[0]).endswith("__") and len(top) >= 4:
        return None
    return directory + slash + stem, extension.lower()


def groups(file: int | Forward, path: str, on_component: Callable[[Member], object] | None = None) -> Iterator[Group]:
    """The samples of an open shard, or of a stream, in order: consecutive members that share a key.

    `on_component` is told of each member as it comes, before what lies behind it is read. Raises TarError for an
    extension twice in one sample, a key that comes back after another, and links.
    """

    def refuse_link(name: str, start: int) -> None:
        if split_name(name) is not None:  # to go on without its bytes would lose the sample in silence
            problem = f"{name!r} is a link, whose bytes are elsewhere; repack by tar --dereference --hard-dereference"
            raise TarError.at(path, start, problem)

    seen: dict[str, int] = {}
    group = Group("", 0, {})
    for member in walk(file, path, on_link=refuse_link):
        split = split_name(member.name)
        if split is None:
            continue
        key, extension = split
        if key != group.key:
            if group.parts:
                yield group
            if key in seen:
                problem = f"key {key!r} again, after the one at {seen[key]} and others: members of a sample must be"
                raise TarError.at(path, member.start, f"{problem} consecutive, and keys unique; repack the shard")
            seen[key] = member.start
            group = Group(key, member.start, {})
        if extension in group.parts:
            problem = f"key {key!r} has two components {extension!r}; rename one and repack the shard"
            raise TarError.at(path, member.start, problem)
        group.parts[extension] = member
        if on_component is not None:
            on_component(member)
    if group.parts:
        yield group


def dali_index(path: str | os.PathLike[str]) -> str:
    """The index of a shard for DALI's `fn.readers.webdataset(index_paths=…)`: the text of its `.idx`, version 1.2.

    It has a line for each sample, with `<extension> <data offset> <size> <name>` for each component, as DALI's
    wds2idx writes it, but with extensions in lower case. DALI splits lines at blanks and shows names in messages
    only, so a name's blanks are written as `_`. Names may hold surrogates: write the text with
    errors="surrogateescape". Raises TarError for an extension with a blank, and what `members` raises.
    """
    path = os.fspath(path)
    fd = open_regular(path)
    try:
        lines = [_dali_line(path, group) for group in groups(fd, path)]
    finally:
        os.close(fd)
    return "".join([f"v1.2 {len(lines)}\n", *lines])


def _dali_line(path: str, group: Group) -> str:
    words = []
    for extension, member in group.parts.items():
        if extension.split() != [extension]:
            problem = f"component {extension!r} of {group.key!r}: DALI's index has no way to write a blank"
            raise TarError.at(path, member.start, f"{problem}; rename it and repack the shard")
        words += [extension, str(member.offset), str(member.size), "_".join(member.name.split())]
    return " ".join(words) + "\n"
