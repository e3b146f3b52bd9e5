"""Reading shards: any sample at any time, from any thread or process."""

import gc
import multiprocessing
import os
import pickle
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from fastdata.errors import TarError
from fastdata.sample import key_hash
from fastdata.sources.shard import Shard
from fastdata.sources.shard_cache import ShardCache
from fastdata.sources.tars.index import NO_CLASS
from support.spawned import first_of
from support.tars import FORMATS, archive, contents, data, header, open_shards, packed, pax, samples

NAMES = {
    "plain": samples(5),
    "long": [("l" * 99 + "/" + "n" * 120 + f"{i}.jpg", bytes([i]) * 600) for i in range(3)],
    "unicode": [("ünï/猫.jpg", b"cat"), ("ünï/猫.txt", b"a cat"), ("ünï/犬.jpg", b"dog")],
    "not utf-8": [("caf\udce9.jpg", b"x"), ("caf\udce9s.jpg", b"y")],
}


@pytest.mark.parametrize("format", ["gnu", "pax"])
@pytest.mark.parametrize("names", NAMES)
def test_each_component_and_key_is_read_as_it_was_written(tmp_path: Path, names: str, format: str) -> None:
    shard = Shard(packed(tmp_path / "a.tar", NAMES[names], FORMATS[format]))
    assert contents(shard) == NAMES[names]


@pytest.mark.parametrize("order", [1, -1])
def test_a_shard_with_a_time_for_each_member_is_read_as_well(tmp_path: Path, order: int) -> None:
    path = tmp_path / "a.tar"  # webdataset writes fractions of seconds, which takes a PAX header for each member
    with webdataset.TarWriter(str(path), mtime=1.5) as writer:
        for i in range(9)[::order]:
            writer.write({"__key__": f"{i}", "jpg": bytes([i]) * 600, "cls": i})
    shard = Shard(path)
    assert [shard.read_sample(row, "jpg") for row in range(9)] == [
        (f"{i}", bytes([i]) * 600) for i in range(9)[::order]
    ]
    assert [shard.cls(row) for row in range(9)] == [*range(9)[::order]]


def test_names_and_sizes_in_global_pax_headers_are_read(tmp_path: Path) -> None:
    path, record = tmp_path / "a.tar", b"9 size=3\n"
    names = [header(name) + data(b"abc") for name in (b"a.jpg", b"b.jpg")]
    path.write_bytes(header(b"g", len(record), b"g") + data(record) + b"".join(names) + bytes(1024))
    assert contents(Shard(path)) == [("a.jpg", b"abc"), ("b.jpg", b"abc")]


def test_what_a_sample_lacks_is_told(tmp_path: Path) -> None:
    shard = Shard(packed(tmp_path / "a.tar", [("a.jpg", b"x"), ("b.jpg", b"y"), ("b.cls", b"4")]))
    assert shard.extensions == ("jpg", "cls")
    assert [shard.has(row, "cls") for row in (0, 1)] == [False, True]
    assert [shard.cls(row) for row in (0, 1)] == [NO_CLASS, 4]
    assert not shard.has(0, "png")
    for extension in ("cls", "png"):
        with pytest.raises(
            TarError, match=rf"a\.tar, offset 0: sample 'a' has no component '{extension}' \(it has jpg\)"
        ):
            shard.read(0, extension)
    with pytest.raises(IndexError):
        shard.read(2, "jpg")


def test_a_shard_is_opened_when_it_is_needed_and_closed_with_its_last_user(tmp_path: Path) -> None:
    shard = Shard(packed(tmp_path / "a.tar", samples(2)))
    assert open_shards(tmp_path) == 0
    assert len(shard) == 2
    assert open_shards(tmp_path) == 1
    shard.close()
    assert open_shards(tmp_path) == 0
    assert shard.read(1, "cls") == b"1"
    del shard
    gc.collect()
    assert open_shards(tmp_path) == 0
    with pytest.raises(FileNotFoundError):
        len(Shard(tmp_path / "none.tar"))


def test_a_damaged_shard_is_an_error_and_no_index_of_it_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(archive(samples(2))[:3000])
    with pytest.raises(TarError, match=r"a\.tar, offset "):
        len(Shard(path))
    assert os.listdir(tmp_path) == ["a.tar"]
    assert open_shards(tmp_path) == 0


def other_key(content: bytes) -> bytes:
    return archive([(name.replace("a/", "b/"), part) for name, part in samples(4)])


def other_extension(content: bytes) -> bytes:
    return archive([(name.replace("jpg", "png"), part) for name, part in samples(4)])


def other_size(content: bytes) -> bytes:
    return archive([(name, part[:-1]) for name, part in samples(4)])


def other_order(content: bytes) -> bytes:
    return archive([samples(4)[at] for at in (6, 7, 4, 5, 2, 3, 0, 1)])


