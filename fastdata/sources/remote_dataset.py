"""The json and the index of a dataset that lies elsewhere."""
from fastdata.sources.dataset_index import DatasetIndex
from fastdata.sources.index_layout import IndexEntry
from fastdata.sources.manifest import Manifest


def remote_manifest(url: str) -> Manifest:
    raise NotImplementedError


def remote_index(url: str, entry: IndexEntry) -> DatasetIndex:
    raise NotImplementedError
