"""A contact sheet shows the very pixels that training sees, of the samples that it says."""

import base64
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

import fastdata as fd
from fastdata.commands.inline import inline, protocol
from fastdata.commands.sheet import Tile, contact_sheet, show
from fastdata.commands.view import FIRST, SIDE, TRANSFORMS, Run, Step, _chosen, read_run, view
from fastdata.commands.view_options import ShownOptions
from fastdata.errors import StateError
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_pattern
from fastdata.sources.tars.writer import ShardWriter
from support.annotated import COUNT, write_folder
from support.annotated import write_shards as write_annotated
from support.commands import Command
from support.packed import copy_of
from support.pictures import encoded
from support.processes import read_terminal

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
    sheet = view(str(folder), transform, Run(3, 2), 7, 4).picture  # type: ignore[arg-type]
    numbers = fd.EpochOrder(12, True, 3, 2).samples(0, 7).tolist()
    for tile, number in zip(tiles(sheet, 4, 7), numbers, strict=True):
        np.testing.assert_array_equal(tile, dataset.pair(number, 2)[0].permute(1, 2, 0).numpy())


def test_a_folder_and_its_shards_are_the_same_picture(folder: Path, dataset: Path) -> None:
    expected = np.asarray(view(str(folder), at=12).picture)
    for what in (dataset, dataset / "train.json", f"{dataset}/*.tar"):
        np.testing.assert_array_equal(np.asarray(view(str(what), at=12).picture), expected)


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
    run = read_run(tmp_path / "state.json")
    assert run[:3] == (5, 7, True)
    view(str(folder), run=run, at=2)
    with pytest.raises(StateError, match=r"another dataset's or order's: fingerprint is .*; samples is 12 in the"):
        view(str(folder / "dog"), run=run, at=2)
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(StateError, match=r"other\.json: no state of a Loader"):
        read_run(tmp_path / "other.json")


def test_a_bad_sample_stands_in_its_place_with_its_cause(folder: Path, tmp_path: Path) -> None:
    source = copy_of(folder, tmp_path / "source")
    (source / "cat/0.jpg").write_bytes(b"no image")
    sheet = view(str(source), at=12, columns=4).picture
    grey = [np.all(tile == 211) for tile in tiles(sheet, 4, 12)]
    assert sum(grey) == 1
    pairs = view(str(source), at=12, columns=4, compare=True)
    assert sum(np.all(tile == 211) for tile in tiles(pairs.picture, 4, 24)) == 2
    assert pairs.unshown.startswith("1 of 12 samples can't be shown; the first: 'cat/0' in ")