def shifted(content: bytes) -> bytes:
    return pax(b"x", comment="more") + content


def damaged_header(content: bytes) -> bytes:
    return content[:100] + b"1" + content[101:]


def zeros(content: bytes) -> bytes:
    return bytes(len(content))


def cut_in_a_header(content: bytes) -> bytes:
    return content[:200]


def cut_in_data(content: bytes) -> bytes:
    return content[:700]


@pytest.mark.parametrize(
    "change",
    [other_key, other_extension, other_size, other_order, shifted, damaged_header, zeros, cut_in_a_header, cut_in_data],
)
def test_a_shard_that_is_overwritten_while_it_is_read_is_an_error(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    path = packed(tmp_path / "a.tar", samples(4))
    shard = Shard(path)
    assert shard.read(0, "jpg") == samples(4)[0][1]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(TarError, match=r"a\.tar, offset 512: shard changed or damaged"):
        shard.read(0, "jpg")


def test_a_shard_that_is_replaced_by_another_file_is_read_on(tmp_path: Path) -> None:
    shard = Shard(packed(tmp_path / "a.tar", samples(4)))
    assert len(shard) == 4
    os.replace(packed(tmp_path / "new.tar", samples(2)), shard.path)
    assert contents(shard) == samples(4)
    shard.close()
    assert contents(shard) == samples(2)


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 9000))
def test_reading_a_mutated_shard_gives_a_sample_of_that_size_or_a_tar_error(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], cut: int
) -> None:
    files = [*samples(2, 10), ("é" * 80 + ".jpg", b"x" * 513)]
    path = packed(tmp_path_factory.getbasetemp() / "mutated.tar", files)
    shard = Shard(path)
    assert len(shard) == 3
    with path.open("r+b", buffering=0) as file:
        for at, value in edits:
            os.pwrite(file.fileno(), bytes([value]), at % path.stat().st_size)
        file.truncate(path.stat().st_size - cut)
    for row, size in enumerate([10, 11, 513]):
        try:
            key, content = shard.read_sample(row, "jpg")
        except TarError as error:
            assert "mutated.tar, offset" in str(error)  # noqa: PT017  # either outcome is right
        else:
            assert len(content) == size
            assert key_hash(key) == int(shard.rows["key"][row])


# threads and processes


def test_many_threads_read_a_shard_at_once_while_it_is_closed_and_opened(tmp_path: Path) -> None:
    files = samples(50, 3000)
    shard = Shard(packed(tmp_path / "a.tar", files))

    def read(seed: int) -> bool:
        rows = random.Random(seed).sample(range(50), 50)
        if seed % 3 == 0:
            shard.close()
        return all(shard.read_sample(row, "jpg") == (files[2 * row][0][:-4], files[2 * row][1]) for row in rows)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(48)))
    shard.close()
    assert open_shards(tmp_path) == 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forking beside threads, since Python 3.12
def test_a_shard_is_read_after_fork_and_spawn(tmp_path: Path, method: str, opened: bool) -> None:
    path = packed(tmp_path / "a.tar", samples(5))
    shard, cache = Shard(path), ShardCache([str(path)])
    if opened:
        assert len(shard) == len(cache[0]) == 5
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        assert list(pool.map(contents, [shard, cache[0], shard])) == [samples(5)] * 3
        assert pool.submit(first_of, cache).result() == samples(5)
    assert contents(shard) == samples(5)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_reads_by_the_descriptor_that_it_inherits(tmp_path: Path) -> None:
    shard = Shard(packed(tmp_path / "a.tar", samples(5)))
    assert len(shard) == 5
    os.unlink(shard.path)
    child = os.fork()
    if child == 0:
        os._exit(0 if contents(shard) == samples(5) else 1)
    assert contents(shard) == samples(5)
    assert os.waitpid(child, 0)[1] == 0


def test_a_pickled_shard_is_its_path() -> None:
    assert pickle.loads(pickle.dumps(Shard("a.tar"))).path == "a.tar"


def test_only_the_shards_used_last_stay_open(tmp_path: Path) -> None:
    paths = [str(packed(tmp_path / f"{i}.tar", [(f"{i}.cls", b"%d" % i)])) for i in range(9)]
    cache = ShardCache(paths, max_open=3)
    held = cache[0]
    assert [cache[i].cls(0) for i in range(9)] == [*range(9)]
    assert open_shards(tmp_path) == 4
    assert held.read(0, "cls") == b"0"
    assert cache[8] is cache[8]
    del held
    assert open_shards(tmp_path) == 3
    assert len(pickle.loads(pickle.dumps(cache))) == len(cache) == 9
    with pytest.raises(ValueError, match="at least 1, not 0"):
        ShardCache(paths, max_open=0)
