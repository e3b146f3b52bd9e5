"""The fields of a sample are the same wherever it lies and whoever loads it."""

import io
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import fastdata as fd
from fastdata.sources.writer import ShardWriter
from fastdata.transforms.follow import boxes_in_view, mask_in_view, points_in_view, upright_mask
from support.pictures import encoded, jpeg, photo

COUNT, SEED = 11, 5
TRAIN = [fd.RandomResizedCrop(24), fd.RandomHorizontalFlip()]
SIZES = [(64, 48), (40, 60), (33, 35)]
FIELDS: dict[str, Any] = {
    "mask": fd.Mask("seg.png"),
    "objects": fd.Boxes("json", "objects.bbox", "xywh", "objects.category"),
    "boxes": fd.Boxes("json", "objects.bbox", "xywh"),
    "points": fd.Points("npy", flip_pairs=[(0, 1)]),
    "caption": "txt",
    "id": fd.Json("json", "id"),
    "raw": fd.Raw("txt"),
}


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def mask_of(number: int) -> Any:
    width, height = SIZES[number % 3]
    return np.random.default_rng(number).integers(1, 200, (height, width), np.uint8)


def components(number: int) -> dict[str, bytes]:
    """A sample; some have images that EXIF orientation turns."""
    width, height = SIZES[number % 3]
    rng = np.random.default_rng(number)
    boxes = [[float(rng.integers(0, width - 9)), float(rng.integers(0, height - 9)), 9.0, 7.0] for _ in range(number % 4)]
    meta = {"id": number, "objects": {"bbox": boxes, "category": list(range(len(boxes)))}}
    orientation = 6 if number % 5 == 3 else 3 if number % 5 == 4 else 1
    return {
        "jpg": encoded(photo(width, height, number), orientation=orientation),
        "seg.png": encoded(mask_of(number), "PNG", mode="L"),
        "json": json.dumps(meta).encode(),
        "npy": npy(rng.uniform(0, (width, height), (3, 2))),
        "txt": f"photo {number}".encode(),
    }


def key(number: int) -> str:
    return f"a/{number:03}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folder")
    (root / "a").mkdir()
    for number in range(COUNT):
        for extension, data in components(number).items():
            (root / f"{key(number)}.{extension}").write_bytes(data)
    return root


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("shards")
    for name, numbers in (("0", range(4)), ("1", range(0)), ("2", range(4, COUNT))):
        with ShardWriter(root / f"{name}.tar") as shard:
            for number in numbers:
                shard.write(key(number), components(number))
    return [str(root / f"{name}.tar") for name in "012"]


@pytest.fixture
def of_folder(folder: Path) -> Callable[..., Any]:
    return lambda fields: fd.ImageDirectoryDataset(folder, "**/*.jpg", TRAIN, None, SEED, fields=fields)


@pytest.fixture
def of_shards(shards: list[str]) -> Callable[..., Any]:
    return lambda fields: fd.TarImageMapDataset(shards, TRAIN, target=fields, seed=SEED)


@pytest.fixture(params=["folder", "shards"])
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a dataset of these samples with these fields."""
    made: Callable[..., Any] = request.getfixturevalue(f"of_{request.param}")
    return made


def plain(value: Any) -> Any:
    """Something to compare."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return (str(value.dtype), value.tolist()) if isinstance(value, torch.Tensor | np.ndarray) else value


def samples(batches: Any) -> Iterator[tuple[Any, Any]]:
    """Images and targets of batches, one by one."""
    for images, targets in batches:
        for row, image in enumerate(images):
            yield plain(image), {name: plain(column[row]) for name, column in targets.items()}


