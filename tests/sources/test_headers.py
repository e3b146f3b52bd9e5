"""Headers of a tar file are those that Python's tarfile writes."""

import io
import tarfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastdata.sources.headers import end_of_archive, member_header

NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=120)


@given(NAMES, st.integers(0, 2**40))
@example("a" * 100, 8**11 - 1)
@example("a" * 101, 0)
@example("a", 8**11)
@example("caf\udce9.jpg", 5)
@example("\x7f" * 100, 0o77777777777)
def test_a_header_is_the_one_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    assert member_header(name, size) == info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@pytest.mark.parametrize("size", [0, 512, 9216, 9728, 10_240, 512 * 1234])
def test_an_archive_ends_as_one_of_tarfile(size: int) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        stream.write(bytes(size))
        archive.offset = size
    assert end_of_archive(size) == stream.getvalue()[size:]
