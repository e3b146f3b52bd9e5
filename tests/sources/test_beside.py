"""A field's files in a folder."""

import os
from pathlib import Path

import pytest

from fastdata.errors import TargetError
from fastdata.sources.beside import check_components, component_path, read_component


@pytest.mark.parametrize(
    ("image", "component", "path"),
    [
        ("a/b.jpg", "txt", "a/b.txt"),
        ("b.jpg", "seg.png", "b.seg.png"),
        ("a.x/b.c.jpg", "txt", "a.x/b.c.txt"),
        ("a/b.jpg", "masks/{key}.png", "masks/a/b.png"),
        ("a/c/b.jpg", "masks/{name}_mask.png", "masks/b_mask.png"),
        ("a/{key}.jpg", "masks/{name}.png", "masks/{key}.png"),
    ],
)
def test_where_a_component_of_an_image_lies(image: str, component: str, path: str) -> None:
    check_components([component], labelled=False)
    assert component_path(image, component) == path


@pytest.mark.parametrize(
    "component", ["../{key}.png", "/masks/{key}.png", "a//{key}.png", "a/../{key}.png", "..", "\0{key}"]
)
def test_a_path_that_leaves_the_folder_is_refused(component: str) -> None:
    with pytest.raises(ValueError, match="must be an extension, or a path below the root"):
        check_components([component], labelled=True)


def test_a_path_without_a_place_for_the_key_and_a_label_that_there_is_none_of_are_refused() -> None:
    for component in ("masks/mask.png", "{keys}.png"):
        with pytest.raises(ValueError, match="is the same for each image"):
            check_components([component], labelled=True)
    check_components(["cls"], labelled=True)
    with pytest.raises(ValueError, match="'cls' is what labels= makes of an image"):
        check_components(["cls"], labelled=False)


def test_what_is_no_file_to_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"text")
    assert read_component(str(tmp_path), "b.jpg", "txt") == b"text"
    with pytest.raises(TargetError, match=r"there is no file .*b\.json"):
        read_component(str(tmp_path), "b.jpg", "json")
    os.mkfifo(tmp_path / "b.cls")
    with pytest.raises(TargetError, match=r"b\.cls is no regular file"):
        read_component(str(tmp_path), "b.jpg", "cls")
    with (tmp_path / "b.npy").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(TargetError, match=r"b\.npy has more than 1073741824 bytes"):
        read_component(str(tmp_path), "b.jpg", "npy")
    with pytest.raises(TargetError, match=r"b\.txt/b\.txt can't be read: Not a directory"):
        read_component(str(tmp_path), "b.txt/b.jpg", "txt")
