"""Three classes of images, and photos with fields, in a folder and in shards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import annotated as photos_with_fields
from support.annotated import Annotated
from support.classes import write_classes, write_shards


@pytest.fixture(scope="module")
def class_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 images in three class folders."""
    return write_classes(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def class_shards(class_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same 13 samples in shards of 5, 0, 7 and 1."""
    return write_shards(tmp_path_factory.mktemp("shards"), class_folder, [5, 0, 7, 1])


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Annotated:
    """Photos with fields of every kind."""
    folder = photos_with_fields.write_folder(tmp_path_factory.mktemp("annotated"))
    return Annotated(folder, photos_with_fields.write_shards(tmp_path_factory.mktemp("annotated-shards")))


@pytest.fixture(params=["folder", "shards"])
def make(request: pytest.FixtureRequest, annotated: Annotated) -> Callable[..., Any]:
    """Makes a dataset of these, with the given fields."""
    made: Callable[..., Any] = getattr(annotated, f"of_{request.param}")
    return made
