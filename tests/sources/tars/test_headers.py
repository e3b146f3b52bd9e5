"""Headers of a tar file are those that Python's tarfile writes."""

import io
import tarfile

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastdata.sources.tars.headers import end_of_archive, is_plain, long_header, plain_headers

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
    encoded = name.encode("utf-8", "surrogateescape")
    plain = is_plain(encoded, size)
    made = plain_headers([encoded], np.array([size])).tobytes() if plain else long_header(encoded, size)
    assert made == info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def test_headers_are_made_for_many_files_at_once() -> None:
    names, sizes = [b"a/%d.jpg" % number for number in range(1000)], np.arange(1000) ** 3
    one_by_one = [plain_headers([name], np.array([size])) for name, size in zip(names, sizes, strict=True)]
    assert np.array_equal(plain_headers(names, sizes), np.concatenate(one_by_one))


@pytest.mark.parametrize("size", [0, 512, 9216, 9728, 10_240, 512 * 1234])
def test_an_archive_ends_as_one_of_tarfile(size: int) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        stream.write(bytes(size))
        archive.offset = size
    assert end_of_archive(size) == stream.getvalue()[size:]
