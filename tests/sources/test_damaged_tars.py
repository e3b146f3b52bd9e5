"""Tar files that can't be read whole: an error that names file and offset, and never a shorter list."""

import bz2
import gzip
import lzma
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.errors import TarError
from fastdata.sources.tars.tar import members
from support.tars import END, FORMATS, archive, checksummed, data, header, in_file, packed, pax, samples, seen, tool


def seen_or_error(path: Path) -> list[tuple[str, int, int]] | str:
    try:
        return seen(path)
    except TarError as error:
        return str(error)


A = header(b"a.jpg", 3) + data(b"abc")
BAD = {
    "an empty file": (b"", 0, "end-of-archive"),
    "no end": (A, 1024, "end-of-archive"),
    "an end cut short": (A + bytes(100), 1024, "end-of-archive"),
    "a member past the end": (header(b"a.jpg", 4000) + data(b"abc") + END, 0, "'a.jpg' of 4000 bytes runs past"),
    "a member a byte past the end": (header(b"a.jpg", 600) + bytes(599), 0, "'a.jpg' of 600 bytes runs past"),
    "gzip in the middle": (A + b"\x1f\x8b" * 256 + END, 1024, "no tar header"),
    "a link's size is no data": (header(b"l", 512, b"2") + data(b"abc") + END, 512, "checksum"),
    "data after the end": (A + END + A + END, 2048, "behind the end-of-archive"),
    "data after half an end": (A + bytes(512) + A + END, 1536, "behind the end-of-archive"),
    "garbage after the end": (A + END + bytes(77) + b"!", 2125, "behind the end-of-archive"),
    "no tar at all": (b"<html>" * 200, 0, "not a tar file"),
    "a negative size": (header(b"a", b"\xff" * 12) + END, 0, "size"),
    "a size of letters": (header(b"a", b"12three\0\0\0\0\0") + END, 0, "size"),
    "a size of nines": (header(b"a", b"00000000999\0") + END, 0, "size"),
    "an endless base-256 size": (header(b"a", b"\xbf" + b"\xff" * 11) + END, 0, "runs past"),
    "a GNU sparse file": (A + header(b"s", 0, b"S") + END, 1024, "sparse"),
    "a PAX sparse file": (pax(b"x", GNU__sparse__major="1") + header(b"s") + END, 1024, "sparse"),
    "a second volume": (header(b"s", 0, b"M") + END, 0, "volume"),
    "a long name of gigabytes": (header(b"L", 1 << 31, b"L") + END, 0, "claims"),
    "a long name of megabytes": (header(b"L", 2 << 20, b"L") + bytes(2 << 20) + A + END, 0, "claims"),
    "a long name cut short": (header(b"L", 600, b"L") + bytes(512), 0, "claims"),
    "a long name without a member": (A + header(b"L", 2, b"L") + data(b"ab") + END, 1024, "should be"),
    "a PAX size of letters": (pax(b"x", size="ten") + A + END, 1024, "size 'ten'"),
    "an endless PAX size": (pax(b"x", size="9" * 5000) + A + END, 5632, "size"),
    "a PAX record too long": (header(b"x", 9, b"x") + data(b"99 path=\n") + A + END, 512, "PAX record"),
    "a PAX record of length 0": (header(b"x", 9, b"x") + data(b"0 path=a\n") + A + END, 512, "PAX record"),
    "a PAX record without a length": (header(b"x", 9, b"x") + data(b"pathology") + A + END, 512, "PAX record"),
}


@pytest.mark.parametrize("case", BAD)
def test_an_archive_that_cannot_be_read_whole_is_an_error_that_names_file_and_offset(tmp_path: Path, case: str) -> None:
    content, offset, problem = BAD[case]
    path = in_file(tmp_path, content)
    with pytest.raises(TarError, match=problem) as caught:
        list(members(path))
    assert str(caught.value).startswith(f"{path}, offset {offset}: ")


@pytest.mark.parametrize("format", ["gnu", "posix"])
def test_a_sparse_file_by_gnu_tar_is_refused_by_its_name(tmp_path: Path, format: str) -> None:
    tar, out = tool("tar"), tmp_path / "out.tar"
    with (tmp_path / "holes.bin").open("wb") as file:
        file.truncate(10 << 20)
    subprocess.run([tar, f"--format={format}", "-C", tmp_path, "--sparse", "-cf", out, "holes.bin"], check=True)
    with pytest.raises(TarError, match=r"holes.bin' is a GNU sparse file.*repack without --sparse"):
        list(members(out))


