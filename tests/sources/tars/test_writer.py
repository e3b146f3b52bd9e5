"""Writing shards: whole or not at all, and nothing that would not be read back."""

import hashlib
import io
import os
import random
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_expander
from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

from fastdata.sources.shard import Shard
from fastdata.sources.tars import index
from fastdata.sources.tars.content_hash import Algorithm
from fastdata.sources.tars.index import index_count, index_path
from fastdata.sources.tars.stretch import Later
from fastdata.sources.tars.tar import members
from fastdata.sources.tars.writer import ShardWriter
from support.tars import Files, contents, open_shards, packed, tool


def write(path: Path, files: Files) -> Path:
    """The files as samples of one component each, by ShardWriter."""
    with ShardWriter(path) as writer:
        for name, content in files:
            key, _, extension = name.rpartition(".")
            writer.write(key, {extension: content})
    return path


def test_what_was_written_is_read_again_and_indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tar"
    with ShardWriter(path) as writer:
        writer.write("cats/1", {"jpg": b"cat", "cls": b"0"})
        assert (writer.samples, writer.size) == (1, 2048)
        writer.write("dogs.old/1", {"seg.png": b"mask", "jpg": b"", "cls": b"1"})
        assert not path.exists()
    assert (writer.samples, writer.size) == (2, path.stat().st_size)
    assert sorted(os.listdir(tmp_path)) == ["a.index.npy", "a.tar"]
    monkeypatch.delattr(index, "build")
    shard = Shard(path)
    assert index_count(path) == 2
    assert [shard.cls(row) for row in (0, 1)] == [0, 1]
    assert [shard.key(row) for row in (0, 1)] == ["cats/1", "dogs.old/1"]
    assert [member.name for member in members(path)][2:] == [f"dogs.old/1.{part}" for part in ("seg.png", "jpg", "cls")]
    assert shard.read(1, "seg.png") == b"mask"


FILES = [("a/1.jpg", b"x" * 700), ("é/2.jpg", b"y"), ("caf\udce9/3.jpg", b"z"), ("l" * 300 + ".jpg", b"")]


def test_the_same_samples_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "first.tar", FILES).read_bytes()
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert write(tmp_path / "second.tar", FILES).read_bytes() == first
    digest = hashlib.sha256(first).hexdigest()
    assert digest == "c4bbc70856214ca389547346ae4a8d28b13eb0cb66113aa96510ec00b97f2272", (
        "shards written by earlier versions would differ"
    )


@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_characters="\0./"), min_size=1), st.binary(max_size=600)),
        unique_by=lambda file: file[0],
        max_size=4,
    )
)
def test_any_key_is_refused_or_comes_back(tmp_path_factory: pytest.TempPathFactory, files: Files) -> None:
    path = tmp_path_factory.getbasetemp() / "keys.tar"
    written = []
    with ShardWriter(path) as writer:
        for key, content in files:
            try:
                writer.write(f"dir/{key}", {"bin": content})
            except UnicodeEncodeError:
                continue
            written.append((f"dir/{key}.bin", content))
    assert contents(Shard(path)) == written


@pytest.mark.parametrize(
    ("key", "components", "problem"),
    [
        ("a/1", {"jpg": b""}, "'a/1' is already in the shard"),
        ("", {"jpg": b""}, "a plain relative path"),
        ("/a", {"jpg": b""}, "a plain relative path"),
        ("a/", {"jpg": b""}, "a plain relative path"),
        ("a//b", {"jpg": b""}, "a plain relative path"),
        ("../a", {"jpg": b""}, "a plain relative path"),
        ("./a", {"jpg": b""}, "a plain relative path"),
        ("a\0b", {"jpg": b""}, "a plain relative path"),
        ("b", {}, "needs components"),
        ("b.c", {"jpg": b""}, "'b.c.jpg' would not be read back as 'b.c'"),
        (".b", {"jpg": b""}, "would not be read back"),
        ("__meta__/b", {"jpg": b""}, "would not be read back"),
        ("b", {"JPG": b""}, "extensions in lower case"),
        ("b", {"jpg": b"", "": b""}, "would not be read back"),
        ("b", {"a/b": b""}, "would not be read back"),
        ("b", {"a\0": b""}, "would not be read back"),
        ("\ud800", {"jpg": b""}, "surrogates"),
    ],
)
def test_a_sample_that_would_not_be_read_back_is_refused_and_the_rest_is_written(
    tmp_path: Path, key: str, components: dict[str, bytes], problem: str
) -> None:
    with ShardWriter(tmp_path / "a.tar") as writer:
        writer.write("a/1", {"jpg": b"x"})
        with pytest.raises(ValueError, match=problem):
            writer.write(key, components)
        writer.write("a/2", {"jpg": b"y"})
    assert contents(Shard(tmp_path / "a.tar")) == [("a/1.jpg", b"x"), ("a/2.jpg", b"y")]


