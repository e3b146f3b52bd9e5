"""A folder to pack."""

from pathlib import Path

import pytest

from support.packed import write_odd_folder


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with 23 files whose bytes nobody looks at."""
    return write_odd_folder(tmp_path_factory.mktemp("odd"))