def test_of_nothing_but_bad_samples_no_picture_is_written(fastdata: Command, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "sheet.png"
    photos.mkdir()
    for number in range(5):
        (photos / f"{number}.jpg").write_bytes(b"no image")
    out.write_bytes(b"of yesterday")
    done = fastdata("view", photos, "--out", out)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("fastdata: none of 5 samples can be shown, so there is no picture: '")
    assert done.err.count("neither JPEG") == 3
    assert out.read_bytes() == b"of yesterday"
    shown = json.loads(fastdata("view", photos, "--out", out, "--json").out)
    assert shown["out"] is None
    assert all(sample["cause"].startswith("neither JPEG") for sample in shown["samples"])


def test_pairs_stand_beside_each_other_in_an_even_number_of_columns() -> None:
    assert [ShownOptions(columns=columns, compare=True).across() for columns in (1, 2, 3)] == [2, 2, 4]
    assert ShownOptions(columns=3).across() == 3


def test_compared_tiles_come_in_pairs_with_the_box_in_the_source(folder: Path) -> None:
    sheet = view(str(folder), "eval", at=2, columns=2, compare=True).picture
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


def test_the_samples_shown_come_as_json_with_their_places(fastdata: Command, dataset: Path, tmp_path: Path) -> None:
    done = fastdata("view", dataset, "--step", 1, "--batch-size", 3, "--out", tmp_path / "a.png", "--json")
    shown = json.loads(done.out)
    packed = fd.TarImageMapDataset(sorted(dataset.glob("*.tar")))
    numbers = fd.EpochOrder(12).samples(3, 6).tolist()
    assert shown["samples"] == [{"key": packed.key(n), "where": packed.where(n), "cause": ""} for n in numbers]
    with Image.open(tmp_path / "a.png") as picture:
        assert (shown["width"], shown["height"], shown["out"]) == (*picture.size, f"{tmp_path}/a.png")
    for extension in ("xyz", "psd"):  # Pillow reads the latter
        refused = fastdata("view", dataset, "--out", tmp_path / f"a.{extension}")
        assert refused.status == 2
        assert "no picture is written with this" in refused.err


FIELD_OPTIONS = ["--masks", "seg.png", "--boxes", "json:objects.bbox", "--box-format", "xywh"]
FIELD_OPTIONS += ["--box-labels", "objects.category", "--points", "npy", "--target", "json:id"]


@pytest.mark.parametrize("write", [write_folder, write_annotated])
def test_fields_are_drawn_into_what_training_sees(
    fastdata: Command, tmp_path: Path, write: Callable[[Path], Any]
) -> None:
    write(tmp_path)
    out = tmp_path / "a.png"
    pattern = [] if write is write_annotated else ["--pattern", "**/*.jpg"]
    done = fastdata("view", tmp_path, *FIELD_OPTIONS, *pattern, "--columns", 4, "--rows", 3, "--out", out)
    assert (done.status, done.err) == (0, "")
    shards = sorted(map(str, tmp_path.glob("*.tar")))
    fields: dict[str, Any] = {
        "target": fd.Json("json", "id"),
        "masks": fd.Mask("seg.png"),
        "boxes": fd.Boxes("json", "objects.bbox", "xywh", "objects.category"),
        "points": fd.Points("npy"),
    }
    source: Any = (
        fd.TarImageMapDataset(shards, TRANSFORMS["train"], target=fields)
        if shards
        else fd.ImageDirectoryDataset(tmp_path, transform=TRANSFORMS["train"], fields=fields, pattern="**/*.jpg")
    )
    with Image.open(out) as sheet:
        for tile, number in zip(tiles(sheet, 4, COUNT), fd.EpochOrder(COUNT).samples(0, COUNT).tolist(), strict=True):
            image, target = source.pair(number, 0)
            expected = np.asarray(show(fd.Batch(image[None], [dict(target)], ["a"])))
            np.testing.assert_array_equal(tile, expected[EDGE : EDGE + SIDE, EDGE : EDGE + SIDE])


def test_fields_of_large_images_are_drawn_before_these_are_made_small(tmp_path: Path) -> None:
    pixels, mask = np.zeros((900, 1200, 3), np.uint8), np.zeros((900, 1200), np.uint8)
    mask[:450, :600] = 1
    with ShardWriter(tmp_path / "a.tar") as shard:
        shard.write("a", {"jpg": encoded(pixels, "PNG"), "seg.png": encoded(mask, "PNG", mode="L")})
    picture = np.asarray(view(str(tmp_path), "none", fields={"masks": fd.Mask("seg.png")}).picture)
    tile = picture[EDGE : EDGE + 168, EDGE : EDGE + SIDE]
    assert (tile[20:60, 20:90] != 0).any(axis=2).all()
    assert (tile[100:, 130:] == 0).all()


def test_labels_stand_at_their_boxes() -> None:
    image, boxes = torch.zeros(1, 3, 100, 100).byte(), torch.tensor([[30.0, 30.0, 80.0, 80.0]])
    plain = np.asarray(show(fd.Batch(image, [{"boxes": boxes}], ["a"])))
    labelled = np.asarray(show(fd.Batch(image, [{"boxes": boxes, "labels": torch.tensor([7])}], ["a"])))
    changed = np.argwhere((plain != labelled).any(axis=2)[EDGE : EDGE + 100, EDGE : EDGE + 100])
    assert len(changed) > 20
    assert (changed.min(axis=0) >= 30).all()
    assert (changed.max(axis=0) < 60).all()


def test_shards_without_classes_show_their_images(folder: Path, tmp_path: Path) -> None:
    pack(scan_pattern(folder), tmp_path, division=ShardCount(1), jobs=1)
    packed = view(str(tmp_path), at=4, columns=2).picture
    assert not any(np.all(tile == 211) for tile in tiles(packed, 2, 4))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--box-labels", "a"], "belong to --boxes"),
        (["--box-format", "xywh"], "belong to --boxes"),
        (["--target", "abc"], "fd.Raw"),
        (["--classes", "cat", "--step", "0"], "leave --classes out"),
        (["--rank", "0"], "belong to --step"),
        (["--seed", "0", "--state", __file__], "--state says which"),
        (["--state", "x.json"], "Invalid value for '--state': File 'x.json' does not exist"),
        (["--step", "0", "--rank", "3", "--world-size", "2"], "there are ranks 0 to 1"),
    ],
)
def test_options_of_fields_that_say_nothing_are_refused(
    fastdata: Command, dataset: Path, options: list[str], problem: str
) -> None:
    done = fastdata("view", dataset, *options)
    assert done.status in (1, 2)
    assert problem in " ".join(done.err.replace("│", " ").split())


def in_a_terminal(what: Path, directory: Path, **environment: str) -> bytes:
    """What the command writes on a terminal that has set these variables, in a folder."""
    ours, theirs = pty.openpty()
    known = {name: value for name, value in os.environ.items() if not name.startswith(("TERM", "TMUX", "KITTY", "LC_"))}
    command = [sys.executable, "-m", "fastdata", "view", str(what), "--rows", "1", "--columns", "2"]
    with subprocess.Popen(command, stdout=theirs, cwd=directory, env=known | environment) as running:
        os.close(theirs)
        written = bytearray()
        while chunk := read_terminal(ours):
            written += chunk
        assert running.wait() == 0
    os.close(ours)
    return bytes(written)


def test_terminals_that_can_show_the_picture_itself(dataset: Path, tmp_path: Path) -> None:
    expected = np.asarray(view(str(dataset), at=2, columns=2).picture)
    kitty = in_a_terminal(dataset, tmp_path, TERM="xterm-kitty")
    chunks = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", kitty)
    assert chunks[0][0].startswith(b"a=T,f=100,q=2,c=")
    assert [control[-3:] for control, _ in chunks] == [b"m=1"] * (len(chunks) - 1) + [b"m=0"]
    assert max(len(data) for _, data in chunks) <= 4096
    shown = base64.b64decode(b"".join(data for _, data in chunks))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(shown))), expected)
    assert list(tmp_path.iterdir()) == []


def test_other_terminals_get_a_file_and_its_name(dataset: Path, tmp_path: Path) -> None:
    assert in_a_terminal(dataset, tmp_path, TERM="xterm-256color").startswith(b"view.png: ")
    assert [file.name for file in tmp_path.iterdir()] == ["view.png"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, None),
        ({"TERM": "xterm-256color"}, None),
        ({}, None),
    ],
)
def test_what_a_terminal_can_show_is_known_by_its_variables(environment: dict[str, str], expected: str | None) -> None:
    assert protocol(environment) == expected


def test_iterm2_gets_the_whole_picture_in_one_piece() -> None:
    match = re.fullmatch(r"\x1b\]1337;File=inline=1;size=3;width=100%:(.*)\x07\n", inline(b"abc", "iterm2"))
    assert match is not None
    assert base64.b64decode(match[1]) == b"abc"
