"""A contact sheet shows the very pixels that training sees, of the samples that it says."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

import fastdata as fd
from fastdata.commands.sheet import Tile, contact_sheet, show
from fastdata.commands.view import FIRST, SIDE, TRANSFORMS, Run, Step, _chosen, read_run, view
from fastdata.errors import StateError
from support.commands import Command
from support.packed import copy_of

EDGE = 6


def tiles(sheet: Image.Image, columns: int, count: int) -> list[npt.NDArray[np.uint8]]:
    """The squares of a sheet of images of `SIDE`."""
    pixels = np.asarray(sheet)
    width, height = (sheet.width - EDGE) // columns, (sheet.height - EDGE) // -(-count // columns)
    corners = [(EDGE + n // columns * height, EDGE + n % columns * width) for n in range(count)]
    return [pixels[y : y + SIDE, x : x + SIDE] for y, x in corners]


@pytest.mark.parametrize("transform", ["train", "eval"])
def test_tiles_are_what_the_dataset_gives_in_the_orders_sequence(folder: Path, transform: str) -> None:
    dataset = fd.ImageDirectoryDataset(folder, transform=TRANSFORMS[transform], seed=3)
    sheet = view(str(folder), transform, Run(3, 2), 7, 4)  # type: ignore[arg-type]
    numbers = fd.EpochOrder(12, True, 3, 2).samples(0, 7).tolist()
    for tile, number in zip(tiles(sheet, 4, 7), numbers, strict=True):
        np.testing.assert_array_equal(tile, dataset.pair(number, 2)[0].permute(1, 2, 0).numpy())


def test_a_folder_and_its_shards_are_the_same_picture(folder: Path, dataset: Path) -> None:
    expected = np.asarray(view(str(folder), at=12))
    for what in (dataset, dataset / "train.json", f"{dataset}/*.tar"):
        np.testing.assert_array_equal(np.asarray(view(str(what), at=12)), expected)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_step_is_the_batch_that_the_loader_gave_that_rank(
    folder: Path, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    dataset = fd.ImageDirectoryDataset(folder, transform=TRANSFORMS["train"], seed=5)
    loader = fd.Loader(dataset, 3, shuffle=True, num_threads=1)
    loader.set_epoch(4)
    for step, batch in enumerate(loader):
        numbers = _chosen(dataset, Run(5, 4), Step(step, 3, rank, 2), ())
        assert [dataset.key(number) for number in numbers] == list(batch.keys)


def test_a_step_that_no_epoch_has_is_an_error(folder: Path) -> None:
    with pytest.raises(ValueError, match="no step 2: an epoch of 12 samples has 2 steps"):
        view(str(folder), at=Step(2, 4, 1, 2))
    with pytest.raises(ValueError, match="rank 2 of 2"):
        view(str(folder), at=Step(0, 4, 2, 2))


def test_only_samples_of_the_classes_asked_for_are_shown(folder: Path) -> None:
    dataset = fd.ImageDirectoryDataset(folder)
    assert {dataset.classes[dataset.targets[n]] for n in _chosen(dataset, FIRST, 32, ["dog"])} == {"dog"}
    assert len(_chosen(dataset, FIRST, 32, ["dog"])) == 7
    with pytest.raises(ValueError, match="no class 'cow': there are cat, dog"):
        view(str(folder), classes=["cow"])


def test_a_loaders_state_says_which_epoch(folder: Path, tmp_path: Path) -> None:
    loader = fd.Loader(fd.ImageDirectoryDataset(folder, transform=TRANSFORMS["train"], seed=5), 3, shuffle=True)
    loader.set_epoch(7)
    next(iter(loader))
    (tmp_path / "state.json").write_text(json.dumps(loader.state_dict()))
    assert read_run(tmp_path / "state.json") == Run(5, 7, True)
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(StateError, match=r"other\.json: no state of a Loader"):
        read_run(tmp_path / "other.json")


def test_a_bad_sample_stands_in_its_place_with_its_cause(folder: Path, tmp_path: Path) -> None:
    source = copy_of(folder, tmp_path / "source")
    (source / "cat/0.jpg").write_bytes(b"no image")
    sheet = view(str(source), at=12, columns=4)
    grey = [np.all(tile == 211) for tile in tiles(sheet, 4, 12)]
    assert sum(grey) == 1


def test_compared_tiles_come_in_pairs_with_the_box_in_the_source(folder: Path) -> None:
    sheet = view(str(folder), "eval", at=2, columns=2, compare=True)
    (source, shown, *_) = tiles(sheet, 2, 4)
    assert np.any(np.all(source == (255, 0, 0), axis=2))
    number = int(fd.EpochOrder(12).samples(0, 1)[0])
    dataset = fd.ImageDirectoryDataset(folder, transform=TRANSFORMS["eval"])
    np.testing.assert_array_equal(shown, dataset.pair(number, 0)[0].permute(1, 2, 0).numpy())


def test_a_batch_is_shown_with_its_boxes_masks_and_points() -> None:
    images = torch.full((2, 3, 40, 60), 100, dtype=torch.uint8)
    mask = torch.zeros(2, 40, 60, dtype=torch.uint8)
    mask[0, :10, :10] = 1
    targets = {"mask": mask, "boxes": [torch.tensor([[20.0, 20.0, 30.0, 30.0]])] * 2, "label": torch.tensor([0, 1])}
    pixels = np.asarray(show(fd.Batch(images, targets, ["a", "b"]), classes=["cat", "dog"]))
    first = pixels[EDGE : EDGE + 40, EDGE : EDGE + 60]
    assert (first[5, 5] != 100).all()
    assert (first[15, 15] == 100).all()
    assert (first[20, 20:30] == (230, 25, 75)).all()
    second = pixels[EDGE : EDGE + 40, EDGE + 66 : EDGE + 126]
    assert (second[5, 5] == 100).all()
    points = {"points": [torch.tensor([[30.0, 20.0, 2.0], [5.0, 5.0, 0.0]])]}
    dotted = np.asarray(show(fd.Batch(images[:1], points, ["a"])))[EDGE : EDGE + 40, EDGE : EDGE + 60]
    assert (dotted[20, 30] == (230, 25, 75)).all()
    assert (dotted[5, 5] == 100).all()


def test_each_view_is_a_tile_and_normalized_images_are_refused() -> None:
    images = {"wide": torch.zeros(2, 2, 3, 8, 8, dtype=torch.uint8), "near": torch.zeros(2, 3, 3, 8, 8).byte()}
    sheet = show(fd.Batch(images, torch.tensor([0, 1]), ["a", "b"]), columns=5)
    assert sheet.size == (5 * 14 + 6, 2 * (8 + 28 + 6) + 6)
    with pytest.raises(ValueError, match="without normalize="):
        show(fd.Batch(torch.zeros(1, 3, 8, 8), torch.tensor([0]), ["a"]))
    with pytest.raises(ValueError, match="no images"):
        contact_sheet([], 3)


def test_a_long_key_is_cut_at_its_beginning_to_the_tiles_width() -> None:
    tile = Image.new("RGB", (60, 10))
    long, short = (np.asarray(contact_sheet([Tile(tile, (text,))], 1)) for text in ("x" * 500 + "end", "end"))
    assert long.shape == short.shape
    assert (long[:, 66:] == 255).all()


def test_the_command_writes_the_picture(fastdata: Command, dataset: Path, tmp_path: Path) -> None:
    done = fastdata("view", dataset, "--rows", 2, "--columns", 3, "--transform", "none", "--out", tmp_path / "a.png")
    assert done.status == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert done.out == f"{tmp_path}/a.png: {picture.width} x {picture.height} pixels\n"
    failed = fastdata("view", dataset, "--classes", "cow", "--out", tmp_path / "b.png")
    assert (failed.status, failed.err) == (1, "fastdata: no class 'cow': there are cat, dog\n")
    assert not (tmp_path / "b.png").exists()