def test_fields_follow_the_view_of_their_sample(make: Callable[..., Any]) -> None:
    dataset = make(FIELDS)
    for number in range(COUNT):
        sample = dataset.load(number, epoch=2)
        header, view = dataset.draw(dataset.read(number), 2)
        mask = mask_in_view(upright_mask(mask_of(number), header.orientation), view)
        assert plain(sample.target["mask"]) == plain(mask)
        assert sample.target["mask"].shape == (24, 24)
        assert (sample.target["caption"], sample.target["id"], sample.target["raw"]) == (
            f"photo {number}",
            number,
            b"photo %d" % number,
        )
        if header.orientation == 1:
            stored = components(number)
            corners = np.array(json.loads(stored["json"])["objects"]["bbox"], np.float32).reshape(-1, 4)
            corners[:, 2:] += corners[:, :2]
            boxes, kept = boxes_in_view(corners, view, 1.0, 0.0)
            assert plain(sample.target["boxes"]) == plain(boxes)
            assert plain(sample.target["objects"]) == plain({"boxes": boxes, "labels": np.flatnonzero(kept)})
            points = np.load(io.BytesIO(stored["npy"])).astype(np.float32)
            assert plain(sample.target["points"]) == plain(points_in_view(points, view, [(0, 1)])[0])


def turned(number: int, size: tuple[int, int], orientation: int) -> dict[str, bytes]:
    """A white rectangle on black in the image, its mask, box and corner alike."""
    pixels = np.zeros((*size[::-1], 3), np.uint8)
    pixels[5:9, 10:25] = 255
    return {
        "jpg": encoded(pixels, "PNG", orientation=orientation),
        "seg.png": encoded(pixels[..., 0], "PNG", mode="L"),
        "npy": npy(np.array([[10, 5], [24, 8]])),
        "box.npy": npy(np.array([[10, 5, 25, 9]])),
    }


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_mask_box_and_points_stay_on_each_other(tmp_path: Path, orientation: int) -> None:
    with ShardWriter(tmp_path / "a.tar") as shard:
        for number in range(8):
            shard.write(key(number), turned(number, (40, 30), orientation))
    target = {"mask": fd.Mask("seg.png"), "box": fd.Boxes("box.npy"), "points": fd.Points("npy")}
    plainly = [fd.CenterCrop(28), fd.RandomHorizontalFlip()]
    for image, fields in fd.TarImageDataset(str(tmp_path / "a.tar"), plainly, target=target, seed=SEED):
        assert torch.equal(image[0], fields["mask"])
        rows, columns = fields["mask"].nonzero(as_tuple=True)
        left, top, right, bottom = (float(n) for n in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        assert fields["box"].tolist() == [[left, top, right, bottom]]
        if (right - left) * (bottom - top) == 15 * 4:  # none of it is cropped away
            assert sorted(fields["points"][:, 0].tolist()) == [left, right - 1]
            assert sorted(fields["points"][:, 1].tolist()) == [top, bottom - 1]


def test_points_that_are_not_seen_are_cocos_zeros(tmp_path: Path) -> None:
    points = np.array([[10, 10, 2], [20, 20, 1], [39, 15, 2], [15, 15, 0]], np.float32)
    with ShardWriter(tmp_path / "a.tar") as shard:
        shard.write("a", {"jpg": jpeg(40, 40), "npy": npy(points)})
    (_, shown), = fd.TarImageDataset(str(tmp_path / "a.tar"), [fd.CenterCrop(24)], target=fd.Points("npy"))
    assert shown.tolist() == [[2, 2, 2], [12, 12, 1], [0, 0, 0], [0, 0, 0]]


# Python 3.12 warns of forking a process with threads, which torch has.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_fields_are_the_same_in_folder_shards_workers_and_threads(
    of_folder: Callable[..., Any], of_shards: Callable[..., Any], shards: list[str]
) -> None:
    found = []
    for dataset in (of_folder(FIELDS), of_shards(FIELDS)):
        found += [list(samples(fd.Loader(dataset, 4, shuffle=True, num_threads=threads))) for threads in (1, 3)]
        for workers in (0, 2):
            sampler = fd.EpochSampler(dataset, batch_size=4, seed=SEED)
            batches = DataLoader(dataset, 4, sampler=sampler, num_workers=workers, collate_fn=fd.collate)
            found.append(list(samples(batches)))
    iterable = fd.TarImageDataset(shards, TRAIN, target=FIELDS, seed=SEED, shuffle=True, batch_size=4)
    found += [list(samples(DataLoader(iterable, batch_size=None, num_workers=0)))]
    resumed = fd.Loader(of_folder(FIELDS), 4, shuffle=True)
    resumed.load_state_dict({**fd.Loader(of_shards(FIELDS), 4, shuffle=True).state_dict(), **fingerprint_of(resumed)})
    found.append(list(samples(resumed)))
    assert len(found[0]) == COUNT
    assert all(each == found[0] for each in found)


