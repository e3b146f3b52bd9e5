"""An index that is overwritten while it is in use, or of a shard that only looks the same: in size and in time."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from fastdata.errors import TarError
from fastdata.sources.shard import Shard
from fastdata.sources.tars import index
from fastdata.sources.tars.index import index_path
from support.processes import run_python
from support.tars import Files, packed, samples

COUNT = 40


def relabelled(path: Path, of: Files, times: os.stat_result) -> None:
    """The shard of these files in the place of another, of its size and with its times."""
    size = path.stat().st_size
    packed(path, of)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == size


def labelled(labels: list[int]) -> Files:
    return [
        part for n, label in enumerate(labels) for part in ((f"a/{n}.jpg", b"x" * 700), (f"a/{n}.cls", b"%d" % label))
    ]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """With its index."""
    path = packed(tmp_path / "a.tar", labelled([1] * COUNT))
    index.store_index(path)
    index._memory.clear()
    return path


def classes(path: Path) -> list[int]:
    shard = Shard(path)
    assert shard.rows["cls"].tolist() == [shard.cls(row) for row in range(len(shard))]
    return [shard.cls(row) for row in range(len(shard))]


@pytest.mark.parametrize(
    "change", ["path.write_bytes(b'')", "os.truncate(path, 200)", "shutil.copyfile(smaller, path)"]
)
def test_an_index_that_is_cut_short_while_it_is_used_ends_nothing(tmp_path: Path, change: str) -> None:
    many, few = (
        packed(tmp_path / "a.tar", labelled([n % 10 for n in range(2000)])),
        packed(tmp_path / "b.tar", samples(2, 10)),
    )
    program = f"""
import os, shutil, sys
from pathlib import Path
from fastdata.sources.tars.index import index_path, store_index
from fastdata.sources.shard import Shard
many, few = sys.argv[1:]
store_index(many), store_index(few)
shard = Shard(many)
assert len(shard) == 2000
path, smaller = index_path(many), index_path(few)
{change}
print(sum(shard.cls(row) for row in range(2000)), len(Shard(many)))
"""
    assert run_python(program, many, few) == f"{sum(n % 10 for n in range(2000))} 2000\n"


def test_other_labels_of_the_same_size_and_time_are_noticed_and_the_index_is_built_again(shard: Path) -> None:
    relabelled(shard, labelled([2] * COUNT), shard.stat())
    assert classes(shard) == [2] * COUNT
    index._memory.clear()
    assert np.load(index_path(shard))["cls"].tolist() == [2] * COUNT


@pytest.mark.parametrize("which", [0, COUNT - 1])
def test_another_label_of_the_first_or_the_last_sample_is_noticed(shard: Path, which: int) -> None:
    labels = [1] * COUNT
    labels[which] = 2
    relabelled(shard, labelled(labels), shard.stat())
    assert classes(shard) == labels


def test_other_keys_of_the_same_size_and_time_are_noticed(shard: Path) -> None:
    relabelled(shard, [(name.replace("a/", "b/"), data) for name, data in labelled([1] * COUNT)], shard.stat())
    assert Shard(shard).key(0) == "b/0"


def test_a_label_that_no_probe_has_seen_is_an_error_of_its_sample(shard: Path) -> None:
    labels = [1] * COUNT
    labels[2] = 3
    relabelled(shard, labelled(labels), shard.stat())
    ours = Shard(shard)
    assert ours.rows["cls"].tolist() == [1] * COUNT, "the index is believed: else this test is of nothing"
    assert ours.cls(1) == 1
    with pytest.raises(TarError, match=r"a\.tar, offset \d+: shard changed .*: its class is b'3' now, and was 1; "):
        ours.cls(2)


def test_a_process_that_knows_the_index_notices_a_change_by_ctime(shard: Path) -> None:
    assert classes(shard) == [1] * COUNT
    relabelled(shard, labelled([2] * COUNT), shard.stat())
    assert classes(shard) == [2] * COUNT


def test_a_copy_of_both_files_is_not_indexed_again(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copy").mkdir()
    for file in (shard, index_path(shard)):
        shutil.copy2(file, tmp_path / "copy" / file.name)
    monkeypatch.setattr(index, "build", lambda fd, path: pytest.fail(f"{path} was indexed again"))
    assert classes(tmp_path / "copy" / shard.name) == [1] * COUNT


@pytest.mark.parametrize("lie", ["no cls", "a long cls"])
def test_an_index_with_classes_and_nothing_to_hold_them_is_not_believed(tmp_path: Path, lie: str) -> None:
    path = packed(tmp_path / "a.tar", labelled([1] * 3) if lie == "a long cls" else [("a/0.jpg", b"x" * 700)])
    rows = Shard(path, keep_index=False).rows.copy()
    rows["cls"] = 1
    if lie == "a long cls":
        rows[".cls"]["size"] = 33
    index.store(os.fspath(path), path.stat(), rows)
    index._memory.clear()
    assert Shard(path).rows["cls"].tolist() == ([1] * 3 if lie == "a long cls" else [index.NO_CLASS])


def test_a_pipe_in_an_indexs_place_is_ignored(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", samples(3))
    os.mkfifo(index_path(path))
    assert len(Shard(path)) == 3


def test_a_process_keeps_so_many_bytes_of_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = [Shard(packed(tmp_path / f"{n}.tar", samples(10))) for n in range(9)]
    index._memory.clear()
    monkeypatch.setattr(index, "_remembered", 0)
    size = shards[0].rows.nbytes
    monkeypatch.setattr(index, "_REMEMBERED", 4 * size)
    for shard in shards:
        shard.close()
        assert len(shard) == 10
        assert sum(rows.nbytes for rows in index._memory.values()) <= 4 * size
    assert any(rows is shards[-1].rows for rows in index._memory.values())


def test_an_index_that_is_far_too_large_for_its_shard_is_not_read(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = classes(shard)
    rows = Shard(shard).rows
    with index_path(shard).open("wb") as file:
        header = {"descr": rows.dtype.descr, "fortran_order": False, "shape": (10**9,)}
        np.lib.format.write_array_header_2_0(file, header)
        file.truncate(rows.itemsize * 10**9)  # sparse: it takes no room on the disk, and all that there is in memory
    index._memory.clear()
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("was read"))
    assert classes(shard) == expected
