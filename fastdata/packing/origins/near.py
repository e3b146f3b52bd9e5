"""What lies at a URL as a local file, for a while."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastdata.sources.stores.storage import storage_of
from fastdata.sources.urls import is_remote, path_of, plain_path


@contextmanager
def near(url: str) -> Iterator[str]:
    """A path of what `url` holds: its own where it is local, else that of a copy, which is there until the block ends.

    The copy is always a new one, of the same name: unlike in the cache nothing stale can be met. OSError that names
    the URL where it can't be had.
    """
    if not is_remote(url):
        yield plain_path(url)
        return
    with tempfile.TemporaryDirectory(prefix="fastdata-") as folder:
        path = Path(folder) / (path_of(url).rpartition("/")[2] or "file")
        storage_of(url).get_file(url, path)
        yield str(path)
