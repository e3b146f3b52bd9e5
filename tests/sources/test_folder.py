"""Which files of a folder are its samples, in which order, and of which class."""

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdata.sources.folder import FolderScan, fingerprint, scan_classes, scan_pattern
from fastdata.sources.urls import expand
from support.folders import grow

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def as_torchvision(root: Path) -> list[tuple[str, int]]:
    """torchvision's find_classes and make_dataset, less what is hidden: (path, class) in order."""
    classes = sorted(e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith("."))
    samples = []
    for index, name in enumerate(classes):
        for folder, _, files in sorted(os.walk(root / name, followlinks=True)):
            inside = os.path.relpath(folder, root)
            if any(part.startswith(".") for part in inside.split("/")):
                continue
            images = [f for f in sorted(files) if f.lower().endswith(EXTENSIONS) and not f.startswith(".")]
            samples += [(f"{inside}/{image}", index) for image in images]
    return samples


def samples_of(scan: FolderScan) -> list[tuple[str, int]]:
    return list(zip(scan.paths, scan.targets.tolist(), strict=True))


# Class folders


def test_samples_are_torchvisions_in_torchvisions_order(tmp_path: Path) -> None:
    grow(
        tmp_path,
        "cat/b.jpg",
        "cat/a.JPG",
        "cat/Z.Jpeg",
        "cat/a/deep/er/1.png",
        "cat/a b/1.png",
        "cat/a-b/1.webp",
        "cat/a/1.tiff",
        "cat/notes.txt",
        "cat/jpg",
        "Dog.s/ü 1.bmp",
        "Dog.s/𝄞.ppm",
        "Dog.s/\ufb01.pgm",
        "zebra/two.dots.tif",
        "zebra/folder.jpg/inside.png",
        "loose.jpg",
    )
    scan = scan_classes(tmp_path)
    assert samples_of(scan) == as_torchvision(tmp_path)
    assert len(scan) == 12
    assert scan.classes == ["Dog.s", "cat", "zebra"]
    assert scan.class_to_idx == {"Dog.s": 0, "cat": 1, "zebra": 2}
    assert scan.targets.dtype == np.int64


names = st.text(alphabet="aB -/é𝄞", min_size=1, max_size=6).map(lambda s: s.strip("/") or "a")


