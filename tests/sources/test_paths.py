"""Paths in arrays, and the keys that are made of them."""

import pickle
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from webdataset.tariterators import base_plus_ext

from fastdata.sources.folder import scan_classes, scan_pattern
from fastdata.sources.paths import Paths, find_key_collisions, key_of, keys_of
from support.folders import grow

T = TypeVar("T")


def pickled(value: T) -> T:
    return pickle.loads(pickle.dumps(value))  # type: ignore[no-any-return]


def test_paths_are_a_sequence() -> None:
    paths = Paths.of(["a/1.jpg", "", "ü.png"])
    assert len(paths) == 3
    assert list(paths) == [paths[0], paths[1], paths[2]] == ["a/1.jpg", "", "ü.png"]
    assert paths[-1] == paths[np.int64(2)] == "ü.png"
    assert list(paths[1:]) == ["", "ü.png"]
    assert "ü.png" in paths
    with pytest.raises(IndexError):
        paths[3]


def test_paths_are_two_arrays_that_cannot_be_written() -> None:
    paths = Paths.of(["a", "bc"])
    for copy in (paths, pickled(paths)):
        assert list(copy) == ["a", "bc"]
        assert (copy.joined.dtype, copy.offsets.dtype) == (np.dtype(np.uint8), np.dtype(np.int64))
        assert copy.offsets.tolist() == [0, 1, 3]
        with pytest.raises(ValueError, match="read-only"):
            copy.joined[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            copy.offsets[0] = 1


def test_pickled_paths_are_their_bytes_and_eight_more_each() -> None:
    many = [f"n{i % 100:08}/n{i % 100:08}_{i:06}.JPEG" for i in range(20_000)]
    paths = Paths.of(many)
    assert len(pickle.dumps(paths)) < sum(map(len, many)) + 8 * (len(many) + 1) + 1000


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("cat/1.jpg", "cat/1"),
        ("1.jpg", "1"),
        ("v1.0/cat/photo.final.v2.JPEG", "v1.0/cat/photo_final_v2"),
        ("a b/ü.png", "a b/ü"),
        ("a.b/noextension", "a.b/noextension"),
        (".x.jpg", "_x"),
        (".jpg", "_jpg"),
        ("a.", "a"),
    ],
)
def test_a_key_is_the_path_without_extension_and_dots_in_its_basename(path: str, key: str) -> None:
    assert key_of(path) == key


file_names = st.text(alphabet="ab._", min_size=1, max_size=5).filter(lambda s: s.strip("."))
some_paths = st.sets(st.builds(lambda d, f: d + f, st.sampled_from(["", "a/", "a.b/"]), file_names), max_size=12)


@given(some_paths, st.randoms(use_true_random=False))
def test_keys_are_unique_or_refused_and_do_not_depend_on_the_order(found: set[str], random: object) -> None:
    ordered, shuffled = sorted(found), sorted(found, reverse=True)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    try:
        keys = keys_of(Paths.of(ordered))
    except ValueError:
        with pytest.raises(ValueError, match="share the key"):
            keys_of(Paths.of(shuffled))
        return
    assert len(set(keys)) == len(found)
    again = dict(zip(shuffled, keys_of(Paths.of(shuffled)), strict=True))
    assert [again[path] for path in ordered] == list(keys)


@given(some_paths)
def test_only_files_that_share_a_key_have_another_than_key_of(found: set[str]) -> None:
    plain = [key_of(path) for path in sorted(found)]
    collisions = find_key_collisions(sorted(found))
    shared = [i for i, key in enumerate(plain) if plain.count(key) > 1]
    assert sorted(i for group in collisions for i in group) == shared
    assert all(len({plain[i] for i in group}) == 1 for group in collisions)
    try:
        keys = keys_of(Paths.of(sorted(found)))
    except ValueError:
        assert shared
    else:
        assert all(keys[i] == plain[i] for i in range(len(plain)) if i not in shared)


@given(some_paths)
def test_webdataset_splits_a_member_named_by_key_where_the_key_ends(found: set[str]) -> None:
    for path in found:
        assert base_plus_ext(f"{key_of(path)}.jpg") == (key_of(path), "jpg")


def test_files_that_share_a_key_are_told_apart_by_their_extensions(tmp_path: Path) -> None:
    grow(tmp_path, "cat/a.jpg", "cat/a.png", "cat/a.JPG", "cat/b.jpg", "dog/a.jpg")
    scan = scan_classes(tmp_path)
    assert dict(zip(scan.paths, scan.keys, strict=True)) == {
        "cat/a.JPG": "cat/a_JPG",
        "cat/a.jpg": "cat/a_jpg",
        "cat/a.png": "cat/a_png",
        "cat/b.jpg": "cat/b",
        "dog/a.jpg": "dog/a",
    }
    assert [scan.key(i) for i in range(len(scan))] == list(scan.keys)
    assert list(scan.keys[1:3]) == ["cat/a_jpg", "cat/a_png"]


def test_a_key_made_by_its_extension_must_be_nobody_elses(tmp_path: Path) -> None:
    grow(tmp_path, "cat/a.jpg", "cat/a.png", "cat/a_jpg.jpg")
    with pytest.raises(ValueError, match=r"cat/a\.jpg and cat/a_jpg\.jpg share the key 'cat/a_jpg'"):
        scan_classes(tmp_path)


def test_files_that_extensions_do_not_tell_apart_are_refused_by_name(tmp_path: Path) -> None:
    grow(tmp_path, "x.y.jpg", "x_y.jpg", "z.jpg")
    with pytest.raises(ValueError, match=r"x\.y\.jpg and x_y\.jpg share the key"):
        scan_pattern(tmp_path, "*.jpg")


def test_collisions_are_groups_of_positions() -> None:
    assert find_key_collisions(["a.jpg", "b.jpg", "a.b.c", "a.png", "a_b.c", "d"]) == [[0, 3], [2, 4]]
    assert find_key_collisions([]) == []


@given(st.lists(st.text(max_size=5), min_size=1, max_size=20), st.data())
def test_paths_are_gone_over_and_taken_as_they_are_one_by_one(names: list[str], data: st.DataObject) -> None:
    paths = Paths.of(names)
    assert list(paths) == [paths[i] for i in range(len(paths))] == names
    numbers = data.draw(st.lists(st.integers(0, len(names) - 1), max_size=30))
    assert list(paths.take(np.array(numbers, np.int64))) == [names[i] for i in numbers]


def test_more_paths_than_are_taken_out_at_once_are_gone_over() -> None:
    names = [f"{number}.jpg" for number in range(10_000)]
    paths = Paths.of(names)
    assert list(paths) == names
    assert list(keys_of(paths)) == [str(number) for number in range(10_000)]


def test_a_name_that_begins_with_its_only_dot_has_no_extension_to_append() -> None:
    assert list(keys_of(Paths.of([".x", "_x.jpg"]))) == ["_x", "_x_jpg"]
