"""Parts of a run, packed anywhere and in any order, make the dataset of one run."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.errors import PackError
from fastdata.packing.engines import Processes
from fastdata.packing.lock import alone, together
from fastdata.packing.origins.source import Source
from fastdata.packing.pack import pack_by
from fastdata.packing.parts import Part, PartDone, commit, pack_part, parse_part
from fastdata.packing.plan import SamplesPerShard, ShardCount
from fastdata.packing.publish import STAGING
from fastdata.packing.recipe import Recipe
from fastdata.packing.task import write_task
from fastdata.sources.folder import scan_classes
from support.packed import copy_of, files_of, losing_a_file_after, table_of, table_of_another_run
from support.processes import PYTHONPATH

SPLIT = {"train": Fraction(2, 3), "val": Fraction(1, 3)}
RECIPE = Recipe(SPLIT, SamplesPerShard(3), shuffle=True, seed=7)
HERE = Processes(1)


@pytest.fixture(scope="module")
def expected(source: Source, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an undisturbed run makes."""
    directory = tmp_path_factory.mktemp("expected")
    pack_by(source, directory, RECIPE, HERE)
    return files_of(directory)


@given(st.integers(1, 200), st.integers(1, 70))
def test_each_shard_is_of_one_part(shards: int, count: int) -> None:
    numbers = [number for index in range(count) for number in Part(index, count).of(shards)]
    assert sorted(numbers) == list(range(shards))


@pytest.mark.parametrize("text", ["3", "64/64", "-1/4", "1/0", "a/b", "1/2/3", "٣/64", ""])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="part"):
        parse_part(text)
    assert parse_part(" 3/64 ") == Part(3, 64)


def test_parts_in_any_order_and_again_are_one_run(source: Source, expected: dict[str, bytes], tmp_path: Path) -> None:
    done = [pack_part(source, tmp_path, RECIPE, Part(index, 3), HERE) for index in (2, 0, 2, 1)]
    first, second, third = (Part(index, 3) for index in range(3))
    assert done == [
        PartDone(third, 2, 2, 8),
        PartDone(first, 3, 3, 8),
        PartDone(third, 2, 0, 8),
        PartDone(second, 3, 3, 8),
    ]
    assert [path.name for path in tmp_path.iterdir()] == [STAGING]
    made = commit(source, tmp_path, RECIPE)
    assert [manifest.name for manifest in made] == ["train", "val"]
    assert files_of(tmp_path) == expected


PACK_PART = """
import sys
from fractions import Fraction
from fastdata.packing.engines import Processes
from fastdata.packing.parts import parse_part, pack_part
from fastdata.packing.plan import SamplesPerShard
from fastdata.packing.recipe import Recipe
from fastdata.packing.origins.source import Source
from fastdata.sources.folder import scan_classes

split = {"train": Fraction(2, 3), "val": Fraction(1, 3)}
recipe = Recipe(split, SamplesPerShard(3), shuffle=True, seed=7)
pack_part(Source(scan_classes(sys.argv[1])), sys.argv[2], recipe, parse_part(sys.argv[3]), Processes(1))
"""


def test_parts_are_packed_at_the_same_time(
    odd_folder: Path, source: Source, expected: dict[str, bytes], tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}

    def run(part: str) -> str:
        command = [sys.executable, "-P", "-c", PACK_PART, *map(str, (odd_folder, tmp_path, part))]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment).stderr

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(run, ["0/3", "1/3", "2/3", "1/3"])) == {""}
    commit(source, tmp_path, RECIPE)
    assert files_of(tmp_path) == expected


