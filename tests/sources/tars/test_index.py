"""The index of a shard: the samples that webdataset sees, kept beside the shard and never believed blindly."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_expander

from fastdata.errors import TarError
from fastdata.sample import key_hash
from fastdata.sources.shard import Shard
from fastdata.sources.tars import index
from fastdata.sources.tars.index import NO_CLASS, Rows, extensions, index_count, index_path, index_summary, load
from fastdata.sources.tars.index_file import crc_of
from fastdata.sources.tars.rows import plain
from fastdata.sources.tars.writer import ShardWriter
from support.tars import FORMATS, packed, samples


def rows_of(path: Path) -> Rows:
    """The index of a shard, as in a new process."""
    index._memory.clear()
    return rows_again(path)


def rows_again(path: Path) -> Rows:
    """The index of a shard, as in a process that may know it."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return index.shard_rows(fd, os.fspath(path))
    finally:
        os.close(fd)


@pytest.fixture
def no_building(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexing a shard is a failure here: its stored index has to do."""

    def build(fd: int, path: str) -> Rows:
        pytest.fail(f"{path} was indexed again")

    monkeypatch.setattr(index, "build", build)


def by_webdataset(path: Path) -> list[dict[str, bytes]]:
    with path.open("rb") as stream:
        found = group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}]))
        return [{k: v for k, v in sample.items() if k not in ("__url__", "__local_path__")} for sample in found]


def by_rows(path: Path, rows: Rows) -> list[dict[str, bytes]]:
    content = path.read_bytes()
    found = []
    for row in rows:
        spans = {name: row["." + name].item() for name in extensions(rows)}
        found.append({name: content[at : at + size] for name, (at, size) in spans.items() if at >= 0})
    return found


@pytest.mark.parametrize("format", FORMATS)
def test_the_samples_are_those_that_webdataset_sees(tmp_path: Path, format: str) -> None:
    files = [
        ("a/1.jpg", b"one"),
        ("a/1.cls", b"1"),
        ("a/README", b"no sample"),
        ("__meta__/x.jpg", b"no sample"),
        ("a/2.JPG", b""),
        ("b/2.seg.png", b"mask"),
        ("b/2.jpg", b"two"),
        ("b" * 90 + "/3.jpg", b"three"),
        ("c/4.json", b"{}"),
    ]
    path = packed(tmp_path / "a.tar", files, FORMATS[format])
    rows, expected = rows_of(path), by_webdataset(path)
    assert [key_hash(str(sample.pop("__key__"))) for sample in expected] == rows["key"].tolist()
    assert by_rows(path, rows) == expected
    assert extensions(rows) == ("jpg", "cls", "seg.png", "json")
    assert rows[".cls"]["offset"].tolist()[1:] == [index.ABSENT] * 4


def test_the_samples_of_a_shard_by_webdataset_are_those_that_it_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for i in range(20):
            writer.write({"__key__": f"dir/{i}", "jpg": bytes([i]) * i, "cls": i, "json": {"i": i}})
    rows, expected = rows_of(path), by_webdataset(path)
    assert [key_hash(str(sample.pop("__key__"))) for sample in expected] == rows["key"].tolist()
    assert by_rows(path, rows) == expected
    assert rows["cls"].tolist() == list(range(20))


@pytest.mark.parametrize(
    ("content", "number"),
    [(b"7", 7), (b" -3\n", -3), (b"", NO_CLASS), (b"cat", NO_CLASS), (b"1.0", NO_CLASS), (b"9" * 30, NO_CLASS),
     (b"1" * 1000, NO_CLASS), (b"9223372036854775807", 2**63 - 1), (b"9223372036854775808", NO_CLASS)],
)  # fmt: skip
def test_the_class_is_the_integer_in_the_cls_member(tmp_path: Path, content: bytes, number: int) -> None:
    rows = rows_of(packed(tmp_path / "a.tar", [("a.cls", content), ("b.txt", b"0")]))
    assert rows["cls"].tolist() == [number, NO_CLASS]


def test_an_extension_twice_in_a_sample_is_an_error_that_names_all(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", [("a/1.jpg", b"x"), ("a/1.JPG", b"y")])
    with pytest.raises(TarError, match=r"a\.tar, offset 1024: key 'a/1' has two components 'jpg'"):
        rows_of(path)


def test_a_key_that_comes_back_is_an_error_that_names_both_places(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", [("a.jpg", b"x"), ("b.jpg", b"y"), ("a.cls", b"1")])
    with pytest.raises(TarError, match=r"a\.tar, offset 2048: key 'a' again, after the one at 0 "):
        rows_of(path)


def test_a_tar_with_an_extension_for_each_file_is_no_shard(tmp_path: Path) -> None:
    rows_of(packed(tmp_path / "a.tar", [(f"a.{i}", b"") for i in range(64)]))
    with pytest.raises(TarError, match=r"offset 32768: '64' is extension 65 after 0, 1, .*WebDataset layout"):
        rows_of(packed(tmp_path / "b.tar", [(f"a.{i}", b"") for i in range(65)]))


def test_the_index_lies_beside_the_shard_and_is_a_plain_npy_file(tmp_path: Path) -> None:
    path = packed(tmp_path / "train-000000.tar", samples(5))
    rows = rows_of(path)
    assert index_path(path) == tmp_path / "train-000000.index.npy"
    assert sorted(os.listdir(tmp_path)) == ["train-000000.index.npy", "train-000000.tar"]
    for loaded in (np.load(index_path(path)), np.load(index_path(path), mmap_mode="r", allow_pickle=False)):
        assert loaded.dtype == rows.dtype
        assert loaded.tolist() == rows.tolist()
        del loaded


def test_a_stored_index_is_used_and_is_what_was_built(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    shards = [
        packed(tmp_path / "some.tar", samples(5)),
        packed(tmp_path / "none.tar", []),
        packed(tmp_path / "odd.tar", [("a.ü", b"x"), ("a.狗 .jpg", b"y"), ("a.\udce9", b"z"), ("a.key", b"k")]),
    ]
    built = [rows_of(path) for path in shards]
    request.getfixturevalue("no_building")
    for path, rows in zip(shards, built, strict=True):
        loaded = rows_of(path)
        assert loaded.dtype == rows.dtype
        assert loaded.tolist() == rows.tolist()
        assert not loaded.flags.writeable
        assert index_count(path) == len(rows)


@pytest.mark.parametrize("failures", [1, 100])
def test_pythons_parser_may_fail_among_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    path = packed(tmp_path / "some.tar", samples(5))
    expected = rows_of(path).tolist()
    index._memory.clear()
    read, calls = np.lib.format.read_array, []

    def fail_at_first(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) <= failures:
            raise SystemError("AST constructor recursion depth mismatch (before=66, after=63)")
        return read(*args, **kwargs)

    monkeypatch.setattr(np.lib.format, "read_array", fail_at_first)
    assert rows_of(path).tolist() == expected
    assert len(calls) == (2 if failures == 1 else 3)  # else tried thrice, and built


@pytest.mark.parametrize("same", ["size", "time"])
def test_a_shard_that_changed_is_indexed_again(tmp_path: Path, same: str) -> None:
    path = packed(tmp_path / "a.tar", samples(3))
    assert index_count(path) == 3
    before = path.stat()
    packed(path, samples(2) if same == "size" else samples(12, 5000))
    time = before.st_mtime_ns + (10**9 if same == "size" else 0)
    os.utime(path, ns=(time, time))
    assert (path.stat().st_size == before.st_size) == (same == "size")
    count = 2 if same == "size" else 12
    assert index_count(path) == count
    assert len(rows_of(path)) == count


def lies(good: bytes, of_another: bytes) -> Iterator[bytes]:
    """Indexes that are not the shard's: cut, swapped, damaged, or of nothing."""
    yield from (b"", b"\x93NUMPY", good[:-1], good + b"\0", good[:100], of_another, b"x" * 5000)
    yield good[:-60] + of_another[-60:]
    yield good.replace(b"'<i8'", b"'<08'")  # which Python's parser refuses by a SyntaxError
    for at in range(0, len(good), 7):
        yield good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :]


