"""The fields of a sample: what they become in its view, in a batch, and where they are bad."""

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fastdata as fd
from fastdata.sources.tars.writer import ShardWriter
from fastdata.transforms.follow import boxes_in_view, mask_in_view, points_in_view, upright_mask
from support.annotated import COUNT, FIELDS, SEED, TRAIN, Annotated, components, key, mask_of, npy, plain
from support.pictures import encoded, jpeg, photo


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
    target: dict[str, Any] = {"mask": fd.Mask("seg.png"), "box": fd.Boxes("box.npy"), "points": fd.Points("npy")}
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
    ((_, shown),) = fd.TarImageDataset(str(tmp_path / "a.tar"), [fd.CenterCrop(24)], target=fd.Points("npy"))
    assert shown.tolist() == [[2, 2, 2], [12, 12, 1], [0, 0, 0], [0, 0, 0]]


def test_points_that_change_places_take_their_visibility_with_them(tmp_path: Path) -> None:
    stored = np.array([[1, 5, 1], [30, 5, 2], [20, 20, 1]], np.float32)
    with ShardWriter(tmp_path / "a.tar") as shard:
        shard.write("a", {"jpg": jpeg(40, 40), "npy": npy(stored)})
    mirrored, target = [fd.RandomHorizontalFlip(1.0)], fd.Points("npy", flip_pairs=[(0, 1)])
    ((_, shown),) = fd.TarImageDataset(str(tmp_path / "a.tar"), mirrored, target=target)
    assert shown.tolist() == [[9, 5, 2], [38, 5, 1], [19, 20, 1]]


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
    fields: dict[str, Any] = {"label": "cls", "mask": fd.Mask("masks/{key}.png")}
    dataset = fd.ImageDirectoryDataset(tmp_path / "photos", "{cat,dog}/*.jpg", fields=fields)
    assert [(target["label"], target["mask"].shape) for _, target in map(dataset.__getitem__, range(2))] == [
        (0, (60, 40)),
        (1, (35, 33)),
    ]
    assert dataset.classes == ["cat", "dog"]
    assert dataset.samples[1][1]["label"] == 1


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ({"seg.png": encoded(photo(9, 9), "PNG", mode="L")}, "its field 'mask' can't be used: it is 9x9, its image"),
        ({"json": b"{"}, "its field 'objects', component 'json' can't be used"),
        ({"npy": b"\x93NUMPY\x01\x00\x09\x00{[]: 1}\n "}, "its field 'points', component 'npy' can't be used"),
        (
            {"txt": None},
            "its field 'caption', component 'txt' can't be used: .*(there is no file|there is no component)",
        ),
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

    def test_what_follows_a_view_is_refused_beside_what_it_can_not_follow(
        self, annotated: Annotated, tmp_path: Path
    ) -> None:
        """It would be left behind, and no error would say so."""
        follows: list[Any] = [fd.Mask("seg.png"), fd.Boxes("json", "objects.bbox"), fd.Points("npy")]
        moving = [fd.RandAugment(), fd.TrivialAugmentWide(), fd.RandomApply([fd.Grayscale(), fd.RandAugment()])]
        for steps in ([*TRAIN, step] for step in moving):
            for field in (*follows, fd.Coco(tmp_path / "never read")):
                with pytest.raises(ValueError, match=r"crops, resizes and flips, but not .*, which moves pixels: take"):
                    fd.TarImageDataset(annotated.shards, steps, target=field)
                with pytest.raises(ValueError, match=r"^field 'it': masks, boxes and points follow crops"):
                    fd.ImageDirectoryDataset(
                        annotated.folder, "**/*.jpg", steps, None, fields={"caption": "txt", "it": field}
                    )
            image, _ = fd.TarImageMapDataset(annotated.shards, steps, target=["txt", "json"])[0]
            assert image.shape == (3, 24, 24)
        staying = [
            *TRAIN,
            fd.ColorJitter(0.4),
            fd.GaussianBlur(3),
            fd.RandomApply([fd.Grayscale()]),
            fd.RandomErasing(),
        ]
        _, mask = fd.TarImageMapDataset(annotated.shards, staying, target=follows[0])[0]
        assert mask.shape == (24, 24)


def test_fields_follow_what_dali_decodes(make: Callable[..., Any]) -> None:
    pytest.importorskip("nvidia.dali")
    expected, dalis = (fd.Loader(make(FIELDS), 4, shuffle=True, decoder=decoder) for decoder in ("cpu", "dali"))
    for ours, dali in zip(expected, dalis, strict=True):
        assert (ours.keys, ours.views) == (dali.keys, dali.views)
        assert plain(ours.targets) == plain(dali.targets)
        assert (ours.images.float() - dali.images.float()).abs().mean() < 1
