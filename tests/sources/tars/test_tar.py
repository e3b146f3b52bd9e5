"""The tar format: the same members as other readers see, and an error wherever they can't all be read."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import webdataset
from hypothesis import example, given
from hypothesis import strategies as st

from fastdata.sources.tars.tar import members
from support.tars import END, FORMATS, as_tarfile_sees, data, header, in_file, packed, pax, samples, seen, tool

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300).filter(
    lambda name: not name.endswith("/")
)
ODD = [
    ("plain.jpg", b"x" * 600),
    ("empty.txt", b""),
    ("block.bin", b"b" * 512),
    ("ünï/コード/猫.jpg", b"cat"),
    ("d" * 60 + "/" + "e" * 90 + ".jpg", b"prefix"),
    ("long/" * 40 + "n" * 120 + ".jpg", b"long name"),
    ("with blank and\nnewline.txt", b"odd"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with nested, long, non-ASCII and empty files, a directory without files, and links."""
    root = tmp_path / "tree"
    for name, content in ODD:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (root / "nothing" / "in here").mkdir(parents=True)
    (root / "link.jpg").symlink_to("plain.jpg")
    (root / "hard.jpg").hardlink_to(root / "plain.jpg")
    return root


def shortened(tree: Path) -> Path:
    """The tree without what ustar has no room for."""
    for file in sorted(tree.glob("long/**/n*")):
        file.unlink()
    return tree


def check_against_tarfile(path: Path, at_least: int = 5) -> None:
    assert seen(path) == as_tarfile_sees(path)
    assert len(seen(path)) >= at_least


@pytest.mark.parametrize("format", ["gnu", "oldgnu", "ustar", "posix"])
def test_members_of_a_tar_by_gnu_tar_are_those_that_tarfile_sees(tree: Path, tmp_path: Path, format: str) -> None:
    tree = shortened(tree) if format == "ustar" else tree
    tar, out = tool("tar"), tmp_path / "out.tar"
    subprocess.run([tar, f"--format={format}", "-C", tree, "-cf", out, "."], check=True)
    check_against_tarfile(out)


@pytest.mark.parametrize("format", ["gnutar", "ustar", "pax"])
def test_members_of_a_tar_by_bsdtar_are_those_that_tarfile_sees(tree: Path, tmp_path: Path, format: str) -> None:
    tree = shortened(tree) if format == "ustar" else tree
    bsdtar, out = tool("bsdtar"), tmp_path / "out.tar"
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run([bsdtar, "--format", format, "-C", tree, "-cf", out, "."], check=True, env=environment)
    check_against_tarfile(out)


@pytest.mark.parametrize("format", FORMATS)
def test_members_of_a_tar_by_tarfile_are_those_that_tarfile_sees(tree: Path, tmp_path: Path, format: str) -> None:
    tree = shortened(tree) if format == "ustar" else tree
    out = tmp_path / "out.tar"
    with tarfile.open(out, "w", format=FORMATS[format]) as tar:
        tar.add(tree, ".")
    check_against_tarfile(out)


def test_members_of_a_tar_by_webdataset_are_those_that_tarfile_sees(tmp_path: Path) -> None:
    out = tmp_path / "out.tar"
    with webdataset.TarWriter(str(out)) as writer:
        for name, content in samples(20)[::2]:
            writer.write({"__key__": name[:-4], "jpg": content, "cls": 3, "json": {"a": 1}})
    check_against_tarfile(out, at_least=60)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=1100)), max_size=5), st.sampled_from(["gnu", "pax"]))
@example([("n" * 100, b"1"), ("n" * 101, b"2"), ("é" * 60, b"3")], "pax")
@example([("n" * 99, b"1"), ("n" * 100, b"2"), ("n" * 101, b"3")], "gnu")
def test_any_name_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]], format: str
) -> None:
    path = packed(tmp_path_factory.getbasetemp() / "names.tar", files, FORMATS[format])
    assert seen(path) == as_tarfile_sees(path)
    content = path.read_bytes()
    assert [(m.name, content[m.offset : m.offset + m.size]) for m in members(path)] == files


