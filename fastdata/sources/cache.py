"""Local copies of remote shards."""

import os
import re
from hashlib import blake2b
from pathlib import Path

from fastdata.sources.remote import _fetch
from fastdata.sources.urls import _is_remote, _plain, _refuse_pipe

MAX_NAME = 100  # characters of a URL's basename that its cached file keeps


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


def _cached_name(url: str) -> str:
    """A hash of the whole URL, then its basename without a query: a name that is the URL's own, and readable."""
    basename = re.split(r"[?#]", url)[0].rstrip("/").rpartition("/")[2]
    readable = re.sub(r"[^\w.-]", "_", basename)[-MAX_NAME:]
    return f"{blake2b(url.encode(), digest_size=16).hexdigest()}-{readable}"
