"""Images in Parquet columns are packed byte for byte, with the keys and classes that they have there."""

from pathlib import Path

import numpy as np
import pytest

from fastdata.datasets.parquet import ParquetImageDataset
from fastdata.datasets.store import TarImageMapDataset
from fastdata.errors import PackError
from fastdata.packing.origins.collect import collect
from fastdata.packing.origins.from_rows import collect_rows, parquet_files
from fastdata.packing.origins.labels import NO_LABELS
from fastdata.packing.plan import ShardCount
from fastdata.packing.recipe import Recipe
from fastdata.sources.shard import Shard
from fastdata.sources.stores.storage import storage_of
from fastdata.transforms.steps import CenterCrop, Resize
from support.http_server import Server
from support.memory_store import empty_memory
from support.packed import RECIPE, keys_of, packed
from support.parquets import Row, features, write_columns, write_parquet
from support.pictures import encoded, jpeg, photo

CLASSES = ["cat", "dog"]
VIEW = [Resize(32), CenterCrop(24)]


def rows(count: int = 10, named: bool = False) -> list[Row]:
    """JPEGs, PNGs and WebPs in turn."""
    kinds = ["JPEG", "PNG", "WEBP"]
    images = [encoded(photo(40, 30, i), kinds[i % 3]) if i % 3 else jpeg(40, 30, i) for i in range(count)]
    return [Row(data, i % 2, f"{CLASSES[i % 2]}/{i}.JPEG" if named else None) for i, data in enumerate(images)]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A split of a dataset in two files, as Hugging Face's datasets write it."""
    (tmp_path / "data").mkdir()
    for number, part in enumerate((rows()[:6], rows()[6:])):
        write_parquet(tmp_path / f"data/train-0000{number}-of-00002.parquet", part, metadata=features(label=CLASSES))
    return tmp_path / "data"


@pytest.mark.parametrize("recipe", [RECIPE, Recipe(division=ShardCount(3), shuffle=True)])
def test_packed_rows_are_the_samples_of_the_dataset(dataset: Path, tmp_path: Path, recipe: Recipe) -> None:
    source = collect_rows(parquet_files(str(dataset)))
    packed(source, tmp_path / "out", recipe, jobs=2)
    there = ParquetImageDataset(f"{dataset}/*.parquet", VIEW)
    here = TarImageMapDataset(f"{tmp_path}/out/train.json", VIEW)
    assert here.classes == there.classes == CLASSES
    numbers = {here.key(number): number for number in range(len(here))}
    assert sorted(numbers) == sorted(there.key(number) for number in range(len(there)))
    for number in range(len(there)):
        other = numbers[there.key(number)]
        assert here.read(other) == there.read(number)
        assert np.array_equal(here[other][0], there[number][0])


def test_extensions_are_the_paths_or_what_the_bytes_begin_with(dataset: Path, tmp_path: Path) -> None:
    source = collect_rows(parquet_files(str(dataset)))
    assert list(source.scan.paths)[:3] == [f"train-00000-of-00002/{name}" for name in ("0.jpg", "1.png", "2.webp")]
    write_parquet(tmp_path / "b.parquet", rows(named=True))
    source = collect_rows([str(tmp_path / "b.parquet")])
    assert list(source.scan.paths)[:3] == ["cat/0.jpeg", "dog/1.jpeg", "cat/2.jpeg"]


def test_rows_with_paths_make_the_shards_of_a_folder(tmp_path: Path) -> None:
    images = sorted(rows(named=True), key=lambda row: str(row.path))
    for row in images:
        path = tmp_path / "photos" / str(row.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row.data or b"")
    write_parquet(tmp_path / "a.parquet", images, plain=False, metadata=features(label=CLASSES))
    expected = packed(collect(tmp_path / "photos"), tmp_path / "one")
    assert packed(collect_rows([str(tmp_path / "a.parquet")]), tmp_path / "two") == expected


def test_columns_go_into_a_json_and_labels_may_be_names_or_none(tmp_path: Path) -> None:
    images = [row.data for row in rows(3)]
    columns = {"image": images, "kind": ["b", None, "a"], "score": [1, 2, None], "__key__": ["x/1.5", "x/2", "y"]}
    path = str(write_columns(tmp_path / "a.parquet", columns))
    with pytest.raises(PackError, match=r"has nothing for x/2\.png in its column 'kind'"):
        collect_rows([path], label="kind")
    source = collect_rows([path], label="kind", fields=["score"], missing="allow")
    packed(source, tmp_path / "out", Recipe(check=False))
    shard = Shard(tmp_path / "out/train-000000.tar")
    assert keys_of(tmp_path / "out") == ["x/1_5", "x/2", "y"]
    assert source.scan.targets.tolist() == [1, -1, 0]
    assert [shard.read(row, "json") for row in range(3)] == [b'{"score": 1}', b'{"score": 2}', b'{"score": null}']
    assert collect_rows([path], label=NO_LABELS).scan.classes == []


def test_a_row_without_an_image_is_an_error_or_left_out(tmp_path: Path) -> None:
    images = rows(4)
    images[1], images[2] = Row(None, 1), Row(b"no image", -1)
    path = write_parquet(tmp_path / "a.parquet", images, metadata=features(label=CLASSES))
    source = collect_rows([str(path)], missing="allow")
    with pytest.raises(PackError, match=r"a\.parquet, row 1 has no image in its column 'image'"):
        packed(source, tmp_path / "raise")
    packed(source, tmp_path / "out", Recipe(check=False, on_error="skip"))
    assert keys_of(tmp_path / "out") == ["a/0", "a/3"]
    assert (tmp_path / "out/train.rejects.jsonl").read_text().count("\n") == 2


def test_a_file_that_changes_is_named(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(4))
    source = collect_rows([str(path)])
    write_parquet(path, rows(5))
    with pytest.raises(PackError, match=r"a\.parquet, row 0 changed while it was packed"):
        packed(source, tmp_path / "out")


def test_files_may_lie_at_urls(
    dataset: Path, http_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_memory(monkeypatch)
    expected = packed(collect_rows(parquet_files(str(dataset))), tmp_path / "local")
    urls = []
    for file in sorted(dataset.iterdir()):
        storage_of("memory://").put_file(file, f"memory://hub/data/{file.name}")
        urls.append(http_server.put(file.name, file.read_bytes()))
    for number, src in enumerate((["memory://hub/data"], ["memory://hub/data/train-*.parquet"], urls)):
        files = [file for each in src for file in parquet_files(each)]
        assert packed(collect_rows(files), tmp_path / str(number)) == expected


def test_parts_of_a_dataset_are_told_apart(dataset: Path, tmp_path: Path) -> None:
    write_parquet(dataset / "test-00000-of-00001.parquet", rows(2))
    with pytest.raises(
        ValueError, match=r"has the parts test, train of a dataset: pack each by itself, '.*/test-\*\.parquet'"
    ):
        parquet_files(str(dataset))
    assert len(parquet_files(f"{dataset}/train-*.parquet")) == 2
    assert parquet_files("http://h/train.parquet?sig=x") == ["http://h/train.parquet?sig=x"]
    dataset.rename(tmp_path / "spark.parquet")
    assert len(parquet_files(f"{tmp_path}/spark.parquet/train-*.parquet")) == 2
    (tmp_path / "spark.parquet/test-00000-of-00001.parquet").unlink()
    assert len(parquet_files(str(tmp_path / "spark.parquet"))) == 2
    with pytest.raises(FileNotFoundError, match=r"no \*\.parquet in"):
        parquet_files(str(tmp_path / "none"))