def test_a_commit_names_the_parts_that_are_missing(source: Source, expected: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(PackError, match="there is nothing to commit"):
        commit(source, tmp_path, RECIPE)
    for index in (0, 2):
        pack_part(source, tmp_path, RECIPE, Part(index, 4), HERE)
    (tmp_path / STAGING / "train-000002.tar").unlink()
    with pytest.raises(PackError, match=r"5 of 8 shards are not there: pack --part 1/4, --part 2/4, --part 3/4, with"):
        commit(source, tmp_path, RECIPE)
    for index in (1, 2, 3):
        pack_part(source, tmp_path, RECIPE, Part(index, 4), HERE)
    commit(source, tmp_path, RECIPE)
    assert files_of(tmp_path) == expected


def test_parts_of_different_counts_fit_together_all_the_same(
    source: Source, expected: dict[str, bytes], tmp_path: Path
) -> None:
    for part in (Part(0, 2), Part(1, 4)):
        pack_part(source, tmp_path, RECIPE, part, HERE)
    with pytest.raises(PackError, match=r"2 of 8 shards are not there: pack the parts of train-000003\.tar, val-00"):
        commit(source, tmp_path, RECIPE)
    pack_part(source, tmp_path, RECIPE, Part(3, 4), HERE)
    commit(source, tmp_path, RECIPE)
    assert files_of(tmp_path) == expected


def test_parts_of_other_options_or_files_are_not_committed(odd_folder: Path, tmp_path: Path) -> None:
    folder, out = copy_of(odd_folder, tmp_path / "source"), tmp_path / "out"
    source, recipe = Source(scan_classes(folder)), Recipe(division=ShardCount(2))
    pack_part(source, out, recipe, Part(0, 2), HERE)
    pack_part(source, out, Recipe(division=ShardCount(2), shuffle=True), Part(1, 2), HERE)
    problem = "1 of 2 shards are not there, 1 of them since they were made of other files or options: pack --part 1/2"
    with pytest.raises(PackError, match=problem):
        commit(source, out, recipe)
    pack_part(source, out, recipe, Part(1, 2), HERE)
    os.utime(folder / "ant/1.jpg", ns=(1, 1))
    with pytest.raises(PackError, match="pack --part 0/2"):
        commit(source, out, recipe)


def test_an_ordinary_run_takes_what_parts_have_finished(
    source: Source, expected: dict[str, bytes], tmp_path: Path
) -> None:
    pack_part(source, tmp_path, RECIPE, Part(0, 2), HERE)
    progress: list[tuple[int, int]] = []
    pack_by(source, tmp_path, RECIPE, HERE, progress=lambda *by: progress.append(by))
    assert progress[0][0] == 12
    assert files_of(tmp_path) == expected


def test_a_task_of_an_earlier_run_in_parts_writes_nothing_into_the_next_ones(
    source: Source, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """As one of a cluster that has lost sight of a worker; a task of the same run, in another part, may come late."""
    former, same = table_of_another_run(source, tmp_path), table_of(source, tmp_path, RECIPE)
    for index in range(2):
        pack_part(source, tmp_path, RECIPE, Part(index, 2), HERE)
        with pytest.raises(PackError, match=r"\.plan can't be opened"):
            write_task(former, 0, lambda files, size: None)
        write_task(same, 1, lambda files, size: None)
    commit(source, tmp_path, RECIPE)
    assert files_of(tmp_path) == expected


def test_a_part_that_fails_keeps_what_it_has_finished(odd_folder: Path, tmp_path: Path) -> None:
    folder, out = copy_of(odd_folder, tmp_path / "source"), tmp_path / "out"
    source, recipe = Source(scan_classes(folder)), Recipe(division=ShardCount(6))
    lost = folder / "cow/05.jpg"
    with pytest.raises(PackError, match=r"cow/05\.jpg can't be read"):
        pack_part(source, out, recipe, Part(0, 1), HERE, progress=losing_a_file_after(8, lost))
    assert sorted(path.name for path in (out / STAGING).glob("*.done")) == [f"train-00000{i}.done" for i in range(3)]
    assert not list((out / STAGING).glob(".*"))


def test_a_part_and_a_run_or_a_commit_keep_out_of_each_others_way(source: Source, tmp_path: Path) -> None:
    tmp_path.joinpath("out").mkdir()
    out = tmp_path / "out"
    with together(out):
        with pytest.raises(PackError, match="another process is packing into"):
            pack_by(source, out, RECIPE, HERE)
        with pytest.raises(PackError, match="another process is packing into"):
            commit(source, out, RECIPE)
        pack_part(source, out, RECIPE, Part(0, 2), HERE)
    with alone(out), pytest.raises(PackError, match="another process is packing into"):
        pack_part(source, out, RECIPE, Part(1, 2), HERE)
    assert [path.name for path in out.iterdir()] == [STAGING]


def test_a_part_does_not_begin_where_a_dataset_is_or_is_being_put_in_place(source: Source, tmp_path: Path) -> None:
    pack_by(source, tmp_path, RECIPE, HERE)
    with pytest.raises(FileExistsError, match="--overwrite"):
        pack_part(source, tmp_path, RECIPE, Part(0, 2), HERE)
    for index in range(2):
        pack_part(source, tmp_path, RECIPE, Part(index, 2), HERE, overwrite=True)
    with pytest.raises(FileExistsError, match="--overwrite"):
        commit(source, tmp_path, RECIPE)
    shutil.copytree(tmp_path / STAGING, tmp_path / ".fastdata-ready")
    with pytest.raises(PackError, match=r"commit it \(--commit\), then go on"):
        pack_part(source, tmp_path, RECIPE, Part(0, 2), HERE, overwrite=True)
    shutil.rmtree(tmp_path / ".fastdata-ready")
    commit(source, tmp_path, RECIPE, overwrite=True)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