def test_a_lying_index_is_ignored_and_made_again(tmp_path: Path) -> None:
    path, other = packed(tmp_path / "a.tar", samples(3)), packed(tmp_path / "b.tar", samples(2))
    rows, _ = rows_of(path).tolist(), rows_of(other)
    good = index_path(path).read_bytes()
    for lie in lies(good, index_path(other).read_bytes()):
        index_path(path).write_bytes(lie)
        index._memory.clear()
        assert index_count(path) == 3
        index_path(path).write_bytes(lie)
        assert rows_of(path).tolist() == rows
        assert index_path(path).read_bytes() == good


@pytest.mark.parametrize(
    ("field", "far"),
    [(field, far) for field in ("offset", "size", "start") for far in (1 << 40, (1 << 63) - 100, -5)]
    + [("offset", 100)],
)
def test_an_index_that_points_out_of_the_shard_is_ignored(tmp_path: Path, field: str, far: int) -> None:
    path = packed(tmp_path / "a.tar", samples(3))
    rows = rows_of(path)
    lie = rows.copy()
    (lie if field == "start" else lie[".jpg"])[field][1] = far
    index.store(os.fspath(path), path.stat(), lie)
    assert rows_of(path).tolist() == rows.tolist()


@given(st.data())
def test_no_index_file_makes_loading_raise(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = packed(tmp_path_factory.getbasetemp() / "fuzz.tar", samples(2))
    rows = rows_of(path).tolist()
    good = index_path(path).read_bytes()
    shape = data.draw(st.sampled_from(["(2,)", "(-2,)", "()", "(2, 1)", "(1 << 70,)", "(9" + "9" * 25 + ",)", "None"]))
    descr = data.draw(st.sampled_from(["'<i8'", "'|O'", "[('key', '<u8')]", "[('key', '<u8'), ('key', '<u8')]", "{}"]))
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    index_path(path).write_bytes(good[:8] + len(text).to_bytes(4, "little") + text + good[-200:])
    assert rows_of(path).tolist() == rows


@contextmanager
def unprivileged() -> Iterator[None]:
    """For a while without root's right to write everywhere."""
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


def test_where_the_directory_is_read_only_the_index_is_built_once_and_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)  # directories above may be closed to others than root
    packed(Path("a.tar"), samples(4))
    tmp_path.chmod(0o555)
    try:
        with unprivileged():
            assert index_count("a.tar") == 4
            request.getfixturevalue("no_building")
            assert len(rows_again(Path("a.tar"))) == 4
    finally:
        tmp_path.chmod(0o755)
    assert os.listdir() == ["a.tar"]