def fingerprint_of(loader: Any) -> dict[str, Any]:
    return {name: value for name, value in loader.state_dict().items() if name == "fingerprint"}


def test_a_batch_has_each_field_by_its_own_rule(make: Callable[..., Any]) -> None:
    ((images, targets),) = fd.Loader(make(FIELDS), COUNT)
    assert images.shape == (COUNT, 3, 24, 24)
    assert (targets["mask"].shape, targets["mask"].dtype) == ((COUNT, 24, 24), torch.uint8)
    assert targets["points"].shape == (COUNT, 3, 2)
    assert targets["id"].tolist() == list(range(COUNT))
    assert targets["caption"] == [f"photo {number}" for number in range(COUNT)]
    assert [type(boxes) for boxes in targets["boxes"]] == [torch.Tensor] * COUNT
    assert set(targets["objects"][1]) == {"boxes", "labels"}


def test_one_field_is_the_target_and_several_are_a_dict(make: Callable[..., Any]) -> None:
    assert make("txt")[3][1] == "photo 3"
    assert make(fd.Mask("seg.png"))[3][1].shape == (24, 24)
    target = make(["txt", "json"])[3][1]
    assert isinstance(target, fd.Fields)
    assert (target["txt"], target["json"]["id"]) == ("photo 3", 3)
    assert make({"text": "txt"})[3][1] == {"text": "photo 3"}
    copy = pickle.loads(pickle.dumps(make(FIELDS)))
    assert plain(copy.load(3, 1).target) == plain(make(FIELDS).load(3, 1).target)


