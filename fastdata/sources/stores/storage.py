"""Object stores and other remote files behind one small interface.

    storage = storage_of("s3://bucket/train-000000.tar")
    first, second = storage.get_ranges("s3://bucket/train-000000.tar", [(512, 28_000), (90_112, 31_000)])

S3, Google's and Azure's stores, HTTP and HTTPS are read by obstore, every other protocol by fsspec. Credentials are
those of the environment (AWS_*, GOOGLE_*, AZURE_*).
"""

import re

from fastdata.sources.stores.fsspec_storage import FsspecStorage
from fastdata.sources.stores.obstore_storage import ObstoreStorage
from fastdata.sources.stores.stored import Entry, Range, Stat, Storage

__all__ = ["Entry", "Range", "Stat", "Storage", "storage_of"]

OBSTORE = frozenset(("s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "http", "https"))

_PROTOCOL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def storage_of(url: str) -> Storage:
    """What reads and writes `url`, and every other URL of its protocol; it costs nothing, and may be pickled.

    Raises ValueError for a local path, a file:// URL and a 'pipe:'. A protocol that nobody knows, or whose package is
    missing, is an error when it is first used.
    """
    protocol = _PROTOCOL.match(url)
    if not protocol or protocol[1] == "file":
        raise ValueError(f"{url!r} is no URL of a remote file, such as s3://bucket/name")
    return ObstoreStorage() if protocol[1].lower() in OBSTORE else FsspecStorage()
