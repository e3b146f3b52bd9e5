"""Samples that are no regular files, or larger than any memory: errors that name them, with and without the kernel."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.store import TarImageMapDataset
from fastdata.errors import SampleError
from fastdata.images import kernel
from support.numbered import TRAIN
from support.pictures import jpeg
from support.tars import END, data, header

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
