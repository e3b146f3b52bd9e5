"""Tables and COCO's json give samples their targets, and say which samples there are, in folders and shards alike."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fastdata as fd
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_pattern
from support.annotated import COUNT, FIELDS, TRAIN, Annotated, components, key, plain


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    rows = [
        f"{key(number)}.jpg,{number * 10},{number / 4},{'train' if number % 2 else 'val'}" for number in range(COUNT)
    ]
    path.write_text("file,label,score,split\n" + "\n".join(reversed(rows)))
    return path


def test_a_table_joins_samples_by_key(make: Callable[..., Any], table: Path) -> None:
    fields = {"id": fd.Json("json", "id"), "label": fd.Table(table, "file", "label")}
    ((_, targets),) = fd.Loader(make(fields), COUNT)
    assert targets["id"].tolist() == list(range(COUNT))
    assert targets["label"].tolist() == [number * 10 for number in range(COUNT)]
    ((_, targets),) = fd.Loader(make(fd.Table(table, "file", ["label", "score"])), COUNT)
    assert targets["score"].dtype == torch.float64
    assert targets["score"].tolist() == [number / 4 for number in range(COUNT)]


def test_a_table_leaves_samples_out(make: Callable[..., Any], table: Path) -> None:
    whole, dataset = make("json"), make(fd.Table(table, "file", "label", where={"split": "train"}))
    assert [target for _, target in dataset] == [10, 30, 50, 70, 90]
    assert len(dataset) == 5
    assert dataset.left_out == {f"samples that where= leaves out by {table}": 6}
    assert [dataset.key(number) for number in range(5)] == [key(number) for number in (1, 3, 5, 7, 9)]
    for number in range(5):
        assert dataset.where(number) == whole.where(2 * number + 1)
        assert np.array_equal(dataset.load(number, 3).image, whole.load(2 * number + 1, 3).image)
    copy = pickle.loads(pickle.dumps(dataset))
    assert [target for _, target in copy] == [10, 30, 50, 70, 90]


def test_a_tables_targets_and_classes_are_the_datasets(make: Callable[..., Any], table: Path) -> None:
    split = make(fd.Table(table, "file", "split", classes=["val", "train"]))
    assert list(split.targets) == [number % 2 for number in range(COUNT)]
    assert split.classes == ["val", "train"]
    assert split.class_to_idx == {"val": 0, "train": 1}
    numbers = make(fd.Table(table, "file", "label"))
    assert list(numbers.targets) == [10 * number for number in range(COUNT)]
    assert numbers.classes == []
    assert [each["caption"] for each in make({"caption": "txt"}).targets[:2]] == ["photo 0", "photo 1"]


def test_classes_in_balance_are_those_of_the_table(make: Callable[..., Any], tmp_path: Path) -> None:
    rows = [f"{key(number)}.jpg,{'rare' if number == 3 else 'frequent'}" for number in range(COUNT)]
    (tmp_path / "labels.csv").write_text("file,label\n" + "\n".join(rows))
    dataset = make(fd.Table(tmp_path / "labels.csv", "file", "label", classes=["frequent", "rare"]))
    (batch,) = fd.Loader(dataset, 20, order=fd.Balanced(num_samples=20))
    assert batch.targets.bincount().tolist() == [10, 10]
    assert batch.keys.count(key(3)) == 10


def test_a_fingerprint_tells_which_samples_are_left_not_what_labels_they_have(
    make: Callable[..., Any], table: Path
) -> None:
    def fingerprint(where: Any) -> str:
        dataset = make(fd.Table(table, "file", "label", where=where))
        return str(dataset.fingerprint)

    train, val, every = (fingerprint(where) for where in ({"split": "train"}, {"split": "val"}, None))
    assert len({train, val, every}) == 3
    assert every == make("txt").fingerprint
    table.write_text(table.read_text().replace(",10,", ",11,"))
    assert fingerprint({"split": "train"}) == train


def test_a_run_over_shards_resumes_only_with_the_same_samples(annotated: Annotated, table: Path) -> None:
    def run(*labels: int) -> Any:
        target = fd.Table(table, "file", "label", where={"label": labels})
        return fd.TarImageDataset(annotated.shards, TRAIN, target=target, batch_size=1, shuffle=True)

    first = run(10, 30, 90)
    assert sorted(int(targets) for _, targets in first) == [10, 30, 90]
    state = first.state_dict(batches=2)
    again = run(10, 30, 90)
    again.load_state_dict(state)
    assert len(list(again)) == 1
    with pytest.raises(fd.StateError):
        run(10, 30, 80).load_state_dict(state)


def test_several_tables_leave_what_each_of_them_has(make: Callable[..., Any], table: Path) -> None:
    fields = {
        "train": fd.Table(table, "file", "label", where={"split": "train"}),
        "high": fd.Table(table, "file", "label", where=lambda row: row["label"] > 40),
    }
    assert [target for _, target in make(fields)] == [{"train": n, "high": n} for n in (50, 70, 90)]


def test_shards_that_are_not_those_that_were_counted_are_not_joined(annotated: Annotated, tmp_path: Path) -> None:
    pack(scan_pattern(annotated.folder, "**/*.jpg"), tmp_path, division=ShardCount(3), jobs=1)
    shutil.copy(tmp_path / "train-000000.tar", tmp_path / "train-000002.tar")
    csv = tmp_path / "labels.csv"
    csv.write_text("key,n\n" + "".join(f"{key(number)},{number}\n" for number in range(COUNT)))

    def dataset() -> fd.TarImageDataset:
        return fd.TarImageDataset(str(tmp_path / "*.tar"), target=fd.Table(csv, "key", "n"))

    joined = dataset()  # by the dataset's index, without a look at the shard
    with pytest.raises(fd.SampleError, match=r"train-000002\.tar, offset 0: has 3 samples where 4 were counted"):
        joined.read(COUNT - 1)
    document = json.loads((tmp_path / "train.json").read_text())
    (tmp_path / "train.json").write_text(json.dumps({**document, "index": None}))
    with pytest.raises(fd.TarError, match=r"train-000002\.tar, offset 0: has 3 samples where 4 were counted"):
        dataset()


def test_cocos_json_gives_boxes_labels_and_ids(make: Callable[..., Any], tmp_path: Path) -> None:
    annotations, images = [], []
    for number in range(COUNT):
        objects = json.loads(components(number)["json"])["objects"]
        images.append({"id": 100 + number, "file_name": f"{number:03}.jpg"})
        for box, category in zip(objects["bbox"], objects["category"], strict=True):
            annotations.append({"image_id": 100 + number, "category_id": 7 + category, "bbox": box})
    categories = [{"id": 7 + number, "name": f"class {number}"} for number in range(4)]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    fields = {"coco": fd.Coco(path, prefix="a/"), "own": FIELDS["objects"]}
    for number, (_, target) in enumerate(make(fields)):
        assert target["coco"]["image_id"] == 100 + number
        assert plain(target["coco"] | {"image_id": 0}) == plain(target["own"] | {"image_id": 0})
