"""`fastdata demo` makes photos of its own, and measures."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastdata.commands.demo import PHOTO_SIZE, make_photos
from fastdata.sources.shard import Shard
from support.commands import Command


def test_the_demos_photos_are_a_function_of_the_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("again", 0), ("b", 1)):
        make_photos(tmp_path / name, 5, seed)
    contents = {
        name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.jpg"))] for name in ("a", "again", "b")
    }
    assert contents["a"] == contents["again"]
    assert not set(contents["a"]) & set(contents["b"])
    for data in contents["a"]:
        assert 60_000 < len(data) < 150_000
    with Image.open(next((tmp_path / "a").rglob("*.jpg"))) as image:
        assert image.size == PHOTO_SIZE


def test_the_demo_shows_speeds_and_a_picture_and_runs_again(
    fastdata: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastdata.commands.demo._SECONDS", 0.1)
    directory = tmp_path / "demo [1]"  # a glob would look for "demo 1"
    for _ in range(2):
        result = fastdata("demo", directory, "--images", 12)
        assert (result.status, result.err.count("\n")) == (0, 3)
        assert result.out.count("DataLoader") == 2
        assert f"{directory / 'batch.png'}" in result.out
    with Image.open(directory / "batch.png") as image:
        assert image.size == (8 * (224 + 6) + 6, 2 * (224 + 2 * 14 + 6) + 6)  # two lines of text below each
        tile = np.asarray(image)[6 : 6 + 224, 6 : 6 + 224]
    assert tile.std() > 5
    shards = (directory / "shards-12").glob("*.tar")
    counts = Counter(target for path in shards for target in Shard(path).rows["cls"].tolist())
    assert counts == {0: 3, 1: 3, 2: 3, 3: 3}