def test_a_name_that_is_not_utf8_is_decoded_with_surrogates(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", [("caf\udce9.jpg", b"x")], FORMATS["gnu"])
    assert [member.name for member in members(path)] == ["caf\udce9.jpg"]


def test_reading_from_a_members_start_gives_that_member_again(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", ODD)
    for member in members(path):
        assert next(members(path, member.start)) == member


GIB = 1 << 30


@pytest.mark.parametrize("format", ["gnu", "pax"])
def test_a_member_of_more_than_eight_gib_is_read(tmp_path: Path, format: str) -> None:
    path, size = tmp_path / "big.tar", 9 * GIB + 5
    info, after = tarfile.TarInfo("big.bin"), tarfile.TarInfo("after.txt")
    info.size = size
    with path.open("wb") as file:  # a hole, not gigabytes
        file.write(info.tobuf(FORMATS[format]))
        file.seek(9 * GIB + 512, os.SEEK_CUR)
        file.write(after.tobuf(FORMATS[format]) + END)
    assert seen(path) == as_tarfile_sees(path)
    assert [(member.name, member.size) for member in members(path)] == [("big.bin", size), ("after.txt", 0)]


def test_a_v7_directory_is_no_file_and_has_no_data(tmp_path: Path) -> None:
    v7 = header(b"dir/", 0, b"\0", magic=b"") + header(b"dir/a.jpg", 3, b"\0", magic=b"") + data(b"abc") + END
    assert [member.name for member in members(in_file(tmp_path, v7))] == ["dir/a.jpg"]


def test_a_checksum_of_signed_bytes_is_accepted(tmp_path: Path) -> None:
    old = header("é.jpg".encode(), 3, signed=True) + data(b"abc") + END
    assert old[148:156] != header("é.jpg".encode(), 3)[148:156]
    assert [member.name for member in members(in_file(tmp_path, old))] == ["é.jpg"]


def test_contiguous_files_are_files_and_unknown_types_are_skipped_with_their_data(tmp_path: Path) -> None:
    tar = header(b"v", 5, b"V") + data(b"label") + header(b"a.jpg", 3, b"7") + data(b"abc") + END
    assert [(member.name, member.offset) for member in members(in_file(tmp_path, tar))] == [("a.jpg", 1536)]


def test_the_prefix_counts_in_ustar_headers_only(tmp_path: Path) -> None:
    ustar = header(b"a.jpg", prefix=b"dir")
    gnu = header(b"b.jpg", prefix=b"00000000000\0", magic=b"ustar  \0")  # GNU keeps access times there
    assert [member.name for member in members(in_file(tmp_path, ustar + gnu + END))] == ["dir/a.jpg", "b.jpg"]


def test_global_pax_headers_hold_for_all_and_a_members_own_before_them(tmp_path: Path) -> None:
    files = pax(b"g", size="3", comment="all") + header(b"a.jpg", 0) + data(b"abc") + header(b"b.jpg") + data(b"def")
    own = pax(b"x", size="4", path="c\n=.jpg") + header(b"short.jpg") + data(b"ghij")
    found = [(member.name, member.size) for member in members(in_file(tmp_path, files + own + END))]
    assert found == [("a.jpg", 3), ("b.jpg", 3), ("c\n=.jpg", 4)]


def test_a_member_starts_at_the_first_of_its_headers(tmp_path: Path) -> None:
    own, for_all, a = pax(b"x", path="long.jpg/"), pax(b"g", comment="all"), header(b"a.jpg")
    path = in_file(tmp_path, for_all + own + for_all + a + for_all + a + END)
    assert [(member.name, member.start) for member in members(path)] == [("long.jpg", 1024), ("a.jpg", 4608)]
    assert seen(path) == as_tarfile_sees(path)


def test_an_archive_of_nothing_but_its_end_is_empty(tmp_path: Path) -> None:
    assert seen(in_file(tmp_path, END)) == []
    assert seen(packed(tmp_path / "a.tar", [])) == []


def test_no_file_is_left_open_by_an_iteration_that_stops_early(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", samples(3))
    before = len(os.listdir("/proc/self/fd"))
    found = members(path)
    next(found)
    del found
    assert len(os.listdir("/proc/self/fd")) == before
