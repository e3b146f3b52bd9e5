"""Verifying finds what is wrong with shards, and says where."""

import os
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from msgspec.structs import replace

from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.packing.to_verify import Fault, shards_of
from fastdata.packing.verify import verify
from fastdata.sources import manifest
from fastdata.sources.dataset_index import DatasetIndex
from fastdata.sources.folder import scan_classes
from fastdata.sources.regular import MAX_BYTES
from fastdata.sources.shard import Shard
from fastdata.sources.tars import index
from fastdata.sources.tars.index_writer import write_index
from fastdata.sources.tars.writer import ShardWriter
from support.pictures import encoded, jpeg, photo
from support.tars import header


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images, one of them a PNG, in three shards."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("packed")
    (source / "cat").mkdir()
    for number in range(8):
        (source / f"cat/{number}.jpg").write_bytes(jpeg(64, 48, number))
    (source / "cat/8.png").write_bytes(encoded(photo(64, 48, 8), "PNG"))
    pack(scan_classes(source), out, division=ShardCount(3), jobs=1)
    return out


@pytest.fixture
def packed(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, which may be damaged."""
    return shutil.copytree(whole, tmp_path / "packed")


def faults(what: Path, decode: bool = False, jobs: int = 2) -> list[Fault]:
    found = [fault for one in verify(shards_of(str(what)), decode=decode, jobs=jobs) for fault in one]
    return [fault._replace(shard=Path(fault.shard).name) for fault in found]


def overwrite(shard: Path, offset: int, data: bytes) -> None:
    """Changes bytes of a shard, and nothing of its times."""
    status = shard.stat()
    with shard.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("what", ["", "train.json", "train-00000?.tar"])
@pytest.mark.parametrize("decode", [False, True])
def test_nothing_is_wrong_with_what_was_packed(whole: Path, what: str, decode: bool) -> None:
    assert faults(whole / what, decode) == []


def test_a_shard_that_was_cut_short_is_found_with_the_offset(packed: Path) -> None:
    shard = packed / "train-000001.tar"
    size = shard.stat().st_size
    os.truncate(shard, size // 2)
    first, second = faults(packed)
    problem = f"it has {size // 2} bytes, not {size} as train.json says: copy or pack it again"
    assert first == Fault("train-000001.tar", "", -1, problem)
    assert (second.shard, second.offset >= 0) == ("train-000001.tar", True)
    assert "cut short" in second.problem


def test_a_changed_byte_of_an_image_is_found_by_the_hash_and_where_it_matters_by_decoding(packed: Path) -> None:
    shard = Shard(packed / "train-000000.tar")
    span = shard.rows[".jpg"][1]
    offset, size = int(span["offset"]), int(span["size"])
    overwrite(packed / "train-000000.tar", offset + size // 2, bytes(size - size // 2))
    by_hash, sample = faults(packed)
    assert (by_hash.shard, by_hash.key, by_hash.offset) == ("train-000000.tar", "", -1)
    assert "its bytes are not those of which train.json has the hash" in by_hash.problem
    assert (sample.shard, sample.key, sample.offset) == ("train-000000.tar", "cat/1", int(shard.rows["start"][1]))
    assert "its bytes are not those of which its index has the hash" in sample.problem
    again, sample_again, image = faults(packed, decode=True)
    assert (again, sample_again) == (by_hash, sample)
    assert (image.shard, image.key, image.offset) == ("train-000000.tar", "cat/1", offset)
    assert str(image).startswith(f"train-000000.tar, offset {offset}, sample 'cat/1': ")


def test_without_a_json_the_index_tells_what_changed_and_without_that_decoding(packed: Path) -> None:
    (packed / "train.json").unlink()
    shard = packed / "train-000002.tar"
    with ShardWriter(shard) as writer:  # as packing, whose indexes of single shards are not kept
        for number in range(6, 9):
            writer.write(f"cat/{number}", {"png": encoded(photo(9, 9), "PNG"), "cls": b"0"})
    offset = int(Shard(packed / "train-000002.tar").rows[".png"][2]["offset"])
    overwrite(packed / "train-000002.tar", offset, b"no picture")
    (sample,) = faults(packed)
    assert (sample.shard, sample.key, sample.offset) == ("train-000002.tar", "cat/8", offset - 512)
    (packed / "train-000002.index.npy").unlink()
    overwrite(packed / "train-000002.tar", offset, b"no picture")
    assert faults(packed) == []
    (image,) = faults(packed, decode=True)
    assert (image.shard, image.key, image.offset) == ("train-000002.tar", "cat/8", offset)


def test_a_component_above_the_limit_is_a_fault_that_takes_no_memory(tmp_path: Path) -> None:
    size, shard = MAX_BYTES + 1, tmp_path / "a.tar"
    with shard.open("wb") as file:  # sparse
        file.write(header(b"a.cls", size))
        file.truncate(512 + -(-size // 512) * 512 + 1024)
    problem = f"its component 'cls' has {size} bytes, more than the limit of {MAX_BYTES}: repack the shard without it"
    assert faults(shard, decode=True) == [Fault("a.tar", "a", 512, problem)]


def test_a_header_that_was_damaged_is_found_with_its_offset(packed: Path) -> None:
    start = int(Shard(packed / "train-000002.tar").rows["start"][1])
    overwrite(packed / "train-000002.tar", start, b"\xff")
    by_hash, by_header = faults(packed)
    assert "hash" in by_hash.problem
    assert (by_header.offset, "bad checksum" in by_header.problem) == (start, True)


def test_shards_that_are_lost_and_those_that_are_not_listed_are_found(packed: Path) -> None:
    (packed / "train-000001.tar").rename(packed / "train-000007.tar")
    assert faults(packed) == [
        Fault("train-000001.tar", "", -1, "can't be opened: No such file or directory"),
        Fault(
            "train-000007.tar",
            "",
            -1,
            "train.json does not list it: move it away, or get the json that belongs to it",
        ),
    ]


def test_an_index_that_holds_for_the_file_but_says_something_else_is_found(tmp_path: Path) -> None:
    (tmp_path / "photos" / "class").mkdir(parents=True)
    for number in range(20):  # more than are compared with the shard when an index is opened
        (tmp_path / "photos" / "class" / f"{number:02}.jpg").write_bytes(jpeg(16, 16))
    pack(scan_classes(tmp_path / "photos"), tmp_path / "out", jobs=1)
    (tmp_path / "out" / "train.json").unlink()
    shard = str(tmp_path / "out" / "train-000000.tar")
    status = os.stat(shard)
    with open(shard, "rb") as file:
        rows = np.array(index.build(file.fileno(), shard))
    rows["cls"][1] = 7
    index.store(shard, status, rows)
    (fault,) = faults(tmp_path / "out")
    assert "its index is not what lies in it: remove train-000000.index.npy" in fault.problem


def test_a_json_that_counts_otherwise_is_found(packed: Path) -> None:
    text = (packed / "train.json").read_text()
    (packed / "train.json").write_text(text.replace('"nsamples": 3', '"nsamples": 4', 1))
    of_index, of_shard = faults(packed)
    assert "it has 9 samples, not 10 as train.json says" in of_index.problem
    assert of_shard == Fault("train-000000.tar", "", -1, "it has 3 samples, not 4: pack it again")


@pytest.mark.parametrize("at", [400, -1])
def test_a_damaged_index_of_the_dataset_is_found_and_its_shards_are_good(packed: Path, at: int) -> None:
    data = bytearray((packed / "train.index.npy").read_bytes())
    data[at] ^= 1
    (packed / "train.index.npy").write_bytes(data)
    (fault,) = faults(packed)
    assert fault.shard == "train.index.npy"
    (packed / "train.index.npy").unlink()
    (fault,) = faults(packed)
    assert "No such file" in fault.problem


def test_an_index_of_the_dataset_that_says_something_else_than_a_shard_is_found(packed: Path) -> None:
    found = manifest.load(packed / "train.json")
    index = DatasetIndex(str(packed / "train.index.npy"), cast("Any", found.index))
    rows = [index.rows(0, 3).copy(), index.rows(3, 6), index.rows(6, 9)]
    rows[0]["cls"][1] = 7
    manifest.store(replace(found, index=write_index(packed / "train.index.npy", 3, rows.__getitem__)), packed)
    (fault,) = faults(packed)
    assert fault == Fault("train-000000.tar", "", -1, "its index is not what lies in it: pack it again")


def test_there_must_be_something_to_verify(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no dataset in"):
        shards_of(str(tmp_path))
    with pytest.raises(ValueError, match="jobs must be at least 1, not 0"):
        list(verify([], jobs=0))
