"""The index of a dataset: the rows of its shards in one file, read where they are asked for, bound by hashes."""

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from xxhash import xxh3_64_digest, xxh3_64_hexdigest

from fastdata.errors import ManifestError
from fastdata.sources.dataset_index import DatasetIndex, read_each
from fastdata.sources.tars import index_layout
from fastdata.sources.tars.index_layout import CHUNK, IndexEntry, Layout, read_layout
from fastdata.sources.tars.index_writer import widened, write_index
from fastdata.sources.tars.rows import ABSENT, NO_CLASS, Entry, Rows, dtype_of


def rows_of(count: int, extensions: list[str], seed: int = 0) -> Rows:
    """Sealed rows of random numbers."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, dtype_of(extensions, sealed=True))
    for name in ("key", "start", "cls", "end", "hash"):
        rows[name] = rng.integers(0, 1 << 40, count)
    for extension in extensions:
        rows["." + extension]["offset"] = rng.integers(512, 1 << 40, count)
        rows["." + extension]["size"] = rng.integers(0, 1 << 20, count)
    return rows


def written(path: Path, *shards: Rows) -> DatasetIndex:
    return DatasetIndex(str(path), write_index(path, len(shards), shards.__getitem__))


@pytest.fixture
def large(tmp_path: Path) -> DatasetIndex:
    """Of several chunks, whose borders lie within rows."""
    return written(tmp_path / "train.index.npy", rows_of(20_000, ["jpg", "cls"]), rows_of(30_001, ["jpg", "cls"], 1))


def test_it_has_the_rows_of_all_shards_in_their_order_with_the_fields_of_all(tmp_path: Path) -> None:
    shards = rows_of(3, ["jpg", "cls"]), rows_of(0, []), rows_of(2, ["cls", "a.ü'\udce9"], 1)
    index = written(tmp_path / "train.index.npy", *shards)
    assert index.extensions == ("jpg", "cls", "a.ü'\udce9")
    expected = np.concatenate([widened(rows, index.extensions) for rows in shards])
    assert index.rows(0, 5).tolist() == expected.tolist()
    assert index.entries(np.array([4, 0, 4])) == [expected.tolist()[row] for row in (4, 0, 4)]
    assert expected[".jpg"]["offset"].tolist()[3:] == [ABSENT, ABSENT]
    assert index.column("key", 1, 5).tolist() == expected["key"].tolist()[1:]
    assert os.listdir(tmp_path) == ["train.index.npy"]


def test_it_is_a_plain_npy_file_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    shards = rows_of(3, ["jpg", "cls"]), rows_of(2, ["jpg", "cls"], 1)
    written(tmp_path / "a.index.npy", *shards)
    written(tmp_path / "b.index.npy", *shards)
    loaded = np.load(tmp_path / "a.index.npy", allow_pickle=False)
    assert loaded.dtype == dtype_of(["jpg", "cls"], sealed=True)
    assert loaded.tolist() == np.concatenate(shards).tolist()
    assert (tmp_path / "a.index.npy").read_bytes() == (tmp_path / "b.index.npy").read_bytes()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> DatasetIndex:
    return written(tmp_path_factory.mktemp("many") / "many.index.npy", rows_of(50_001, ["jpg", "cls"]))


@given(numbers=st.lists(st.integers(0, 50_000), min_size=1, max_size=20))
def test_rows_are_those_of_one_array_wherever_chunks_end(many: DatasetIndex, numbers: list[int]) -> None:
    assert CHUNK % many.dtype.itemsize  # so that rows lie in two of them
    rows = np.load(many.path)
    assert many.entries(np.array(numbers)) == [rows[number].item() for number in numbers]


def test_each_chunk_is_compared_with_its_hash_when_a_row_in_it_is_first_read(large: DatasetIndex) -> None:
    at = CHUNK * 2 + 100_000
    with open(large.path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    again = DatasetIndex(large.path, large.entry)
    size = again.dtype.itemsize
    bad, good = CHUNK * 5 // 2 // size, 0
    assert len(again.entries(np.array([good]))) == 1
    for _ in range(2):
        with pytest.raises(OSError, match=r"damaged index: .*train\.index\.npy") as raised:
            again.entries(np.array([good, bad]))
        assert raised.value.errno == 5
    with pytest.raises(OSError, match="damaged index"):
        again.rows(0, len(again))
    assert len(again.damaged()) == 1


def test_what_lacks_or_is_damaged_is_fetched_and_kept(tmp_path: Path, large: DatasetIndex) -> None:
    whole = Path(large.path).read_bytes()
    layout = Layout(large.extensions, len(large))
    sparse = tmp_path / "sparse"
    sparse.write_bytes(layout.head + bytes(layout.size) + whole[layout.begin + layout.size :])
    asked: list[tuple[int, int]] = []

    def fetch(size: int, offset: int) -> bytes:
        asked.append((offset, size))
        return whole[offset : offset + size]

    index = DatasetIndex(str(sparse), large.entry, fetch)
    for _ in range(2):
        assert index.entries(np.array([40_000])) == large.entries(np.array([40_000]))
    assert asked == [layout.chunk(40_000 * index.dtype.itemsize // CHUNK)]
    other_process = DatasetIndex(str(sparse), large.entry)
    assert other_process.entries(np.array([40_000])) == large.entries(np.array([40_000]))
    with pytest.raises(OSError, match="damaged index"):
        other_process.entries(np.array([0]))
    wrong = DatasetIndex(str(sparse), large.entry, lambda size, offset: bytes(size))
    with pytest.raises(OSError, match="damaged index"):
        wrong.entries(np.array([0]))


def test_one_that_is_removed_and_made_anew_while_it_is_read_is_an_error(tmp_path: Path, large: DatasetIndex) -> None:
    whole = Path(large.path).read_bytes()
    layout = Layout(large.extensions, len(large))
    sparse = tmp_path / "sparse"

    def make() -> None:
        sparse.unlink(missing_ok=True)
        sparse.write_bytes(layout.head + bytes(layout.size) + whole[layout.begin + layout.size :])

    make()
    index = DatasetIndex(str(sparse), large.entry, lambda size, offset: whole[offset : offset + size])
    make()
    with pytest.raises(OSError, match="the index was removed while it was read"):
        index.entries(np.array([0]))


def test_of_several_that_lack_the_same_part_one_fetches_it(tmp_path: Path, large: DatasetIndex) -> None:
    content = Path(large.path).read_bytes()
    layout, _ = read_layout(lambda size, offset: content[offset : offset + size], large.entry)
    sparse = tmp_path / "sparse.npy"
    sparse.write_bytes(layout.head + bytes(layout.size) + content[layout.begin + layout.size :])
    fetched: list[int] = []
    together = threading.Barrier(8)

    def fetch(size: int, offset: int) -> bytes:
        fetched.append(offset)
        for _ in range(1000):
            os.sched_yield()
        return content[offset : offset + size]

    def read(_: int) -> list[Entry]:
        index = DatasetIndex(str(sparse), large.entry, fetch)
        together.wait()
        return index.entries(np.arange(0, len(index), 100))

    with ThreadPoolExecutor(8) as pool:
        assert all(rows == large.entries(np.arange(0, len(large), 100)) for rows in pool.map(read, range(8)))
    assert sorted(fetched) == [layout.chunk(number)[0] for number in range(layout.chunks)]


def test_a_copy_in_another_process_reads_on_its_own(large: DatasetIndex) -> None:
    copy = pickle.loads(pickle.dumps(large))
    assert copy.entries(np.array([7])) == large.entries(np.array([7]))
    assert copy._open().fd != large._open().fd


def test_a_file_that_is_cut_short_under_way_is_an_error_and_no_signal(large: DatasetIndex) -> None:
    large.rows(0, len(large))
    os.truncate(large.path, 1000)
    with pytest.raises(OSError, match="cut short"):
        large.entries(np.array([40_000]))


def test_whatever_byte_outside_of_the_rows_is_changed_it_is_not_taken_for_the_index(tmp_path: Path) -> None:
    index = written(tmp_path / "a.index.npy", rows_of(5, ["jpg", "cls"]))
    good = Path(index.path).read_bytes()
    layout = Layout(index.extensions, len(index))
    for at in range(layout.begin + layout.size, len(good)):
        Path(index.path).write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.raises(ManifestError, match=r"a\.index\.npy is not the index that the dataset's json means"):
            DatasetIndex(index.path, index.entry)
    for lie in (b"", good[:-1], good + b"\0", good[:100]):
        Path(index.path).write_bytes(lie)
        with pytest.raises(ManifestError, match=r"a\.index\.npy has .* bytes, and the dataset's json says"):
            DatasetIndex(index.path, index.entry)


def test_an_index_of_the_same_size_and_of_other_rows_is_not_the_one_that_the_json_means(tmp_path: Path) -> None:
    first, second = (written(tmp_path / f"{n}.index.npy", rows_of(5, ["jpg", "cls"], n)) for n in range(2))
    assert first.entry.size == second.entry.size
    with pytest.raises(ManifestError, match="not the index that the dataset's json means: its hashes"):
        DatasetIndex(first.path, second.entry)
    with pytest.raises(ManifestError, match="bytes, and the dataset's json says"):
        DatasetIndex(first.path, replace(first.entry, size=1))


@given(st.data())
def test_nothing_that_an_index_says_of_itself_makes_reading_raise_anything_else(data: st.DataObject) -> None:
    names = data.draw(st.sampled_from([b"", b"{}", b"[1]", b'[""]', b'["a", "a"]', b"[" * 5000, b"\xff", b'["jpg"]']))
    samples = data.draw(st.sampled_from([0, 1, -1, 1 << 62, 5]))
    rows = data.draw(st.sampled_from([0, 80, -80, 1 << 62, 400]))
    sizes = len(names), data.draw(st.sampled_from([0, 8, 16]))
    table = bytes(sizes[1])
    trailer = index_layout._TRAILER.pack(index_layout._MAGIC, samples, rows, sizes[0], xxh3_64_digest(table))
    content = bytes(data.draw(st.integers(0, 500))) + names + table + trailer + xxh3_64_digest(trailer)
    entry = IndexEntry(len(content), "xxh3_64:" + xxh3_64_hexdigest(table))
    with pytest.raises(ValueError, match=r"."):
        read_layout(lambda size, offset: content[max(offset, 0) : max(offset, 0) + max(size, 0)], entry)


def test_ranges_of_files_come_one_after_another(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    with open(tmp_path / "a", "rb") as file:
        assert read_each(np.array([[file.fileno(), 8, 2], [file.fileno(), 0, 3]])) == b"89012"


def test_rows_without_class_keep_that(tmp_path: Path) -> None:
    rows = rows_of(1, ["jpg"])
    rows["cls"] = NO_CLASS
    assert written(tmp_path / "a.index.npy", rows).column("cls", 0, 1).tolist() == [NO_CLASS]