def large_files() -> Files:
    """Files around the sizes of blocks, pages and of what is written at once, with plain and with long names."""
    sizes = [0, 1, 511, 512, 513, 4096, 700_000, 3_000_000, 1 << 20, 5, 100_000]
    names = [f"{'long' * 30 if number % 3 == 2 else 'dir'}/{number}.bin" for number in range(len(sizes))]
    return [(name, random.Random(size).randbytes(size)) for name, size in zip(names, sizes, strict=True)]


def test_a_shard_has_the_bytes_that_tarfile_writes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", large_files())
    with tarfile.open(tmp_path / "b.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in large_files():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert path.read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_rows_say_where_samples_end_and_have_their_hashes(tmp_path: Path) -> None:
    data = (path := write(tmp_path / "a.tar", large_files())).read_bytes()
    rows = Shard(path).rows
    assert rows["start"].tolist() == [0, *rows["end"].tolist()[:-1]]
    assert not any(data[rows["end"][-1] :])
    for start, end, hashed in zip(rows["start"].tolist(), rows["end"].tolist(), rows["hash"].tolist(), strict=True):
        assert xxh3_64_intdigest(data[start:end]) == hashed


@pytest.mark.parametrize("algorithm", ["xxh3_128", "sha256"])
def test_the_hash_is_that_of_the_whole_file(tmp_path: Path, algorithm: Algorithm) -> None:
    with ShardWriter(tmp_path / "a.tar", algorithm) as writer:
        writer.write("a", {"bin": bytes(2_000_000)})
    data = (tmp_path / "a.tar").read_bytes()
    expected = {"xxh3_128": xxh3_128_hexdigest(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert writer.hash == f"{algorithm}:{expected[algorithm]}"


def test_a_component_that_does_not_come_leaves_no_trace(tmp_path: Path) -> None:
    def fails(place: memoryview) -> None:
        place[:] = b"x" * len(place)
        raise FileNotFoundError("gone")

    def comes(place: memoryview) -> None:
        place[:] = b"here"

    with ShardWriter(tmp_path / "a.tar") as writer:
        writer.write("a", {"bin": b"1"})
        with pytest.raises(FileNotFoundError, match="gone"):
            writer.write("b" * 200, {"cls": b"5", "bin": Later(5000, fails)})
        writer.write("c", {"bin": Later(4, comes)})
    assert contents(Shard(tmp_path / "a.tar")) == [("a.bin", b"1"), ("c.bin", b"here")]
    assert (tmp_path / "a.tar").read_bytes() == write(
        tmp_path / "b.tar", [("a.bin", b"1"), ("c.bin", b"here")]
    ).read_bytes()


@pytest.mark.parametrize("existing", [True, False])
def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path, existing: bool) -> None:
    path = tmp_path / "a.tar"
    if existing:
        write(path, FILES[:1])
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    with pytest.raises(ValueError, match="already in the shard"):
        write(path, [("b.jpg", b"x"), ("b.jpg", b"y")])
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


def test_a_shard_that_cannot_be_finished_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "a.tar", FILES)
    assert os.listdir(tmp_path) == []
    assert open_shards(tmp_path) == 0


def test_a_shard_in_place_of_another_is_read_by_its_own_index(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", FILES)
    assert contents(Shard(write(path, FILES[1:]))) == FILES[1:]
    assert index_path(path).exists()


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    path, plain = write(tmp_path / "a.tar", FILES), packed(tmp_path / "plain", [])
    assert path.stat().st_mode == index_path(path).stat().st_mode == plain.stat().st_mode


def test_gnu_tar_lists_and_extracts_what_we_write(tmp_path: Path) -> None:
    files = [(name.replace("\udce9", "é"), content) for name, content in FILES if len(name) < 250]
    tar, path, out = tool("tar"), write(tmp_path / "a.tar", files), tmp_path / "out"
    out.mkdir()
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    listed = subprocess.run([tar, "-tf", path], check=True, env=environment, capture_output=True, text=True)
    assert (listed.stdout.splitlines(), listed.stderr) == ([name for name, _ in files], "")
    subprocess.run([tar, "-C", out, "-xf", path], check=True, env=environment)
    assert [(name, (out / name).read_bytes()) for name, _ in files] == files


def test_webdataset_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with ShardWriter(path) as writer:
        writer.write("cats.old/é1", {"jpg": b"cat", "seg.png": b"mask", "cls": b"0"})
        writer.write("l" * 200, {"jpg": b"long", "cls": b"1"})
    with path.open("rb") as stream:
        first, second = group_by_keys(tar_file_expander([{"url": "a.tar", "stream": stream}]))
    assert first == {"__key__": "cats.old/é1", "__url__": "a.tar", "jpg": b"cat", "seg.png": b"mask", "cls": b"0"}
    assert second == {"__key__": "l" * 200, "__url__": "a.tar", "jpg": b"long", "cls": b"1"}
