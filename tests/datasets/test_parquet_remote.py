"""Parquet files that are not on this machine."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

import fastdata as fd
from fastdata.datasets.parquet import ParquetImageDataset
from fastdata.errors import ReadError
from support.numbered import TRAIN, image
from support.parquets import Row, write_parquet

COUNT = 24
ROWS = [Row(image(number)[1], number, f"{number:03}.jpg") for number in range(COUNT)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """Three files of two row groups each below a URL, and something else."""
    memory = fsspec.filesystem("memory")
    for number in range(3):
        path = write_parquet(tmp_path / f"{number}.parquet", ROWS[8 * number : 8 * number + 8], compression="none")
        memory.pipe_file(f"/photos/train/{number}.parquet", path.read_bytes())
    memory.pipe_file("/photos/train/README.md", b"text")
    memory.pipe_file("/photos/test/0.parquet", b"text")
    yield "memory://photos"
    memory.rm("/photos", recursive=True)


@pytest.mark.parametrize("which", ["train/*.parquet", "train/{0..2}.parquet", "tra*/?.parquet", "**/train/*.parquet"])
def test_samples_are_those_of_the_local_files(folder: str, tmp_path: Path, which: str) -> None:
    local = ParquetImageDataset(tmp_path / "*.parquet", TRAIN)
    remote = ParquetImageDataset(f"{folder}/{which.replace('?', '*')}", TRAIN, cache_bytes=1)
    assert remote.fingerprint == local.fingerprint
    assert remote.where(9) == "memory://photos/train/1.parquet, row 1 of row group 0"
    for number in (23, 0, 9, 8, 1, 22):
        assert remote.read(number) == local.read(number)
    wanted = [batch.keys for batch in fd.Loader(local, 8, shuffle=True)]
    assert [batch.keys for batch in fd.Loader(remote, 8, shuffle=True)] == wanted


def test_a_file_that_is_gone_or_another_one_is_a_bad_sample_that_names_the_url(folder: str) -> None:
    ours = ParquetImageDataset(f"{folder}/train/*.parquet", TRAIN, cache_bytes=1)
    memory = fsspec.filesystem("memory")
    whole = memory.cat_file("/photos/train/0.parquet")
    memory.rm("/photos/train/0.parquet")
    with pytest.raises(ReadError, match=r"memory://photos/train/0\.parquet"):
        ours.read(0)
    memory.pipe_file("/photos/train/1.parquet", whole)
    with pytest.raises(ReadError, match=r"memory://photos/train/1\.parquet.* replaced|another file"):
        ours.read(9)


def test_what_is_not_there_is_an_error_that_names_it(folder: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file matches memory://photos/train/\*\.pq"):
        ParquetImageDataset(f"{folder}/train/*.pq")
    with pytest.raises(FileNotFoundError, match=r"memory://photos/train/7\.parquet"):
        ParquetImageDataset(f"{folder}/train/7.parquet")


def test_hugging_faces_urls_say_what_to_install() -> None:
    code = (
        "import sys; sys.modules['huggingface_hub'] = None; import fastdata as fd\n"
        "try: fd.ParquetImageDataset('hf://datasets/someone/photos/data/train.parquet')\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert "hf://datasets/someone/photos/data/train.parquet" in said
    assert "huggingface_hub" in said
