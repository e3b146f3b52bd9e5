"""Local copies of remote shards, in a folder that nobody else can write into."""

import os
import re
import stat
from hashlib import blake2b
from pathlib import Path

import platformdirs

from fastdata.sources.storage import storage_of
from fastdata.sources.urls import is_remote, plain_path, refuse_pipe

MAX_NAME = 100  # characters of a URL's basename that its cached file keeps


def local(url: str, cache_dir: str | os.PathLike[str] | None = None) -> str:
    """The path of a local file with what `url` holds.

    Local paths and file:// URLs are where they are. Anything else is copied into `cache_dir` (default: the
    environment's FASTDATA_CACHE, else the user's cache folder, such as ~/.cache/fastdata), once: what is in the cache
    already is not compared with its source again. The copy appears whole or not at all, whatever other processes do.
    Raises FileNotFoundError, OSError that names the URL when the copy fails, PermissionError for a cache that others
    can write into, ImportError that names the package when the URL's protocol needs one, ValueError for a protocol
    that fsspec does not know.
    """
    refuse_pipe(url)
    if not is_remote(url):
        return plain_path(url)
    given = cache_dir or os.environ.get("FASTDATA_CACHE")
    cache = Path(given).expanduser() if given else platformdirs.user_cache_path("fastdata", appauthor=False)
    _make_private(cache)
    cached = cache / _cached_name(url)
    if not cached.exists():
        storage_of(url).get_file(url, cached)
    return str(cached)


def _make_private(cache: Path) -> None:
    """Makes the folder, for its user alone; PermissionError where others can put files into it.

    A file's name in the cache is a function of its URL, so whoever can write there could have laid another's shard
    under it. A sticky bit does not help against that.
    """
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.mkdir(mode=0o700, exist_ok=True)
    status = cache.stat()
    todo = "say another by FASTDATA_CACHE"
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise PermissionError(f"the cache {cache} belongs to user {status.st_uid}, who could plant shards: {todo}")
    if status.st_mode & stat.S_IWOTH:
        raise PermissionError(f"everyone may write into the cache {cache}, and plant shards: chmod o-w, or {todo}")


def _cached_name(url: str) -> str:
    """A hash of the whole URL, then its basename without a query: a name that is the URL's own, and readable."""
    basename = re.split(r"[?#]", url)[0].rstrip("/").rpartition("/")[2]
    readable = re.sub(r"[^\w.-]", "_", basename)[-MAX_NAME:]
    return f"{blake2b(url.encode(), digest_size=16).hexdigest()}-{readable}"