def test_a_process_takes_an_index_from_its_file_once(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", samples(4))
    assert rows_again(path) is rows_again(path)
    packed(path, samples(12, 5000))
    assert len(rows_again(path)) == 12


def test_reading_does_not_depend_on_storing_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "a.tar", samples(4))

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert len(rows_of(path)) == 4
    assert os.listdir(tmp_path) == ["a.tar"]
    with pytest.raises(OSError, match="No space left"):
        index.store_index(path)
    assert os.listdir(tmp_path) == ["a.tar"]


def test_a_disk_that_fails_while_a_shard_is_indexed_is_named_by_the_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "a.tar", samples(4))

    def failing(fd: int, size: int, offset: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(OSError, match=r"Input/output error, while it was indexed: '.*a\.tar'"):
        index_count(path)


@pytest.mark.parametrize("symbolic", [False, True])
def test_a_linked_image_is_an_error_and_not_a_lost_sample(tmp_path: Path, symbolic: bool) -> None:
    (tmp_path / "a.jpg").write_bytes(b"image")
    if symbolic:
        (tmp_path / "b.jpg").symlink_to("a.jpg")
    else:
        (tmp_path / "b.jpg").hardlink_to(tmp_path / "a.jpg")
    subprocess.run(["tar", "-cf", "linked.tar", "a.jpg", "b.jpg"], cwd=tmp_path, check=True)
    with pytest.raises(TarError, match=r"linked\.tar, offset 1024: 'b\.jpg' is a link.*--hard-dereference"):
        index_count(tmp_path / "linked.tar")
    dereferenced = ["tar", "--dereference", "--hard-dereference", "-cf", "whole.tar", "a.jpg", "b.jpg"]
    subprocess.run(dereferenced, cwd=tmp_path, check=True)
    assert index_count(tmp_path / "whole.tar") == 2


def test_a_shard_that_is_only_looked_at_gets_no_index(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", samples(4))
    assert len(Shard(path, keep_index=False)) == 4
    assert os.listdir(tmp_path) == ["a.tar"]


def test_an_index_whose_seal_is_damaged_is_built_again_and_counts_as_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with ShardWriter(path) as writer:
        writer.write("a", {"bin": b"1"})
    whole, summary = index_path(path).read_bytes(), index_summary(path)
    sealed = Shard(path).rows
    hashed = whole.index(sealed["hash"].tobytes())
    index_path(path).write_bytes(whole[:hashed] + bytes([whole[hashed] ^ 1]) + whole[hashed + 1 :])
    with path.open("rb") as file:
        assert load(file.fileno(), str(path)) is None
        built = index.build(file.fileno(), str(path))
    assert np.array_equal(built, plain(sealed))
    assert index_summary(path) == summary == (1, crc_of(built)) == (1, crc_of(sealed))