@given(st.sets(names, min_size=1, max_size=8))
@settings(max_examples=25)
def test_any_tree_is_scanned_in_torchvisions_order(stems: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = grow(Path(folder), *(f"class {i % 2}/{stem}.jpg" for i, stem in enumerate(sorted(stems))))
        assert samples_of(scan_classes(root)) == as_torchvision(root)


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    grow(
        tmp_path,
        "cat/1.jpg",
        "cat/._1.jpg",
        "cat/.hidden.jpg",
        "cat/.ipynb_checkpoints/1.jpg",
        ".git/1.jpg",
    )
    scan = scan_classes(tmp_path)
    assert list(scan.paths) == ["cat/1.jpg"]
    assert scan.classes == ["cat"]


def test_names_that_are_not_utf8_lead_to_their_files(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    odd = os.fsencode(tmp_path) + b"/cat/\xff\xe9 1.jpg"
    Path(os.fsdecode(odd)).write_bytes(b"pixels")
    scan = scan_classes(tmp_path)
    assert os.fsencode(scan.path(0)) == odd
    assert Path(scan.path(0)).read_bytes() == b"pixels"
    assert os.fsencode(scan.key(0)) == b"cat/\xff\xe9 1"


def test_linked_folders_and_files_count_as_what_they_point_to(tmp_path: Path) -> None:
    elsewhere = grow(tmp_path / "elsewhere", "x/1.jpg", "2.jpg")
    root = grow(tmp_path / "root", "cat/0.jpg")
    (root / "dog").symlink_to(elsewhere)
    (root / "cat" / "more").symlink_to(elsewhere / "x")
    (root / "cat" / "again").symlink_to(elsewhere / "x")
    (root / "cat" / "9.jpg").symlink_to(elsewhere / "2.jpg")
    scan = scan_classes(root)
    assert samples_of(scan) == as_torchvision(root)
    assert list(scan.paths) == [
        "cat/0.jpg",
        "cat/9.jpg",
        "cat/again/1.jpg",
        "cat/more/1.jpg",
        "dog/2.jpg",
        "dog/x/1.jpg",
    ]


def test_loops_of_links_end_where_they_close(tmp_path: Path) -> None:
    elsewhere = grow(tmp_path / "elsewhere", "2.jpg")
    root = grow(tmp_path / "root", "cat/a/1.jpg", "dog/3.jpg")
    (root / "cat" / "a" / "self").symlink_to(".")
    (root / "cat" / "a" / "up").symlink_to("..")
    (root / "cat" / "root").symlink_to(root)
    (root / "cat" / "out").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root / "cat")
    assert list(scan_classes(root).paths) == ["cat/a/1.jpg", "cat/out/2.jpg", "dog/3.jpg"]


def test_a_broken_link_is_a_sample_whose_reading_will_say_so(tmp_path: Path) -> None:
    grow(tmp_path, "cat/1.jpg")
    (tmp_path / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "cat" / "self.jpg").symlink_to("self.jpg")
    assert list(scan_classes(tmp_path).paths) == ["cat/1.jpg", "cat/gone.jpg", "cat/self.jpg"]


def test_real_photos_are_scanned_as_torchvision_would(photos: Path) -> None:
    scan = scan_classes(photos / "val")
    assert samples_of(scan) == as_torchvision(photos / "val")
    assert len(set(scan.keys)) == len(scan) > 0


def test_a_missing_root_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        scan_classes(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        scan_pattern(tmp_path / "nowhere", "*")


def test_a_root_that_is_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    grow(tmp_path, "photos.zip")
    with pytest.raises(NotADirectoryError, match=r"photos\.zip"):
        scan_classes(tmp_path / "photos.zip")


def test_what_is_left_out_of_class_folders_is_counted(tmp_path: Path) -> None:
    grow(tmp_path, "cat/1.jpg", "cat/a.gif", "cat/deep/B.GIF", "cat/README", "cat/.x", "LICENSE", "2.jpg", ".git/x")
    assert scan_classes(tmp_path).left_out == {".gif": 2, "without extension": 1, "outside class folders": 2}
    assert scan_pattern(tmp_path).left_out == {".gif": 2, "without extension": 2}
    assert scan_classes(tmp_path, "cat/*.jpg").left_out == {}


def test_a_class_that_is_a_broken_link_is_an_error(tmp_path: Path) -> None:
    grow(tmp_path, "cat/1.jpg")
    (tmp_path / "dog").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match=r"dog is a link to what is not there"):
        scan_classes(tmp_path)


def test_a_flat_folder_is_an_error_that_says_what_to_give(tmp_path: Path) -> None:
    grow(tmp_path, "1.jpg", ".hidden/2.jpg")
    with pytest.raises(FileNotFoundError, match=r"labels=None \(--labels none on the command line\)"):
        scan_classes(tmp_path)


def test_classes_without_images_are_an_error_that_names_them(tmp_path: Path) -> None:
    grow(tmp_path, "cat/1.jpg", "dog/readme.txt", "eel/.1.jpg", "fox/deep/1.jpg")
    with pytest.raises(FileNotFoundError, match=r"classes dog, eel in .*\.webp"):
        scan_classes(tmp_path)


def test_many_classes_without_images_are_counted_not_listed(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"class{i:02}").mkdir()
    with pytest.raises(FileNotFoundError, match="class09 and 2 more"):
        scan_classes(tmp_path)


def test_a_pattern_narrows_class_folders_to_those_with_a_match(tmp_path: Path) -> None:
    scan = scan_classes(grow(tmp_path, "cat/1.png", "dog/1.jpg", "dog/deep/2.jpg", "eel/3.jpg"), "**/*.jpg")
    assert samples_of(scan) == [("dog/1.jpg", 0), ("dog/deep/2.jpg", 0), ("eel/3.jpg", 1)]
    assert scan.class_to_idx == {"dog": 0, "eel": 1}


def test_a_match_in_no_class_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    grow(tmp_path, "cat/1.jpg", "loose.jpg")
    with pytest.raises(ValueError, match=r"loose\.jpg matches the pattern .* in no class folder"):
        scan_classes(tmp_path, "**/*.jpg")


@pytest.mark.parametrize("place", ["", "train/"])
@pytest.mark.parametrize("scan", [scan_classes, scan_pattern])
def test_of_a_folder_of_shards_the_error_says_who_reads_them(
    tmp_path: Path, place: str, scan: Callable[[Path], FolderScan]
) -> None:
    grow(tmp_path, f"{place}a-000000.tar", f"{place}a.json")
    with pytest.raises(FileNotFoundError, match=r"holds tar shards, no images: say TarImageDataset\('(.*)'\)") as error:
        scan(tmp_path)
    pattern = str(error.value).split("'")[1]
    assert expand(pattern) == [f"{tmp_path}/{place}a-000000.tar"]


def test_of_images_without_class_folders_the_error_says_what_reads_them(tmp_path: Path) -> None:
    grow(tmp_path, "1.jpg", "2.png")
    with pytest.raises(
        FileNotFoundError, match=r"say labels=None \(--labels none .*\), and pattern='\*\.jpg' for some"
    ):
        scan_classes(tmp_path)


# Patterns


def test_without_a_pattern_all_images_are_found(tree: Path) -> None:
    found = ["1.jpg", "2.JPG", "3.png", "a-/1.jpg", "a/1.jpg", "a/b/1.jpg", "a/b/c/[1].jpg"]
    assert list(scan_pattern(tree).paths) == found
    (tree / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no images in .*/empty"):
        scan_pattern(tree / "empty")


def glob(root: Path, pattern: str) -> list[str]:
    return list(scan_pattern(root, pattern).paths)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return grow(
        tmp_path,
        "1.jpg",
        "2.JPG",
        "3.png",
        "a/1.jpg",
        "a/b/1.jpg",
        "a/b/c/[1].jpg",
        "a-/1.jpg",
        ".x.jpg",
        ".h/1.jpg",
        "a/.h/1.jpg",
        "noextension",
    )


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.jpg", ["1.jpg"]),
        ("*.*", ["1.jpg", "2.JPG", "3.png"]),
        ("*.{jpg,JPG}", ["1.jpg", "2.JPG"]),
        ("{a,a-}/?.jpg", ["a-/1.jpg", "a/1.jpg"]),
        ("**/*.jpg", ["1.jpg", "a-/1.jpg", "a/1.jpg", "a/b/1.jpg", "a/b/c/[1].jpg"]),
        ("a/**/1.jpg", ["a/1.jpg", "a/b/1.jpg"]),
        ("**/b/**/*.jpg", ["a/b/1.jpg", "a/b/c/[1].jpg"]),
        ("a/**", ["a/1.jpg", "a/b/1.jpg", "a/b/c/[1].jpg"]),
        ("*/*.jpg", ["a-/1.jpg", "a/1.jpg"]),
        ("a/b/c/[[]1].jpg", ["a/b/c/[1].jpg"]),
        ("noextension", ["noextension"]),
        (".h/*.jpg", [".h/1.jpg"]),
    ],
)
def test_a_pattern_finds_what_a_shell_would(tree: Path, pattern: str, found: list[str]) -> None:
    assert glob(tree, pattern) == found


