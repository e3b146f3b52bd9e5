"""A folder to pack."""

from pathlib import Path

import pytest

from fastdata.packing.origins.source import Source
from fastdata.sources.folder import scan_classes
from support.packed import write_odd_folder


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with 23 files whose bytes nobody looks at."""
    return write_odd_folder(tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="module")
def source(odd_folder: Path) -> Source:
    """The same, to be packed by its classes."""
    return Source(scan_classes(odd_folder))