ZSTD_OF_NOTHING = bytes.fromhex("28b52ffd2400010000 99e9d851")


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("gzip", gzip.compress),
        ("bzip2", bz2.compress),
        ("xz", lzma.compress),
        ("zstd", lambda content: ZSTD_OF_NOTHING + content),
    ],
)
def test_a_compressed_tar_is_refused_by_its_name(tmp_path: Path, name: str, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(TarError, match=f"a {name} file, not a plain tar.*decompress"):
        list(members(in_file(tmp_path, compress(archive(samples(3))))))


def test_a_plain_tar_whose_first_name_looks_like_a_magic_number_is_read(tmp_path: Path) -> None:
    assert [member.name for member in members(packed(tmp_path / "a.tar", [("BZh.jpg", b"x")]))] == ["BZh.jpg"]


def test_a_flipped_bit_in_a_header_is_an_error_and_never_a_shorter_list(tmp_path: Path) -> None:
    good = archive(samples(2, 10))
    path = in_file(tmp_path, good)
    whole = seen(path)
    with path.open("r+b", buffering=0) as file:
        for at in range(1024, 1536):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([good[at] ^ 1 << bit]), at)
                found = seen_or_error(path)
                if found == whole:  # the checksum's own NUL and blank do not count
                    assert at - 1024 in range(148, 156)
                else:
                    assert str(found).startswith(f"{path}, offset 1024: ")
            os.pwrite(file.fileno(), good[at : at + 1], at)
    assert seen(path) == whole


@pytest.mark.parametrize("format", ["gnu", "pax"])
def test_a_truncated_archive_is_an_error_wherever_it_was_cut(tmp_path: Path, format: str) -> None:
    files = [*samples(1, 10), ("long" * 40 + ".jpg", b"x" * 513)]
    path = packed(tmp_path / "a.tar", files, FORMATS[format])
    whole = seen(path)
    end = whole[-1][1] + 1024  # behind the last member's two blocks
    for cut in range(path.stat().st_size - 1, end - 600, -1):
        os.truncate(path, cut)
        if cut >= end + 512:  # one block of zeros is an end as well: nothing is lost
            assert seen(path) == whole
            continue
        with pytest.raises(TarError, match="offset"):
            seen(path)
    for cut in range(end - 600, -1, -1):
        os.truncate(path, cut)
        with pytest.raises(TarError, match="offset"):
            seen(path)


BLOCKS = st.tuples(
    st.binary(max_size=100),
    st.one_of(st.integers(0, 3000), st.binary(min_size=12, max_size=12)),
    st.sampled_from([b"0", b"\0", b"7", b"5", b"2", b"L", b"K", b"x", b"g", b"X", b"S", b"V", b"M", b"?"]),
    st.one_of(
        st.binary(max_size=1100),
        st.sampled_from([b"11 path=ab\n", b"12 size=512\n", b"24 GNU.sparse.major=1\n\n\n", b"6 size=\n", b"-1 a=b\n"]),
    ),
)


@given(st.lists(BLOCKS, max_size=6), st.integers(0, 3))
def test_whatever_the_headers_say_members_lie_in_the_file_or_it_is_a_tar_error(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[tuple[bytes, int | bytes, bytes, bytes]], end: int
) -> None:
    content = b"".join(header(name, size, kind) + data(payload) for name, size, kind, payload in blocks)
    path = in_file(tmp_path_factory.getbasetemp(), content + bytes(512 * end))
    match seen_or_error(path):
        case str(message):
            assert message.startswith(f"{path}, offset ")
        case found:
            assert all(512 <= offset <= offset + size <= path.stat().st_size for _, offset, size in found)


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8), st.booleans())
def test_mutations_never_raise_anything_but_tar_errors(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], right_checksums: bool
) -> None:
    content = bytearray(archive([*samples(2, 10), ("é" * 80 + ".jpg", b"x" * 513)], comment="all"))
    for at, value in edits:
        at %= len(content)
        content[at] = value
        if right_checksums:
            block = at // 512 * 512
            content[block : block + 512] = checksummed(bytes(content[block : block + 512]))
    path = in_file(tmp_path_factory.getbasetemp(), bytes(content))
    match seen_or_error(path):
        case str(message):
            assert message.startswith(f"{path}, offset ")
        case found:
            assert all(512 <= offset <= offset + size <= path.stat().st_size for _, offset, size in found)
