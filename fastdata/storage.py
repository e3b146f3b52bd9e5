"""Where shards lie: brace notation and globs become a list, remote shards become local files in a cache."""

import glob
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from braceexpand import braceexpand

MAX_NAME = 100  # characters of a URL's basename that its cached file keeps


Urls = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def expand(urls: Urls) -> list[str]:
    """The shards that `urls` stands for: local paths and remote URLs, in the order given.

    Each is a path, a URL, a glob ('*', '?', '[...]', '**'; local, sorted) or brace notation ('{000..007}'), or
    both at once. What exists by the very name is taken by it. Raises FileNotFoundError for a path or a glob
    that names no file, ValueError for a shard that is named twice, 'pipe:' URLs, remote globs and no URL at all.
    """
    given = [urls] if isinstance(urls, str | os.PathLike) else list(urls)
    if not given:
        raise ValueError("no shards: give at least one path or URL")
    shards = [shard for url in given for shard in _expand_one(os.fspath(url))]
    named = Counter(shard if _is_remote(shard) else str(Path(shard).absolute()) for shard in shards)
    shard, times = named.most_common(1)[0]
    if times > 1:
        raise ValueError(f"shard {shard} is named {times} times: its samples would be repeated in every epoch")
    return shards


def local(url: str, cache_dir: str | os.PathLike[str] | None = None) -> str:
    """The path of a local file with what `url` holds.

    Local paths and file:// URLs are where they are. Anything else is copied by fsspec into `cache_dir`
    (default: the environment's FASTDATA_CACHE, else ~/.cache/fastdata), once: what is in the cache already is
    not compared with its source again. The copy appears whole or not at all, whatever other processes do.
    Raises FileNotFoundError, OSError that names the URL when the copy fails, ImportError that names the
    package when the URL's protocol needs one, ValueError for a protocol that fsspec does not know.
    """
    _refuse_pipe(url)
    if not _is_remote(url):
        return _plain(url)
    cache = Path(cache_dir or os.environ.get("FASTDATA_CACHE") or "~/.cache/fastdata").expanduser()
    cached = cache / _cached_name(url)
    if not cached.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _fetch(url, cached)
    return str(cached)


def _expand_one(url: str) -> Iterator[str]:
    _refuse_pipe(url)
    if not _is_remote(url) and _exists(_plain(url)):
        yield _file(_plain(url))
        return
    try:
        alternatives = list(braceexpand(url, escape=False))
    except ValueError:
        raise ValueError(f"unbalanced braces in {url!r}, and no file has that name") from None
    for alternative in alternatives:
        if not _is_remote(alternative):
            yield from _local_matches(_plain(alternative), url)
        elif "*" in alternative:
            raise ValueError(f"{url!r} is a remote glob, which is not expanded: use brace notation, as {{000..007}}")
        else:
            yield alternative


def _local_matches(path: str, url: str) -> Iterator[str]:
    if _exists(path):
        yield _file(path)
        return
    part_of = "" if path == url else f" (from {url!r})"
    if not glob.has_magic(path):
        raise FileNotFoundError(f"no shard {path}{part_of}: check the path")
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


def _is_remote(url: str) -> bool:
    return "://" in url and not url.startswith("file://")


def _plain(url: str) -> str:
    """The path of a local URL; a file:// URL has its special characters as %XX."""
    return unquote(url.removeprefix("file://")) if url.startswith("file://") else url


def _refuse_pipe(url: str) -> None:
    if url.startswith("pipe:"):
        raise ValueError(f"{url!r} would run a command, and its output cannot be indexed: run it and name the file")


def _cached_name(url: str) -> str:
    """A hash of the whole URL, then its basename without a query: a name that is the URL's own, and readable."""
    basename = re.split(r"[?#]", url)[0].rstrip("/").rpartition("/")[2]
    readable = re.sub(r"[^\w.-]", "_", basename)[-MAX_NAME:]
    return f"{blake2b(url.encode(), digest_size=16).hexdigest()}-{readable}"


def _fetch(url: str, destination: Path) -> None:
    """Copy `url` to `destination` under a name of its own first, then rename."""
    filesystem, remote = _filesystem(url)
    part = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}.part")
    try:
        expected = filesystem.info(remote).get("size")
        filesystem.get_file(remote, str(part))
        with part.open("rb") as copied:
            os.fsync(copied.fileno())
        if expected is not None and part.stat().st_size != expected:
            raise OSError(f"{part.stat().st_size} bytes came of {expected}")
        part.replace(destination)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no shard {url}: check the URL") from error
    except Exception as error:  # each protocol's package has errors of its own
        raise OSError(f"could not copy {url} to {destination.parent}: {error or type(error).__name__}") from error
    finally:
        part.unlink(missing_ok=True)


def _filesystem(url: str) -> tuple[Any, str]:
    """fsspec's filesystem of a URL, and the URL's path in it."""
    import fsspec  # imports protocols' packages, which local shards don't need

    try:
        filesystem, path = fsspec.url_to_fs(url)
    except ImportError as error:
        raise ImportError(f"cannot read {url}: its protocol needs a package that is not installed: {error}") from error
    except ValueError as error:
        raise ValueError(f"cannot read {url}: {error}") from error
    return filesystem, str(path)
