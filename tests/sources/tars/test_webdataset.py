"""Names are split into key and extension as webdataset splits them."""

from hashlib import blake2b

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from webdataset.tariterators import base_plus_ext

from fastdata.sample import key_hash
from fastdata.sources.tars.webdataset import split_name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.jpg", ("a", "jpg")),
        ("a/b.c/d.seg.PNG", ("a/b.c/d", "seg.png")),
        ("./a/b.jpg", ("a/b", "jpg")),
        ("/a.jpg", ("/a", "jpg")),
        ("a/ä ö\n.jpg", ("a/ä ö\n", "jpg")),
        ("__a/b.jpg", ("__a/b", "jpg")),
        ("a/__meta__/b.jpg", ("a/__meta__/b", "jpg")),
        ("__meta__.json", ("__meta__", "json")),
        ("README", None),
        ("a.b/README", None),
        ("a.", None),
        (".hidden", None),
        ("._a.jpg", None),
        ("a/._b.jpg", None),
        ("__meta__", None),
        ("__meta__/a.jpg", None),
        ("__a.jpg__", None),
    ],
)
def test_a_name_is_split_at_the_first_dot_of_its_last_part(name: str, parts: tuple[str, str] | None) -> None:
    assert split_name(name) == parts


@given(st.text("ab./_A é", min_size=1, max_size=12))
@example("a.b/c")
def test_names_are_split_as_webdataset_does_but_for_hidden_files_and_empty_extensions(name: str) -> None:
    basename = name.rpartition("/")[2]
    if basename.startswith(".") or basename.find(".") == len(basename) - 1:
        assert split_name(name) is None
    elif not name.startswith("__"):
        key, extension = base_plus_ext(name)
        expected = None if key is None else (key.removeprefix("./"), extension.lower())
        assert split_name(name) == expected


def test_a_key_is_hashed_by_the_first_bytes_of_its_blake2b() -> None:
    assert key_hash("a/é") == int.from_bytes(blake2b("a/é".encode()).digest()[:8], "little")
    assert key_hash("caf\udce9") == int.from_bytes(blake2b(b"caf\xe9").digest()[:8], "little")
