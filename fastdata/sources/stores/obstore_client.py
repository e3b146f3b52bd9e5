"""obstore's clients: which one a URL needs, made once in each process and for each bucket or HTTP host."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from fastdata.cpus import interrupt_nobody
from fastdata.sources.stores import retry
from fastdata.sources.stores.forked_obstore import obstore

MAX_CLIENTS = 64  # kept with their connections; URLs that are signed one by one have one each
THREADS = 12  # times the ranges of a group: requests in flight, and connections; 256 open files have to suffice

# An answer may take as long as its bytes come: a limit on the whole would end large ones on slow lines. So it is
# silence that ends one.
_TIMEOUTS = {"connect_timeout": "10s", "read_timeout": "30s", "timeout": "1h"}

# What obstore itself would take from the environment, if it were not told the timeouts.
_OPTIONS = ("allow_http", "allow_invalid_certificates", "proxy_url", "proxy_excludes", "root_certificate")
_PREFIXES = {"s3": "AWS", "s3a": "AWS", "gs": "GOOGLE"}  # of environment variables; the others are Azure's


class Place(NamedTuple):
    """Where an object is: `base` is what a client is made for, `path` lies in it."""

    base: str
    path: str


@lru_cache(4096)
def place(url: str) -> Place:
    """Paths of s3, gs and az URLs are taken literally, as those of boto3 and fsspec; http's are percent-encoded."""
    if url.partition("://")[0].lower() in ("http", "https"):
        return _http_place(url)
    scheme, _, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    return Place(f"{scheme.lower()}://{bucket}", path)


def _http_place(url: str) -> Place:
    """The host, with the query that belongs to the request; or the whole URL, where its path would not come through."""
    parts = urlsplit(url)
    path = unquote(parts.path).lstrip("/")
    names = path.split("/")
    if all(names) and not {".", ".."} & set(names) and unquote(quote(path)) == path and "%2f" not in parts.path.lower():
        return Place(parts._replace(path="/", fragment="").geturl(), path)
    return Place(parts._replace(fragment="").geturl(), "")


def client(base: str, uploading: bool = False) -> Any:
    """obstore's client of a bucket or a host; one for `uploading` tries again itself, part by part."""
    return _own.client(base, uploading, _environment())


def threads() -> ThreadPoolExecutor:
    """The threads that wait for answers."""
    return _own.threads()


def _new_client(base: str, uploading: bool, environment: tuple[tuple[str, str], ...]) -> Any:
    scheme = base.partition("://")[0]
    if scheme in ("http", "https"):
        store, given = obstore().store.HTTPStore, {"allow_http": "true"}
    else:
        prefix = f"{_PREFIXES.get(scheme, 'AZURE')}_"
        found = {name.upper(): value for name, value in environment}
        store = obstore().store
        given = {name: found[f"{prefix}{name.upper()}"] for name in _OPTIONS if f"{prefix}{name.upper()}" in found}
    return store.from_url(
        base, client_options={**_TIMEOUTS, **given}, retry_config=_own_retries() if uploading else {"max_retries": 0}
    )


def _own_retries() -> dict[str, Any]:
    """Our policy, in obstore's words."""
    policy = retry.policy
    return {
        "max_retries": policy.attempts - 1,
        "retry_timeout": timedelta(seconds=policy.total),
        "backoff": {
            "init_backoff": timedelta(seconds=policy.first_delay),
            "max_backoff": timedelta(seconds=policy.longest_delay),
            "base": 2,
        },
    }


def _environment() -> tuple[tuple[str, str], ...]:
    """The variables that clients are made from: whoever changes them gets other clients."""
    global _seen
    raw = os.environ._data  # type: ignore[attr-defined]  # going through it by its public face takes half a fetch's time
    if raw != _seen[0]:
        ours = ("AWS_", "GOOGLE_", "AZURE_")
        found = sorted((name, value) for name, value in os.environ.items() if name.startswith(ours))
        _seen = raw.copy(), tuple(found)
    return _seen[1]


_seen: tuple[object, tuple[tuple[str, str], ...]] = None, ()


class _Process:
    """What belongs to one process."""

    def __init__(self) -> None:
        self.client = lru_cache(maxsize=MAX_CLIENTS)(_new_client)
        self.threads = lru_cache(maxsize=1)(lambda: ThreadPoolExecutor(THREADS, "fastdata-storage", interrupt_nobody))


_own = _Process()
_of_parents: list[_Process] = []  # kept: dropping a parent's client would touch its runtime


def _after_fork() -> None:
    """A child has neither its parent's threads nor its connections."""
    global _own
    _of_parents.append(_own)
    _own = _Process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