def test_a_folders_files_may_lie_elsewhere_and_its_classes_are_a_field(tmp_path: Path) -> None:
    for name, number in (("cat/1", 1), ("dog/2", 2)):
        for path, extension in ((f"photos/{name}.jpg", "jpg"), (f"photos/masks/{name}.png", "seg.png")):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(components(number)[extension])
    fields = {"label": "cls", "mask": fd.Mask("masks/{key}.png")}
    dataset = fd.ImageDirectoryDataset(tmp_path / "photos", "{cat,dog}/*.jpg", fields=fields)
    assert [(target["label"], target["mask"].shape) for _, target in dataset] == [(0, (60, 40)), (1, (35, 33))]
    assert dataset.classes == ["cat", "dog"]
    assert dataset.samples[1][1]["label"] == 1


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ({"seg.png": encoded(photo(9, 9), "PNG", mode="L")}, "its field 'mask' can't be used: it is 9x9, its image"),
        ({"json": b"{"}, "its field 'objects', component 'json' can't be used"),
        ({"npy": b"\x93NUMPY\x01\x00\x09\x00{[]: 1}\n "}, "its field 'points', component 'npy' can't be used"),
        ({"txt": None}, "its field 'caption', component 'txt' can't be used: .*(there is no file|has no component)"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_a_bad_field_is_an_error_that_names_key_place_and_field_and_may_be_skipped(
    tmp_path: Path, kind: str, damage: dict[str, Any], problem: str
) -> None:
    for number in range(4):
        parts = components(number) | (damage if number == 2 else {})
        for extension, data in parts.items():
            if data is not None:
                (tmp_path / f"{number}.{extension}").write_bytes(data)
    dataset: Any
    if kind == "folder":
        dataset = fd.ImageDirectoryDataset(tmp_path, "*.jpg", TRAIN, None, fields=FIELDS)
    else:
        with ShardWriter(tmp_path / "a.tar") as shard:
            for number in range(4):
                paths = sorted(tmp_path.glob(f"{number}.*"))
                shard.write(str(number), {path.name.partition(".")[2]: path.read_bytes() for path in paths})
        dataset = fd.TarImageMapDataset(str(tmp_path / "a.tar"), TRAIN, target=FIELDS)
    with pytest.raises(fd.TargetError, match=problem) as caught:
        dataset.load(2, 0)
    assert (caught.value.key, caught.value.where) == ("2", dataset.where(2))
    loader = fd.Loader(dataset, 4, on_error="skip")
    ((_, targets),) = loader
    assert targets["id"].tolist() == [0, 1, 3, 3]
    assert [skipped.key for skipped in loader.skipped] == ["2"]


class TestRefusals:
    def test_what_is_no_target_is_refused_at_once(self, make: Callable[..., Any]) -> None:
        for fields, error, problem in (
            ("pkl", ValueError, r"one of cls, txt, json, npy, got 'pkl'"),
            ([], ValueError, "names no field"),
            ({}, ValueError, "names no field"),
            (["txt", "txt"], ValueError, "names a component twice"),
            ([fd.Text()], TypeError, "fields are known by their names"),
            ({"a": 3}, TypeError, "a field is a component or one of"),
            ({3: "txt"}, TypeError, "fields are known by their names"),
            (3, TypeError, "target must be a component, a field"),
            ({"m": fd.Mask("../{key}.png")}, ValueError, "path"),
        ):
            with pytest.raises(error, match=problem):
                make(fields)


class TestTables:
    @pytest.fixture
    def table(self, tmp_path: Path) -> Path:
        path = tmp_path / "labels.csv"
        rows = [f"{key(number)}.jpg,{number * 10},{number / 4},{'train' if number % 2 else 'val'}" for number in range(COUNT)]
        path.write_text("file,label,score,split\n" + "\n".join(reversed(rows)))
        return path

    def test_a_table_joins_samples_by_key(self, make: Callable[..., Any], table: Path) -> None:
        fields = {"id": fd.Json("json", "id"), "label": fd.Table(table, "file", "label")}
        ((_, targets),) = fd.Loader(make(fields), COUNT)
        assert targets["id"].tolist() == list(range(COUNT))
        assert targets["label"].tolist() == [number * 10 for number in range(COUNT)]
        ((_, targets),) = fd.Loader(make(fd.Table(table, "file", ["label", "score"])), COUNT)
        assert targets["score"].dtype == torch.float64
        assert targets["score"].tolist() == [number / 4 for number in range(COUNT)]

    def test_a_table_leaves_samples_out(self, make: Callable[..., Any], table: Path) -> None:
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

    def test_a_fingerprint_tells_which_samples_are_left_not_what_labels_they_have(
        self, make: Callable[..., Any], table: Path
    ) -> None:
        def fingerprint(where: Any) -> str:
            dataset = make(fd.Table(table, "file", "label", where=where))
            return str(dataset.fingerprint)

        train, val, every = (fingerprint(where) for where in ({"split": "train"}, {"split": "val"}, None))
        assert len({train, val, every}) == 3
        assert every == make("txt").fingerprint
        table.write_text(table.read_text().replace(",10,", ",11,"))
        assert fingerprint({"split": "train"}) == train

    def test_a_run_over_shards_resumes_only_with_the_same_samples(self, shards: list[str], table: Path) -> None:
        def run(split: str) -> Any:
            target = fd.Table(table, "file", "label", where={"split": split})
            return fd.TarImageDataset(shards, TRAIN, target=target, batch_size=1, shuffle=True)

        train = run("train")
        assert sorted(int(targets) for _, targets in train) == [10, 30, 50, 70, 90]
        state = train.state_dict(batches=2)
        again = run("train")
        again.load_state_dict(state)
        assert len(list(again)) == 3
        with pytest.raises(fd.StateError):
            run("val").load_state_dict(state)

    def test_several_tables_leave_what_each_of_them_has(self, make: Callable[..., Any], table: Path) -> None:
        fields = {
            "train": fd.Table(table, "file", "label", where={"split": "train"}),
            "high": fd.Table(table, "file", "label", where=lambda row: row["label"] > 40),
        }
        assert [target for _, target in make(fields)] == [{"train": n, "high": n} for n in (50, 70, 90)]

    def test_cocos_json_gives_boxes_labels_and_ids(self, make: Callable[..., Any], tmp_path: Path) -> None:
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
