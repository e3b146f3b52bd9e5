"""A folder with captions, masks and a table becomes shards that every reader reads."""

import json
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

import fastdata as fd
from fastdata.errors import PackError
from fastdata.packing.convert import CropReady, Encode
from fastdata.packing.origins.collect import collect
from fastdata.packing.origins.labels import Labels
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount, ShardSize
from fastdata.sources.regular import MAX_BYTES
from fastdata.sources.shard import Shard
from support.packed import files_of, keys_of, losing_a_file_after
from support.pictures import encoded, jpeg, photo

FIELDS = ["txt", "json", "seg.png"]
COUNT = 12


@pytest.fixture(scope="module")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of photos with a caption, a json and a mask each; a table of them all beside the folder."""
    root = tmp_path_factory.mktemp("captioned")
    rows = ["file,label,score"]
    for i in range(COUNT):
        path = root / "photos" / ("cat", "dog")[i % 2] / f"{i:02}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".jpg").write_bytes(jpeg(40 + i, 30, i))
        path.with_suffix(".txt").write_bytes(f"caption {i}, ü".encode())
        path.with_suffix(".json").write_bytes(b'{"n": %d,   "odd": "spacing"}\r\n' % i)
        path.with_suffix(".seg.png").write_bytes(encoded(photo(40 + i, 30, i), "PNG", mode="L"))
        rows.append(f"{path.relative_to(root / 'photos')},{('eel', 'ant', 'cow')[i % 3]},{i / 4}")
    (root / "labels.csv").write_text("\n".join(rows))
    return root


def components_of(directory: Path) -> dict[str, dict[str, bytes]]:
    """What webdataset's own reader finds, members in their order."""
    with ExitStack() as stack:
        streams = [stack.enter_context(path.open("rb")) for path in sorted(directory.glob("*.tar"))]
        files = tar_file_expander({"url": "", "stream": stream} for stream in streams)
        return {
            sample["__key__"]: {name: data for name, data in sample.items() if not name.startswith("__")}
            for sample in group_by_keys(files)
        }


def test_fields_are_packed_untouched_after_image_and_class(captioned: Path, tmp_path: Path) -> None:
    pack(collect(captioned / "photos", fields=FIELDS), tmp_path, division=ShardCount(3), jobs=1)
    samples = components_of(tmp_path)
    assert len(samples) == COUNT
    for key, components in samples.items():
        path = captioned / "photos" / key
        expected = {"jpg": path.with_suffix(".jpg").read_bytes(), "cls": b"0" if key.startswith("cat") else b"1"}
        expected |= {name: path.with_suffix(f".{name}").read_bytes() for name in FIELDS}
        assert list(components) == ["jpg", "cls", *FIELDS]
        assert components == expected


@pytest.mark.parametrize("fields", [["json", "txt"], ["txt", "json"]])
def test_the_bytes_do_not_depend_on_the_number_of_jobs(captioned: Path, tmp_path: Path, fields: list[str]) -> None:
    for jobs in (1, 3):
        source = collect(captioned / "photos", "**/*.jpg", fields=fields)
        split = {"train": Fraction(2, 3), "val": Fraction(1, 3)}
        pack(source, tmp_path / str(jobs), split, ShardCount(3), shuffle=True, seed=5, jobs=jobs)
    assert files_of(tmp_path / "1") == files_of(tmp_path / "3")
    assert list(next(iter(components_of(tmp_path / "1").values()))) == ["jpg", "cls", *fields]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_tables_classes_and_columns_go_with_their_images(captioned: Path, tmp_path: Path, jobs: int) -> None:
    labels = Labels(captioned / "labels.csv", fields=["score"])
    source = collect(captioned / "photos", None, labels, ["txt", "seg.png"])
    (made,) = pack(source, tmp_path, division=ShardCount(2), shuffle=True, jobs=jobs)
    assert made.classes == ("ant", "cow", "eel")
    for key, components in components_of(tmp_path).items():
        number = int(key.rpartition("/")[2])
        assert list(components) == ["jpg", "cls", "json", "txt", "seg.png"]
        assert made.classes[int(components["cls"])] == ("eel", "ant", "cow")[number % 3]
        assert json.loads(components["json"]) == {"score": number / 4}


def test_our_readers_take_the_fields_as_targets(captioned: Path, tmp_path: Path) -> None:
    pack(collect(captioned / "photos", None, None, FIELDS), tmp_path, jobs=1)
    for target, expected in (("txt", "caption 3, ü"), ("json", {"n": 3, "odd": "spacing"})):
        dataset = fd.TarImageMapDataset(str(tmp_path / "train-*.tar"), target=target)
        found = {dataset.key(n): dataset.read(n) for n in range(len(dataset))}
        assert found["dog/03"].target == expected
        assert found["dog/03"].image == (captioned / "photos/dog/03.jpg").read_bytes()


def test_a_png_beside_a_jpg_is_its_mask_where_that_is_asked(tmp_path: Path) -> None:
    for name, data in (("1.jpg", b"image"), ("1.png", b"mask"), ("2.jpg", b"image"), ("2.png", b"mask")):
        (tmp_path / name).write_bytes(data)
    pack(collect(tmp_path, None, None, ["png"]), tmp_path / "out", jobs=1)
    assert components_of(tmp_path / "out") == {key: {"jpg": b"image", "png": b"mask"} for key in ("1", "2")}


