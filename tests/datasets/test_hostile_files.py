"""Samples that are no regular files, or larger than any memory: errors that name them, with and without the kernel."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdata as fd
from fastdata.datasets.base import ImageDataset
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.parquet import ParquetImageDataset
from fastdata.datasets.store import TarImageMapDataset
from fastdata.errors import SampleError
from fastdata.images import kernel
from fastdata.packing.pack import pack
from fastdata.sources.folder import scan_classes
from support.numbered import TRAIN
from support.parquets import write_columns
from support.pictures import jpeg
from support.tars import END, data, header, packed

HUGE = 8**11 - 1  # what a plain tar header can say: 8 GB


@pytest.fixture(params=["kernel", "reference"], autouse=True)
def _with_and_without_the_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "reference":
        monkeypatch.setattr(kernel, "KERNEL", None)


def errors(dataset: ImageDataset) -> list[SampleError]:
    return [sample for sample in dataset.read_some(range(dataset.num_samples)) if isinstance(sample, SampleError)]


@pytest.mark.parametrize("kind", ["sparse", "pipe", "device"])
def test_in_a_folder(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(16, 16))
    path = tmp_path / "z.jpg"
    if kind == "sparse":
        path.touch()
        os.truncate(path, 60 * 10**9)
    elif kind == "pipe":
        path.write_bytes(b"")
    else:
        path.symlink_to("/dev/zero")
    dataset = ImageDirectoryDataset(tmp_path, "*", TRAIN, None)
    if kind == "pipe":  # since it was scanned
        path.unlink()
        os.mkfifo(path)
    (error,) = errors(dataset)
    assert error.key == "z"
    assert str(path) in str(error)
    assert ("more than 1073741824 bytes" if kind == "sparse" else "no regular file") in error.cause


@pytest.mark.parametrize("target", [None, "json"])
def test_in_a_shard(tmp_path: Path, target: Any) -> None:
    path = tmp_path / "a.tar"
    small = jpeg(16, 16)
    huge = b"a.json" if target else b"a.jpg"
    first = header(b"a.jpg", len(small)) + data(small) if target else b""
    path.write_bytes(first + header(huge, HUGE))
    os.truncate(path, len(first) + 512 + (HUGE + 511) // 512 * 512)
    with path.open("ab") as file:
        file.write(header(b"b.jpg", len(small)) + data(small) + header(b"b.json", 2) + data(b"{}") + END)
    (error,) = errors(TarImageMapDataset(path, TRAIN, target=target))
    assert "a.tar" in error.where
    assert f"of {HUGE} bytes: more than 1073741824" in error.cause


@pytest.mark.parametrize("is_listed", [False, True])
def test_a_pipe_in_place_of_a_shard(tmp_path: Path, is_listed: bool) -> None:
    (tmp_path / "photos" / "ant").mkdir(parents=True)
    for number in range(2):
        (tmp_path / "photos" / "ant" / f"{number}.jpg").write_bytes(jpeg(16, 16))
    pack(scan_classes(tmp_path / "photos"), tmp_path / "out", jobs=1)
    (shard,) = (tmp_path / "out").glob("*.tar")
    shard.unlink()
    os.mkfifo(shard)
    if is_listed:
        found = errors(TarImageMapDataset(tmp_path / "out" / "train.json", TRAIN))
        assert [f"{shard} is no regular file" in error.cause for error in found] == [True, True]
        return
    (tmp_path / "out" / "train.json").unlink()
    with pytest.raises(OSError, match=r"train-000000\.tar is no regular file"):
        TarImageMapDataset(shard, TRAIN)


def of_two_sizes(root: Path, kind: str, limit: int, fields: Any = None) -> ImageDataset:
    """A small sample `a` and a larger one, `b`, whose json is the larger one in `c`."""
    images = {"a": jpeg(16, 16), "b": jpeg(200, 200), "c": jpeg(16, 16)}
    jsons = {"a": b"{}", "b": b"{}", "c": b'{"a": "' + b"x" * 10_000 + b'"}'}
    if kind == "parquet":
        path = write_columns(root / "a.parquet", {"image": list(images.values()), "x.json": list(jsons.values())})
        fields = None if fields is None else fd.Json("x.json")
        return ParquetImageDataset(path, TRAIN, target=fields, max_bytes=limit)
    if kind == "shard":
        files = [(f"{key}.{name}", of[key]) for key in images for name, of in (("jpg", images), ("json", jsons))]
        return TarImageMapDataset(packed(root / "a.tar", files), TRAIN, target=fields, max_bytes=limit)
    for key, image in images.items():
        (root / f"{key}.jpg").write_bytes(image)
        (root / f"{key}.json").write_bytes(jsons[key])
    return ImageDirectoryDataset(root, "*.jpg", TRAIN, labels=None, fields=fields, max_bytes=limit)


@pytest.mark.parametrize("kind", ["folder", "shard", "parquet"])
def test_what_has_more_than_max_bytes_is_not_read(tmp_path: Path, kind: str) -> None:
    limit = len(jpeg(200, 200)) - 1
    assert limit < 10_000
    (error,) = errors(of_two_sizes(tmp_path, kind, limit))
    assert f"has more than {limit} bytes" in error.cause
    image, text = errors(of_two_sizes(tmp_path, kind, limit, "json"))
    assert (image.cause, image.where) == (error.cause, error.where)
    assert f"has more than {limit} bytes" in text.cause
    assert not errors(of_two_sizes(tmp_path, kind, 10_009, "json"))


@pytest.mark.parametrize("limit", [0, -1, (1 << 30) + 1])
def test_max_bytes_is_from_one_to_a_gibibyte(tmp_path: Path, limit: int) -> None:
    with pytest.raises(ValueError, match=f"max_bytes must be from 1 to 1073741824, got {limit}"):
        of_two_sizes(tmp_path, "folder", limit)


@pytest.mark.parametrize("make", [ImageDirectoryDataset, TarImageMapDataset])
def test_no_memory_is_an_error_that_names_the_sample_and_never_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    if make is TarImageMapDataset:
        small = jpeg(16, 16)
        (tmp_path / "a.tar").write_bytes(header(b"a.jpg", len(small)) + data(small) + END)
        dataset = make(tmp_path / "a.tar", TRAIN, target=None)
    else:
        (tmp_path / "a.jpg").write_bytes(jpeg(16, 16))
        dataset = make(tmp_path, "*", TRAIN, None)
    assert len(dataset.read_some([0])) == 1

    def without_memory(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(np, "empty", without_memory)
    monkeypatch.setattr(type(dataset), "_read", without_memory)
    with pytest.raises(OSError, match=r"no memory to read a sample: '.*/a\.(jpg|tar)"):
        dataset.read_some([0])
