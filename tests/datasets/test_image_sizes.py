"""The sizes of all images, as their headers say them, from as little of the files as will do."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import ConcatDataset, Subset

import fastdata as fd
from fastdata.datasets.from_torch import as_image_dataset
from fastdata.datasets.image_sizes import read_image_sizes
from fastdata.images.header import read_header
from fastdata.sources import faults as faults_of_machines
from fastdata.sources.tars.writer import ShardWriter
from support.numbered import COUNT, iterable, map_style
from support.pictures import encoded, jpeg, photo


def with_large_comment(data: bytes, size: int) -> bytes:
    """A JPEG whose frame header comes behind so many bytes, in segments of 64 kB at most, as of a colour profile."""
    segments = [size // 65000 * [65000], [size % 65000 + 2]]
    return (
        data[:2] + b"".join(b"\xff\xfe" + n.to_bytes(2, "big") + bytes(n - 2) for s in segments for n in s) + data[2:]
    )


FILES: dict[str, tuple[bytes, tuple[int, int]]] = {
    "a.jpg": (jpeg(64, 48, 0), (64, 48)),
    "b.jpg": (jpeg(64, 48, 1, orientation=6), (48, 64)),
    "c.jpg": (with_large_comment(jpeg(50, 40, 2), 30_000), (50, 40)),
    "d.jpg": (with_large_comment(jpeg(50, 40, 3, orientation=8), 300_000), (40, 50)),
    "e.png": (encoded(photo(300, 200, 4), "PNG"), (300, 200)),
    "f.tiff": (encoded(photo(200, 301, 5), "TIFF"), (200, 301)),
    "g.webp": (encoded(photo(300, 190, 6), "WEBP", lossless=True), (300, 190)),
    "h.jpg": (b"no image", (0, 0)),
    "i.jpg": (b"", (0, 0)),
    "j.jpg": (jpeg(64, 48, 7)[:30], (0, 0)),
    "k.bmp": (encoded(photo(70, 71, 8), "BMP"), (70, 71)),
}
EXPECTED = [size for _, size in FILES.values()]


@pytest.fixture
def some(tmp_path: Path) -> fd.ImageDirectoryDataset:
    for name, (data, _) in FILES.items():
        (tmp_path / name).write_bytes(data)
    return fd.ImageDirectoryDataset(tmp_path, pattern="*", labels=None)


def test_of_files_of_all_kinds(some: fd.ImageDirectoryDataset) -> None:
    assert some.image_sizes.tolist() == [list(size) for size in EXPECTED]
    assert some.image_sizes.dtype == np.int32
    assert len(FILES["g.webp"][0]) > 80 << 10 < len(FILES["f.tiff"][0])


def test_in_shards_they_are_the_same(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "0.tar") as shard:
        for name, (data, _) in FILES.items():
            stem, extension = name.split(".")
            shard.write(stem, {extension: data})
        shard.write("z", {"txt": b"no image"})
    packed = fd.TarImageMapDataset(tmp_path / "0.tar", image="jpg;png;tiff;webp;bmp", target=None)
    assert packed.image_sizes.tolist() == [list(size) for size in [*EXPECTED, (0, 0)]]
    for number, (data, _) in enumerate(FILES.values()):
        assert packed.read_beginning(number, 20) == data[:20]
        assert packed.read_beginning(number, 1 << 30) == data


def test_what_is_gone_or_a_pipe_or_too_large_has_none(some: fd.ImageDirectoryDataset, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.jpg").unlink()
    os.mkfifo(tmp_path / "b.jpg")
    some.max_pixels = 50_000
    expected = [(0, 0), (0, 0), *EXPECTED[2:]]
    assert some.image_sizes.tolist() == [[w, h] if w * h <= 50_000 else [0, 0] for w, h in expected]


def test_of_many_they_are_what_every_header_says(folder: Path, shards: list[str]) -> None:
    dataset = map_style(folder)
    expected = [list(read_header(dataset.read(number).image).size) for number in range(COUNT)]
    assert dataset.image_sizes.tolist() == expected
    assert iterable(shards).image_sizes.tolist() == expected
    both: Any = ConcatDataset([Subset(dataset, [5, -1]), dataset])
    assert as_image_dataset(both).image_sizes.tolist() == [expected[5], expected[-1], *expected]
    mix = fd.Mix({"some": (dataset.select(numbers=[3, 4]), 1), "all": (dataset, 1)})
    assert mix.image_sizes.tolist() == [expected[3], expected[4], *expected]


def test_real_photos(photos: Path) -> None:
    dataset = fd.ImageDirectoryDataset(photos / "test", pattern="**/*.jpg", labels=None).select(numbers=slice(300))
    expected = [list(read_header(dataset.read(number).image).size) for number in range(len(dataset))]
    assert dataset.image_sizes.tolist() == expected


def test_a_fault_of_the_machine_is_waited_for_then_raised(
    some: fd.ImageDirectoryDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, read = iter([True, False]), some.read_beginning

    def failing_once(number: int, length: int) -> bytes:
        if next(faults, False):
            raise OSError(errno.EMFILE, "too many open files")
        return read(number, length)

    expected = read_image_sizes(some).tolist()
    monkeypatch.setattr(some, "read_beginning", failing_once)
    assert read_image_sizes(some).tolist() == expected

    def failing(number: int, length: int) -> bytes:
        raise OSError(errno.EIO, "a disk fails")

    monkeypatch.setattr(some, "read_beginning", failing)
    monkeypatch.setattr(faults_of_machines, "WAITS", (0.0,))
    with pytest.raises(OSError, match="a disk fails"):
        read_image_sizes(some)