def test_a_mask_that_readers_would_take_for_the_image_is_refused(tmp_path: Path) -> None:
    for name in ("1.webp", "1.png"):
        (tmp_path / name).write_bytes(b"bytes")
    with pytest.raises(PackError, match=r"would take .*1\.png for the image .* not .*1\.webp: rename it, to mask\.png"):
        pack(collect(tmp_path, None, None, ["png"]), tmp_path / "out")


def test_what_a_sample_lacks_is_not_in_the_shard(tmp_path: Path) -> None:
    for name in ("1.jpg", "1.txt", "2.jpg", "3.jpg", "3.json"):
        (tmp_path / name).write_bytes(name.encode())
    source = collect(tmp_path, None, None, ["txt", "json"], "allow")
    pack(source, tmp_path / "out", division=ShardCount(3), jobs=1)
    assert [list(components) for components in components_of(tmp_path / "out").values()] == [
        ["jpg", "txt"],
        ["jpg"],
        ["jpg", "json"],
    ]


def test_class_files_are_a_field_like_others(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name, data in (("a/1.jpg", b"image"), ("a/1.cls", b"7")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    pack(collect(source, None, None, ["cls"]), tmp_path / "out", jobs=1)
    assert Shard(tmp_path / "out/train-000000.tar").cls(0) == 7
    with pytest.raises(ValueError, match=r"classes would come from the field cls, and .*--labels none"):
        pack(collect(source, fields=["cls"]), tmp_path / "other")


def test_an_empty_caption_is_a_caption(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"image")
    (tmp_path / "1.txt").write_bytes(b"")
    pack(collect(tmp_path, None, None, ["txt"]), tmp_path / "out", jobs=1)
    assert components_of(tmp_path / "out")["1"]["txt"] == b""


def test_no_shard_is_larger_than_asked_with_its_fields(captioned: Path, tmp_path: Path) -> None:
    labels = Labels(captioned / "labels.csv", fields=["score"])
    (made,) = pack(
        collect(captioned / "photos", None, labels, ["txt", "seg.png"]), tmp_path, division=ShardSize(20_480)
    )
    assert max(entry.filesize for entry in made.shards) <= 20_480
    assert len(keys_of(tmp_path)) == COUNT


def test_json_comes_from_files_or_from_a_table(captioned: Path, tmp_path: Path) -> None:
    labels = Labels(captioned / "labels.csv", fields=["score"])
    with pytest.raises(ValueError, match="a sample has one json"):
        pack(collect(captioned / "photos", None, labels, FIELDS), tmp_path)


def test_masks_are_refused_beside_images_that_are_encoded_anew(captioned: Path, tmp_path: Path) -> None:
    source = collect(captioned / "photos", fields=FIELDS)
    with pytest.raises(ValueError, match=r"shrinks them, and seg\.png would not fit them any more: keep the images"):
        pack(source, tmp_path, jpeg=Encode(max_side=16))
    pack(source, tmp_path / "ready", jpeg=CropReady(), jobs=1)
    captions = collect(captioned / "photos", "**/*.jpg", fields=["txt", "json"])
    pack(captions, tmp_path / "small", jpeg=Encode(max_side=16), jobs=1)
    for directory in ("ready", "small"):
        for key, components in components_of(tmp_path / directory).items():
            assert components["txt"] == (captioned / "photos" / f"{key}.txt").read_bytes()


def test_a_field_removed_under_way_is_named_and_nothing_is_left(captioned: Path, tmp_path: Path) -> None:
    source, lost = tmp_path / "source", tmp_path / "source/07.txt"
    source.mkdir()
    for i in range(9):
        (source / f"{i:02}.jpg").write_bytes(b"image")
        (source / f"{i:02}.txt").write_bytes(b"text")
    with pytest.raises(PackError, match=r"07\.txt can't be read: No such file"):
        pack(collect(source, None, None, ["txt"]), tmp_path / "out", jobs=1, progress=losing_a_file_after(3, lost))
    assert list((tmp_path / "out").iterdir()) == []


def test_progress_counts_images_and_all_bytes(captioned: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    source = collect(captioned / "photos", fields=FIELDS)
    pack(source, tmp_path, jobs=1, progress=lambda *by: told.append(by))
    size = sum(path.stat().st_size for path in (captioned / "photos").rglob("*.*"))
    assert np.sum(told, axis=0).tolist() == [COUNT, size]


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"image")
    (tmp_path / "1.txt").symlink_to("/dev/zero")
    with pytest.raises(PackError, match=r"1\.txt is no regular file"):
        pack(collect(tmp_path, None, None, ["txt"]), tmp_path / "out")
    with pytest.raises(ValueError, match=r"a link takes .* from outside"):
        collect(tmp_path, None, None, ["txt"], follow_links=False)
    (tmp_path / "2.jpg").symlink_to("/dev/zero")
    with pytest.raises(PackError, match=r"2\.jpg is no regular file"):
        pack(collect(tmp_path, "2.jpg", None), tmp_path / "out")


@pytest.mark.parametrize("name", ["1.jpg", "1.txt"])
def test_a_file_of_more_than_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "1.jpg").write_bytes(b"image")
    (tmp_path / "1.txt").write_bytes(b"text")
    with (tmp_path / name).open("r+b") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: it takes no room
    with pytest.raises(PackError, match=rf"{name} has 1073741825 bytes, more than the limit of 1073741824"):
        pack(collect(tmp_path, None, None, ["txt"]), tmp_path / "out")
