"""Shards that a command line names."""

from fastdata.sources.stores.remote_glob import remote_matches
from fastdata.sources.urls import is_remote, path_of


def named_shards(what: str) -> list[str]:
    """What names shards as a dataset takes it: a pattern in a URL stands for what is there now.

    IsADirectoryError for a URL that names a folder: its last part has no extension. FileNotFoundError where nothing
    matches, and what `Storage.list` raises.
    """
    if not is_remote(what):
        return [what]
    if "*" in what:
        return remote_matches(what)
    if "?" not in what and "." not in path_of(what).rpartition("/")[2]:
        folder = what.rstrip("/")
        raise IsADirectoryError(
            f"{what} is a folder at a URL: name the dataset's json in it, as {folder}/train.json, or its shards, as "
            f"{folder}/train-{{000000..000007}}.tar"
        )
    return [what]
