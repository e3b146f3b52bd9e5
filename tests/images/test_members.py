"""What the kernel says of a shard's headers is what Python says of them, wherever it says anything."""

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastdata.errors import DecodeError
from fastdata.images import kernel
from fastdata.images.header import Header, read_headers
from fastdata.sample import key_hash
from fastdata.sources.tars.rows import NO_CLASS, class_in
from fastdata.sources.tars.tar import BLOCK, REGULAR, is_header, number, plain_name
from fastdata.sources.tars.webdataset import split_name
from support.pictures import jpeg

if kernel.KERNEL is None:
    pytest.skip("the kernel is not built", allow_module_level=True)

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT]
NAMES = st.text(st.sampled_from("aB.é/_ 0"), min_size=1, max_size=40)


def header_of(name: str, size: int, format: Any = tarfile.USTAR_FORMAT) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(format, "utf-8", "surrogateescape")


def seen(directory: Path, part: bytes, members: Sequence[tuple[object, ...]]) -> list[tuple[int, int]]:
    """Key sizes and classes that the kernel finds in a file that begins with `part`, for each of the members."""
    path = directory / "part"
    path.write_bytes(part)
    fd = os.open(path, os.O_RDONLY)
    try:
        table = np.array(members, kernel.MEMBER)
        kernel.read(np.array([(fd, 0, len(part))] * len(table)), bytearray(len(part) * len(table)), BLOCK, None, table)
    finally:
        os.close(fd)
    return [(int(row["key_size"]), int(row["has_cls"])) for row in table]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("members")


def test_a_plain_jpeg_of_no_more_pixels_than_the_limit_is_for_the_kernel() -> None:
    image = jpeg(40, 30)
    (header,) = read_headers([image], max_pixels=1200)
    assert isinstance(header, Header)
    assert header.by_kernel
    (error,) = read_headers([image], max_pixels=1199)
    assert isinstance(error, DecodeError)


@given(
    name=NAMES,
    size=st.integers(0, 40),
    format=st.sampled_from(FORMATS),
    change=st.none() | st.tuples(st.integers(0, BLOCK - 1), st.integers(0, 255)),
    mend=st.booleans(),
)
@example("a/b.jpg", 12, tarfile.USTAR_FORMAT, None, False)
@example("./a.jpg", 12, tarfile.USTAR_FORMAT, None, False)
@example("__a__/b.jpg", 12, tarfile.USTAR_FORMAT, None, False)
@settings(max_examples=1000)
def test_a_key_that_the_kernel_finds_is_pythons(
    directory: Path, name: str, size: int, format: int, change: tuple[int, int] | None, mend: bool
) -> None:
    header = header_of(name, size, format)
    if change is not None:
        header = header[: change[0]] + bytes([change[1]]) + header[change[0] + 1 :]
        if mend:  # so that it is not the checksum alone that tells
            header = header[:148] + b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 256) + header[156:]
    key, extension = split_name(name) or ("a", "jpg")
    ((key_size, _),) = seen(directory, header + bytes(size), [_member(key, extension, size)])
    found = split_name(plain_name(header))
    agrees = is_header(header) and header[156:157] in REGULAR and number(header[124:136]) == size
    if key_size:
        assert agrees
        assert found == (key, extension)
        assert header[:key_size] == key.encode()
    elif change is None and extension.isascii() and len(extension) < 16 and not name.startswith(("./", "__")):
        assert found is None or any(map(str.isupper, name.rpartition("/")[2]))


def _member(key: str, extension: str, size: int) -> tuple[object, ...]:
    return key_hash(key), size, NO_CLASS, 0, 0, extension.encode(), 0, 0


@pytest.mark.parametrize("length", [1, 2, 63, 95, 96])
def test_keys_of_every_length_that_a_header_holds_are_hashed_alike(directory: Path, length: int) -> None:
    key = "".join(chr(97 + i % 26) for i in range(length))
    header = header_of(f"{key}.jpg", 5)
    assert seen(directory, header + b"12345", [_member(key, "jpg", 5)]) == [(length, 0)]
    assert seen(directory, header + b"1234", [_member(key, "jpg", 5)]) == [(0, 0)]
    others = [_member(f"{key}x", "jpg", 5), _member(key, "png", 5), _member(key, "jpg", 4)]
    assert seen(directory, header + b"12345", others) == [(0, 0)] * 3


@given(st.binary(max_size=4) | st.text(st.sampled_from(" +-_019"), max_size=20).map(str.encode), st.integers(-2, 12))
@example(b"7", 7)
@example(b"007", 7)
def test_a_class_that_the_kernel_finds_is_pythons(directory: Path, digits: bytes, cls: int) -> None:
    part = header_of("a.jpg", 0) + digits
    member = key_hash("a"), 0, cls, BLOCK, len(digits), b"jpg", 0, 0
    ((_, has_cls),) = seen(directory, part, [member])
    if has_cls:
        assert class_in(digits) == cls
    elif digits.isdigit() and len(digits) <= 18:
        assert class_in(digits) != cls


def test_a_class_that_was_not_read_is_not_found(directory: Path) -> None:
    part = header_of("a.jpg", 0) + b"12"
    members = [(key_hash("a"), 0, 12, at, size, b"jpg", 0, 0) for at, size in [(BLOCK, 3), (BLOCK + 3, 2), (0, 2)]]
    members += [(key_hash("a"), 0, 12, -5, 2, b"jpg", 0, 0), (key_hash("a"), 0, 12, BLOCK, 2, b"jpg", 0, 0)]
    assert [has_cls for _, has_cls in seen(directory, part, members)] == [0, 0, 0, 0, 1]


def test_members_of_another_number_are_refused(directory: Path) -> None:
    with pytest.raises(ValueError, match="members must have 56 bytes, got 112"):
        kernel.read(np.array([(0, 0, 0)]), bytearray(1), 0, None, np.zeros(2, kernel.MEMBER))


@pytest.mark.parametrize("key", ["__a__/b", "./a"])
def test_names_that_are_no_plain_keys_are_left_to_python(directory: Path, key: str) -> None:
    header = header_of(f"{key}.jpg", 0)
    assert split_name(plain_name(header)) != (key, "jpg")
    assert seen(directory, header, [_member(key, "jpg", 0)]) == [(0, 0)]
