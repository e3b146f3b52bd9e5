"""The table of what is packed is the same in memory and in its file."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fastdata.errors import PackError
from fastdata.packing import table_file
from fastdata.packing.convert import Encode
from fastdata.packing.journal import fingerprint
from fastdata.packing.origins.beside import with_fields
from fastdata.packing.origins.labels import Labels, with_labels
from fastdata.packing.origins.source import Source
from fastdata.packing.plan import SamplesPerShard, ShardCount
from fastdata.packing.planning import make_table
from fastdata.packing.recipe import Recipe
from fastdata.packing.table_file import open_table, store_table
from fastdata.sources.folder import scan_classes, scan_pattern


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Seven images, captions beside some, and a table of scores."""
    root = tmp_path / "source \udcff"
    root.mkdir()
    for i in range(7):
        (root / f"ü{i}.jpg").write_bytes(bytes(i + 1))
    for i in (1, 4):
        (root / f"ü{i}.txt").write_bytes(b"caption")
    (tmp_path / "labels.csv").write_text("file,label,score\n" + "".join(f"ü{i},{i % 3},{i}\n" for i in range(6)))
    with_captions = with_fields(scan_pattern(root), ["txt"], "allow")
    return with_labels(with_captions, Labels(tmp_path / "labels.csv", fields=["score"]), "allow")


def test_the_file_has_all_that_shards_are_made_of(source: Source, tmp_path: Path) -> None:
    split = {"a": Fraction(4, 7), "b": Fraction(3, 7)}
    recipe = Recipe(split, SamplesPerShard(2), shuffle=True, seed=3, jpeg=Encode(64), check=False, on_error="skip")
    table = make_table(source, tmp_path, recipe)
    read = open_table(str(store_table(table)))
    assert read.paths == table.paths
    assert [path.name for path in read.paths] == [f"{name}-00000{i}.tar" for name in "ab" for i in (0, 1)]
    for number in range(table.num_shards):
        one, other = table.shard(number), read.shard(number)
        assert fingerprint(one) == fingerprint(other)
        assert list(one.files) == list(other.files)
        assert list(one.keys) == list(other.keys)
        assert list(one.columns) == list(other.columns)
        assert [list(field.files) for field in one.fields] == [list(field.files) for field in other.fields]
        assert (other.conversion, other.check, other.skip) == (Encode(64), False, True)
        np.testing.assert_array_equal(one.times, other.times)


def test_the_same_table_has_the_same_file_and_another_has_another(source: Source, tmp_path: Path) -> None:
    first = store_table(make_table(source, tmp_path, Recipe(division=ShardCount(2))))
    assert store_table(make_table(source, tmp_path, Recipe(division=ShardCount(2)))) == first
    assert store_table(make_table(source, tmp_path, Recipe(division=ShardCount(3)))) != first


def test_a_shard_takes_no_more_of_the_table_than_its_rows(odd_folder: Path, tmp_path: Path) -> None:
    table = open_table(str(store_table(make_table(Source(scan_classes(odd_folder)), tmp_path, Recipe()))))
    assert np.shares_memory(table.shard(0).files.joined, table.files.joined)


def test_who_does_not_see_the_file_is_told_what_to_mount(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"nowhere\.plan can't be opened .*the folder must be that of the run's start"):
        open_table(str(tmp_path / "nowhere.plan"))


def test_another_version_is_refused(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(table_file, "__version__", "0.0.0")
        path = store_table(make_table(source, tmp_path, Recipe()))
    with pytest.raises(PackError, match=r"is of fastdata 0\.0\.0, and here is .*: install the same everywhere"):
        open_table(str(path))