@given(st.lists(st.sampled_from(["**", "*", "a", "b", "?", "*.jpg"]), min_size=1, max_size=4))
@settings(max_examples=40)
def test_a_pattern_finds_what_pythons_glob_finds(segments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = grow(Path(folder), "1.jpg", "a/b", "b/a/2.jpg", "b/b/b/3.jpg", "b/.h/4.jpg", "ab/a/b/5")
        pattern = "/".join(segments)
        expected = sorted({str(p.relative_to(root)) for p in _python_glob(root, pattern)})
        if expected:
            assert glob(root, pattern) == expected
        else:
            with pytest.raises(FileNotFoundError):
                scan_pattern(root, pattern)


def _python_glob(root: Path, pattern: str) -> Iterable[Path]:
    from glob import glob as python_glob

    return (p for p in map(Path, python_glob(f"{root}/{pattern}", recursive=True)) if p.is_file())


def test_a_pattern_through_a_loop_of_links_ends(tmp_path: Path) -> None:
    grow(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "loop").symlink_to("..")
    assert glob(tmp_path, "**/*.jpg") == ["a/1.jpg"]


def test_without_label_targets_are_minus_one_and_there_are_no_classes(tree: Path) -> None:
    scan = scan_pattern(tree, "**/*.jpg")
    assert scan.targets.tolist() == [-1] * 5
    assert scan.targets.dtype == np.int64
    assert (scan.classes, scan.class_to_idx) == ([], {})


def test_a_label_makes_the_target_of_the_relative_path(tree: Path) -> None:
    scan = scan_pattern(tree, "**/*.jpg", lambda path: np.int32(path.count("/")))
    assert scan.targets.tolist() == [0, 1, 1, 2, 3]


@pytest.mark.parametrize("value", ["3", 1.0, None])
def test_a_label_that_is_no_integer_is_an_error_that_names_the_path(tree: Path, value: object) -> None:
    with pytest.raises(TypeError, match=r"a-/1\.jpg must be an int, not"):
        scan_pattern(tree, "a-/*", lambda path: value)  # type: ignore[arg-type,return-value]


def test_no_match_is_an_error_that_says_root_and_pattern(tree: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no file in {tree} matches the pattern '\*\.gif'"):
        scan_pattern(tree, "*.gif")


@pytest.mark.parametrize("pattern", ["/etc/*", "../*.jpg", "a/../*.jpg", "./*.jpg", "a//b", "", "a/"])
def test_a_pattern_that_is_no_path_below_the_root_is_refused(tree: Path, pattern: str) -> None:
    with pytest.raises(ValueError, match="below the root"):
        scan_pattern(tree, pattern)


def test_a_scan_survives_pickling(tree: Path) -> None:
    scan = scan_pattern(tree, "**/*")
    copy = pickle.loads(pickle.dumps(scan))
    assert samples_of(copy) == samples_of(scan)
    assert list(copy.keys) == list(scan.keys)
    assert fingerprint(copy) == fingerprint(scan)


def test_a_fingerprint_stays_when_the_folder_moves(tmp_path: Path) -> None:
    here = grow(tmp_path / "here", "cat/1.jpg", "dog/1.jpg")
    before = fingerprint(scan_classes(here))
    shutil.move(here, tmp_path / "there")
    assert fingerprint(scan_classes(tmp_path / "there")) == before
    assert len(before) == 16
    assert int(before, 16) >= 0


def test_a_fingerprint_changes_with_paths_targets_and_classes(tmp_path: Path) -> None:
    def found(name: str, *files: str) -> FolderScan:
        return scan_classes(grow(tmp_path / name, *files))

    scans = [
        found("base", "cat/1.jpg", "dog/1.jpg"),
        found("renamed file", "cat/2.jpg", "dog/1.jpg"),
        found("other class", "cat/1.jpg", "fox/1.jpg"),
        found("one more", "cat/1.jpg", "dog/1.jpg", "dog/2.jpg"),
        scan_pattern(tmp_path / "base", "**/*.jpg"),
        scan_pattern(tmp_path / "base", "**/*.jpg", lambda path: path.startswith("dog")),
    ]
    assert len({fingerprint(scan) for scan in scans}) == len(scans)


# Links out of the folder


@pytest.mark.parametrize("link", ["cat/linked.jpg", "linked/1.jpg", "cat/deep/linked/1.jpg"])
def test_a_link_out_of_the_folder_is_followed_only_where_that_is_asked(tmp_path: Path, link: str) -> None:
    elsewhere = grow(tmp_path / "elsewhere", "1.jpg")
    root = grow(tmp_path / "root", "cat/0.jpg", "cat/deep/2.jpg")
    if link.endswith("linked.jpg"):
        (root / link).symlink_to(elsewhere / "1.jpg")
    else:
        (root / link).parent.symlink_to(elsewhere)
    assert link in scan_classes(root).paths
    assert link in scan_pattern(root, "**/*.jpg").paths
    for scan, pattern in ((scan_classes, None), (scan_classes, "**/*.jpg"), (scan_pattern, None)):
        with pytest.raises(ValueError, match=rf"a link takes {root}/{link} from outside of .*--follow-links"):
            scan(root, pattern, follow_links=False)


def test_links_within_the_folder_are_no_links_out_of_it(tmp_path: Path) -> None:
    root = grow(tmp_path / "root", "cat/0.jpg", "dog/1.jpg")
    (root / "dog" / "cat.jpg").symlink_to("../cat/0.jpg")
    (root / "kitten").symlink_to("cat")
    (tmp_path / "again").symlink_to("root")
    assert list(scan_classes(tmp_path / "again", follow_links=False).paths) == [
        "cat/0.jpg",
        "dog/1.jpg",
        "dog/cat.jpg",
        "kitten/0.jpg",
    ]


def test_a_folder_whose_name_begins_like_the_root_is_outside_of_it(tmp_path: Path) -> None:
    root = grow(tmp_path / "root", "cat/0.jpg")
    grow(tmp_path / "root2", "1.jpg")
    (root / "cat" / "1.jpg").symlink_to(tmp_path / "root2" / "1.jpg")
    with pytest.raises(ValueError, match="from outside of"):
        scan_classes(root, follow_links=False)
