"""Which shards a path, a URL, a glob or brace notation stands for."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from braceexpand import braceexpand

from fastdata.sources.manifest import load

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # pathlib leaves one slash of two

Urls = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def expand(urls: Urls) -> list[str]:
    """The shards that `urls` stands for: local paths and remote URLs, in the order given.

    Each is a path, a URL, a glob ('*', '?', '[...]', '**'; local, sorted) or brace notation ('{000..007}'), or
    both at once; or a dataset's own json, which lists them. A file that has the very name is taken, whatever the name
    looks like. Raises FileNotFoundError for a path or a glob that names no file, ValueError for a shard that is named
    twice, 'pipe:' URLs, remote globs and no URL at all, ManifestError for a json that is no dataset's.
    """
    shards = [shard for url in as_list(urls) for shard in expand_one(url)]
    refuse_repeated(shards)
    return shards


def as_list(urls: Urls) -> list[str]:
    """The URLs one by one. ValueError for none."""
    given = [urls] if isinstance(urls, str | os.PathLike) else list(urls)
    if not given:
        raise ValueError("no shards: give at least one path or URL")
    return [os.fspath(url) for url in given]


def refuse_repeated(shards: Sequence[str]) -> None:
    """Raises ValueError where two are the same."""
    absolute = cache(lambda folder: str(Path(folder).absolute()))  # a Path of each shard takes longer than all else
    split = [("", shard) if is_remote(shard) else os.path.split(shard) for shard in shards]
    named = Counter([(absolute(folder), name) for folder, name in split])
    (_, shard), times = named.most_common(1)[0] if named else (("", ""), 0)
    if times > 1:
        raise ValueError(f"shard {shard} is named {times} times: its samples would be repeated in every epoch")


def expand_one(url: str) -> Iterator[str]:
    """The shards that one URL stands for, as `expand` says."""
    refuse_pipe(url)
    if is_manifest(url):
        yield from _listed(url)
        return
    if not is_remote(url) and _exists(plain_path(url)):
        yield _file(plain_path(url))
        return
    try:
        alternatives = list(braceexpand(url, escape=False))
    except ValueError:
        raise ValueError(f"unbalanced braces in {url!r}, and no file has that name") from None
    for alternative in alternatives:
        if not is_remote(alternative):
            yield from _local_matches(plain_path(alternative), url)
        elif "*" in alternative:
            raise ValueError(f"{url!r} is a remote glob, which is not expanded: use brace notation, as {{000..007}}")
        else:
            yield alternative


def is_manifest(url: str) -> bool:
    """Whether it names a dataset's json rather than shards."""
    return path_of(url).endswith(".json")


def names_all(urls: Urls) -> bool:
    """Whether all shards of the datasets are meant: a glob's, or those that a json lists."""
    return any(set("*?[") & set(url) or is_manifest(url) for url in as_list(urls))


def beside(url: str, name: str) -> str:
    """The path or URL of the file `name` in the folder of another; what follows a "?" in an HTTP URL stays."""
    where = path_of(url)
    folder, slash, _ = where.rpartition("/")
    return f"{folder}{slash}{name}{url[len(where) :]}"


def path_of(url: str) -> str:
    """A URL without what follows a "?" in an HTTP URL: a signature, say."""
    return url.partition("?")[0] if url.startswith(("http://", "https://")) else url


def _listed(url: str) -> Iterator[str]:
    if is_remote(url):
        raise ValueError(f"{url!r}: a json is read where it is local; name remote shards by brace notation")
    file = Path(plain_path(url))
    for shard in load(file).shards:
        yield _file(str(file.parent / shard.url))


def _local_matches(path: str, url: str) -> Iterator[str]:
    if _exists(path):
        yield _file(path)
        return
    part_of = "" if path == url else f" (from {url!r})"
    if not glob.has_magic(path):
        what = "shard" if path.endswith(".tar") else "file or folder"
        raise FileNotFoundError(f"no {what} {path}{part_of}: check the path")
    matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 -- absolute and relative patterns alike
    if not matches:
        raise FileNotFoundError(f"no shard matches {path}{part_of}: check the pattern")
    yield from map(_file, matches)


def _file(path: str) -> str:
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder: name the shards in it, as {path.rstrip('/')}/*.tar")
    return path


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 -- False, not OSError, for brace notation longer than a file name


def is_remote(url: str) -> bool:
    """Whether it is a URL of something other than a local file."""
    return "://" in url and not url.startswith("file://")


def plain_path(url: str) -> str:
    """The path of a local URL; a file:// URL has its special characters as %XX."""
    return unquote(url.removeprefix("file://")) if url.startswith("file://") else url


def refuse_pipe(url: str) -> None:
    """Raises ValueError for webdataset's 'pipe:' URLs."""
    if url.startswith("pipe:"):
        raise ValueError(f"{url!r} would run a command, and its output cannot be indexed: run it and name the file")


def local_folder(where: str | os.PathLike[str]) -> Path:
    """The local folder that a path, or a file:// URL, names, whether it is there or not.

    ValueError for any other URL, which would else be taken for the folder `s3:`; one of such a name is `./s3:`.
    """
    text = os.fspath(where)
    if text.startswith("file:///"):
        return Path(plain_path(text))
    if _URL.match(text) or text.startswith("pipe:"):
        raise ValueError(f"{text!r} is a URL where a local folder is needed: copy what is there, or write it otherwise")
    return Path(text)
