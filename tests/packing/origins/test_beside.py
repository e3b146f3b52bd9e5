"""Which files go with which images, and what is said of those that go with none."""

import os
from pathlib import Path

import pytest

from fastdata.errors import PackError
from fastdata.packing.origins.beside import extensions_beside, field_names, with_fields
from fastdata.packing.origins.source import Source
from fastdata.sources.folder import scan_classes, scan_pattern


def grow(root: Path, *names: str) -> Path:
    """Files with their own names as bytes."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def fields_of(source: Source) -> dict[str, dict[str, str]]:
    return {
        source.scan.key(i): {name: paths[i] for name, paths in source.fields.items() if paths[i]}
        for i in range(len(source.scan))
    }


def test_a_field_lies_beside_its_image_under_its_name(tmp_path: Path) -> None:
    root = grow(tmp_path, "1.jpg", "1.txt", "1.seg.png", "b/1.jpg", "b/1.txt", "b/1.seg.png", "b/c/1.JPEG")
    grow(root, "b/c/1.TXT", "b/c/1.Seg.PNG")
    source = with_fields(scan_pattern(root), ["txt", "seg.png"])
    assert fields_of(source) == {
        "1": {"txt": "1.txt", "seg.png": "1.seg.png"},
        "b/1": {"txt": "b/1.txt", "seg.png": "b/1.seg.png"},
        "b/c/1": {"txt": "b/c/1.TXT", "seg.png": "b/c/1.Seg.PNG"},
    }
    assert (source.left_out, source.lacking) == ({}, {})


def test_a_name_with_dots_has_its_fields_by_the_last_or_the_first_dot(tmp_path: Path) -> None:
    root = grow(tmp_path, "a.2020.jpg", "a.2020.txt", "b.rgb.jpg", "b.txt")
    source = with_fields(scan_pattern(root), ["txt"])
    assert fields_of(source) == {"a_2020": {"txt": "a.2020.txt"}, "b_rgb": {"txt": "b.txt"}}


def test_fields_keep_the_order_in_which_they_were_asked_for(tmp_path: Path) -> None:
    root = grow(tmp_path, "1.jpg", "1.a", "1.b", "1.c")
    assert list(with_fields(scan_pattern(root), ["c", ".A", "b"]).fields) == ["c", "a", "b"]


def test_masks_are_no_images_of_their_own(tmp_path: Path) -> None:
    root = grow(tmp_path, "cat/1.jpg", "cat/1.png", "dog/2.jpg", "dog/2.png")
    source = with_fields(scan_classes(root), ["png"])
    assert fields_of(source) == {"cat/1": {"png": "cat/1.png"}, "dog/2": {"png": "dog/2.png"}}
    assert source.scan.targets.tolist() == [0, 1]


def test_the_longest_field_that_a_name_ends_in_is_its(tmp_path: Path) -> None:
    root = grow(tmp_path, "1.jpg", "1.png", "1.seg.png")
    assert fields_of(with_fields(scan_pattern(root), ["png", "seg.png"])) == {
        "1": {"png": "1.png", "seg.png": "1.seg.png"}
    }


@pytest.mark.parametrize("missing", ["error", "allow"])
def test_an_image_without_a_field_is_named_or_counted(tmp_path: Path, missing: str) -> None:
    root = grow(tmp_path, "1.jpg", "1.txt", "2.jpg", "3.jpg")
    if missing == "allow":
        source = with_fields(scan_pattern(root), ["txt"], "allow")
        assert fields_of(source) == {"1": {"txt": "1.txt"}, "2": {}, "3": {}}
        assert source.lacking == {"txt": 2}
    else:
        expected = r"2\.jpg has no field 'txt': there is no .*2\.txt \(2 of 3 images lack one\).*--missing-fields allow"
        with pytest.raises(PackError, match=expected):
            with_fields(scan_pattern(root), ["txt"])


def test_a_field_that_no_image_has_is_never_allowed(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"no image in .* has a field 'tyt' beside it: check the name"):
        with_fields(scan_pattern(grow(tmp_path, "1.jpg", "1.txt")), ["tyt"], "allow")


def test_what_is_left_out_is_counted_without_what_was_taken(tmp_path: Path) -> None:
    root = grow(tmp_path, "1.jpg", "1.txt", "1.meta.json", "1.json", "lone.txt", "lone.seg.png", "1.seg.png", "README")
    scan = scan_pattern(root)
    assert scan.left_out == {".txt": 2, ".json": 2, "without extension": 1}
    assert with_fields(scan, ["txt", "meta.json", "seg.png"]).left_out == {
        ".json": 1,
        ".txt without an image": 1,
        ".seg.png without an image": 1,
        "without extension": 1,
    }
    assert with_fields(scan, []).left_out == scan.left_out


def test_one_file_is_not_given_to_two_samples(tmp_path: Path) -> None:
    scan = scan_pattern(grow(tmp_path, "1.jpg", "1.webp", "1.txt"))
    with pytest.raises(ValueError, match=r"1\.jpg and .*1\.webp are both named as 1\.txt"):
        with_fields(scan, ["txt"])


def test_two_files_are_not_one_field(tmp_path: Path) -> None:
    scan = scan_pattern(grow(tmp_path, "1.jpg", "1.txt", "1.TXT"))
    with pytest.raises(ValueError, match=r"1\.TXT and 1\.txt in .* are one field, 'txt': remove one"):
        with_fields(scan, ["txt"])


def test_images_that_are_all_fields_are_an_error(tmp_path: Path) -> None:
    root = grow(tmp_path, "cat/1.jpg", "dog/1.png")
    with pytest.raises(FileNotFoundError, match="no images for the classes dog"):
        with_fields(scan_classes(root), ["png"])
    with pytest.raises(PackError, match=r"all images in .* end in png, jpg"):
        with_fields(scan_classes(root), ["png", "jpg"])


def test_links_out_of_the_folder_are_refused_unless_followed(tmp_path: Path) -> None:
    root = grow(tmp_path / "source", "1.jpg")
    (tmp_path / "secret").write_text("secret")
    (root / "1.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match=r"1\.txt from outside of .*--follow-links"):
        with_fields(scan_pattern(root), ["txt"], follow_links=False)
    assert fields_of(with_fields(scan_pattern(root), ["txt"])) == {"1": {"txt": "1.txt"}}


def test_folders_and_hidden_files_are_no_fields(tmp_path: Path) -> None:
    root = grow(tmp_path, "1.jpg", ".1.txt", "1.txt/inside")
    with pytest.raises(PackError, match="has no field 'txt'"):
        with_fields(scan_pattern(root), ["txt"])


@pytest.mark.parametrize("name", ["", ".", "a/b", "a b", "..", "a..b", "a.", "..\\a", "\0"])
def test_what_is_no_extension_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no extension"):
        field_names([name])


def test_a_field_twice_and_a_text_for_a_list_are_refused() -> None:
    with pytest.raises(ValueError, match="fields must differ"):
        field_names(["txt", ".TXT"])
    with pytest.raises(ValueError, match=r"as \['txt'\], not the text 'txt'"):
        field_names("txt")


def test_a_wrong_word_for_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be 'error' or 'allow', not 'ignore'"):
        with_fields(scan_pattern(grow(tmp_path, "1.jpg")), [], "ignore")  # type: ignore[arg-type]


def test_what_lies_beside_images_is_told_by_extension(tmp_path: Path) -> None:
    root = grow(tmp_path, "1.jpg", "1.txt", "1.seg.png", "2.jpg", "2.txt", "2.png", "b/3.jpg", "b/lone.txt", "README")
    grow(root, "a.b.jpg", "a.b.json")
    beside = extensions_beside(scan_pattern(root))
    assert beside.others == {"txt": 2, "json": 1}
    assert beside.images == {"seg.png": 1, "png": 1}
    assert extensions_beside(scan_pattern(root, "**/*.jpg")).others == {"txt": 2, "json": 1, "seg.png": 1, "png": 1}


def test_names_that_are_not_utf8_are_found(tmp_path: Path) -> None:
    for name in (b"\xff.jpg", b"\xff.txt"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"x")
    assert [dict(found) for found in fields_of(with_fields(scan_pattern(tmp_path), ["txt"])).values()] == [
        {"txt": os.fsdecode(b"\xff.txt")}
    ]
