"""Three classes of images in a folder, and in shards."""

from pathlib import Path

import pytest

from support.classes import write_classes, write_shards


@pytest.fixture(scope="module")
def class_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 images in three class folders."""
    return write_classes(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def class_shards(class_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same 13 samples in shards of 5, 0, 7 and 1."""
    return write_shards(tmp_path_factory.mktemp("shards"), class_folder, [5, 0, 7, 1])
