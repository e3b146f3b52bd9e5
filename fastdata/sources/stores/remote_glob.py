"""Remote globs: which files below a folder match."""

import re

from braceexpand import braceexpand

from fastdata.sources.stores.storage import storage_of


def remote_matches(url: str) -> list[str]:
    """The files that a URL with '*' (within a name), '**/' (any folders) and brace notation matches, sorted.

    FileNotFoundError where there are none, and what `Storage.list` raises.
    """
    found: list[str] = []
    for pattern in braceexpand(url, escape=False):
        folder = pattern.partition("*")[0].rpartition("/")[0]
        expression = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        names = (_with_two_slashes(name) for name, _ in storage_of(pattern).list(folder))
        matches = sorted(name for name in names if re.fullmatch(expression, name))
        if not matches:
            raise FileNotFoundError(f"no file matches {pattern}: check the pattern")
        found += matches
    return found


def _with_two_slashes(url: str) -> str:
    """As users write it; fsspec gives some protocols three."""
    protocol, _, path = url.partition("://")
    return f"{protocol}://{path.lstrip('/')}"
