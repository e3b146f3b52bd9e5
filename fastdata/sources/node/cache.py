"""Local copies of remote shards, in a folder that nobody else can write into."""

import glob
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import platformdirs

from fastdata.errors import ReplacedError
from fastdata.sources.node.byte_locks import wait_for_lock
from fastdata.sources.regular import open_private
from fastdata.sources.stores.storage import storage_of
from fastdata.sources.tars.content_hash import hash_of
from fastdata.sources.urls import is_remote, plain_path, refuse_pipe

CacheDir = str | os.PathLike[str] | None

MAX_NAME = 100  # characters of a URL's basename that its cached file keeps


def local(url: str, cache_dir: CacheDir = None, content: str = "") -> str:
    """The path of a local file with what `url` holds.

    Local paths and file:// URLs are where they are. Anything else is copied into `cache_dir` (default: the
    environment's FASTDATA_CACHE, else the user's cache folder, such as ~/.cache/fastdata), once: what is in the cache
    already is not compared with its source again. The copy appears whole or not at all, whatever other processes do,
    and, where `content` is the hash of what the URL should have, as `content_hash` names it, only with these bytes.
    Raises FileNotFoundError, OSError that names the URL when the copy fails, PermissionError for a cache that others
    can write into, ImportError that names the package when the URL's protocol needs one, ValueError for a protocol
    that fsspec does not know.
    """
    refuse_pipe(url)
    if not is_remote(url):
        return plain_path(url)

    def copy(part: Path) -> None:
        storage_of(url).get_file(url, part)
        if content:
            _compare(url, part, content)

    cached = cache_folder(cache_dir) / cached_name(url, content)
    make_once(cached, copy)
    return str(cached)


def make_once(cached: Path, make: Callable[[Path], None]) -> None:
    """Has a file made that is not in the cache yet: by one thread of all processes of this node, others wait for it.

    What `make` writes at the path that it is given appears whole, and is removed where it raises; then the next one
    tries. OSError where the folder's file system has no locks.
    """
    if cached.exists():
        return
    with _alone(cached.with_name(f".{cached.name}.lock")):
        if cached.exists():
            return
        for left in cached.parent.glob(f".{glob.escape(cached.name)}.*.part*"):
            left.unlink(missing_ok=True)  # by one that was killed: whoever makes it now is here
        part = cached.with_name(f".{cached.name}.{secrets.token_hex(8)}.part")
        try:
            make(part)
            part.replace(cached)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """A block that no other thread or process is in at the same time, unless one before has failed.

    Its lock file is removed. Those who have it open by then come one after another, too, and find what was made.
    """
    fd = open_private(lock)
    try:
        wait_for_lock(fd, 0, 1, exclusive=True)
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(fd)


def _compare(url: str, part: Path, content: str) -> None:
    with part.open("rb") as file:
        if hash_of(file.fileno(), like=content) != content:
            problem = (
                "what came is not what the dataset's json says, replaced or damaged on its way: copy it there again"
            )
            raise ReplacedError(f"{url}: {problem}")


def cache_folder(cache_dir: CacheDir = None) -> Path:
    """The folder that `local` copies into, made where it is not there.

    PermissionError where others can write in it, another OSError where it can't be made.
    """
    given = cache_dir or os.environ.get("FASTDATA_CACHE")
    cache = Path(given).expanduser() if given else platformdirs.user_cache_path("fastdata", appauthor=False)
    _make_private(cache)
    return cache


def _make_private(cache: Path) -> None:
    """Makes the folder, for its user alone; PermissionError where others can put files into it.

    A file's name in the cache is a function of its URL, so whoever can write there could have laid another's shard
    under it. A sticky bit does not help against that.
    """
    todo = "say another by FASTDATA_CACHE or fd.Cache(dir)"
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, making the cache's folder: {todo}", str(cache)) from error
    status = cache.stat()
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise PermissionError(f"the cache {cache} belongs to user {status.st_uid}, who could plant shards: {todo}")
    if status.st_mode & stat.S_IWOTH:
        raise PermissionError(f"everyone may write into the cache {cache}, and plant shards: chmod o-w, or {todo}")


def cached_name(url: str, content: str = "") -> str:
    """A hash of the whole URL, then its basename without a query: a name that is the URL's own, and readable.

    With `content`, such as a checksum of what the URL has, it is the name of that content there alone.
    """
    basename = re.split(r"[?#]", url)[0].rstrip("/").rpartition("/")[2]
    readable = re.sub(r"[^\w.-]", "_", basename, flags=re.ASCII)[-MAX_NAME:]
    hashed = blake2b(url.encode(), digest_size=16)
    if content:
        hashed.update(b"\0" + content.encode())
    return f"{hashed.hexdigest()}-{readable}"
