"""Images are checked when they are packed, and not again by who trains on them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdata.datasets.prepared import Prepared
from fastdata.datasets.shards import TarImageDataset
from fastdata.images import kernel
from fastdata.images.jobs import JOB
from fastdata.packing.convert import CropReady
from fastdata.packing.origins.collect import collect
from fastdata.packing.pack import pack
from fastdata.packing.plan import SamplesPerShard
from fastdata.sources import manifest
from fastdata.sources.folder import scan_classes
from fastdata.sources.shard import Shard
from fastdata.transforms.steps import CenterCrop, TransformStep
from support.pictures import encoded, jpeg, photo

pytestmark = pytest.mark.skipif(kernel.KERNEL is None, reason="the kernel is not built")


STEPS: list[TransformStep] = [CenterCrop(32)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photos and a PNG."""
    (tmp_path / "photos" / "class").mkdir(parents=True)
    for number in range(4):
        (tmp_path / "photos" / "class" / f"{number}.jpg").write_bytes(jpeg(320, 240, number))
    (tmp_path / "photos" / "class" / "4.png").write_bytes(encoded(photo(40, 40), "PNG"))
    return tmp_path / "photos"


def truncated(file: Path) -> None:
    """The file with grey in its lower half, which is damage."""
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2 - 2) + b"\xff\xd9")


def packed(folder: Path, out: Path, **how: Any) -> list[bool]:
    (made,) = pack(scan_classes(folder), out, division=SamplesPerShard(2), jobs=1, **how)
    assert manifest.load(out / "train.json") == made
    return [shard.checked for shard in made.shards]


def damage_below(shard: Path) -> None:
    """An end of image before the end of a shard's first image, in place."""
    rows = Shard(shard).rows
    offset, size = rows[".jpg"][0].item()
    with shard.open("r+b") as file:
        file.seek(offset + size - 400)
        file.write(b"\xff\xd9")


def verdicts(directory: Path) -> list[Any]:
    """The kernel's, of the four photos. (What it finds damaged the reference decodes as Pillow does, with grey.)"""
    prepared = TarImageDataset(str(directory / "train-*.tar"), STEPS).prepare(range(4), 0).samples
    images = [sample.image for sample in prepared if isinstance(sample, Prepared)]
    rows = [np.empty((32, 32, 3), np.uint8) for _ in images]
    jobs = np.frombuffer(b"".join(image.job for image in images), JOB)
    return [kernel.Status(status) for status in kernel.decode([image.data for image in images], jobs, rows).tolist()]


@pytest.mark.parametrize("jpeg", [CropReady(), None])
def test_what_was_checked_is_not_read_to_its_end_again(folder: Path, tmp_path: Path, jpeg: Any) -> None:
    how = {} if jpeg is None else {"jpeg": jpeg}
    assert packed(folder, tmp_path / "checked", **how) == [True, True, True]
    assert packed(folder, tmp_path / "plain", check=False, **how) == [False, False, False]
    for name in ("checked", "plain"):
        damage_below(tmp_path / name / "train-000000.tar")
    assert verdicts(tmp_path / "checked") == [kernel.Status.DONE] * 4
    assert verdicts(tmp_path / "plain") == [kernel.Status.WARNING, *[kernel.Status.DONE] * 3]


def test_a_damaged_image_leaves_its_shard_unchecked_and_is_counted(folder: Path, tmp_path: Path) -> None:
    truncated(folder / "class" / "2.jpg")
    assert packed(folder, tmp_path / "out") == [True, False, True]
    assert manifest.load(tmp_path / "out" / "train.json").made.damaged == 1


@pytest.mark.parametrize("more", [512, -512])
def test_a_shard_of_another_size_is_not_the_one_that_was_checked(folder: Path, tmp_path: Path, more: int) -> None:
    packed(folder, tmp_path / "out")
    damage_below(tmp_path / "out" / "train-000000.tar")
    document = json.loads((tmp_path / "out" / "train.json").read_text())
    document["shardlist"][0]["filesize"] += more
    (tmp_path / "out" / "train.json").write_text(json.dumps(document))
    assert verdicts(tmp_path / "out")[0] == kernel.Status.WARNING


def test_a_field_that_may_be_loaded_as_the_image_is_checked_as_well(folder: Path, tmp_path: Path) -> None:
    for number in range(5):
        (folder / "class" / f"{number}.depth.jpg").write_bytes(jpeg(320, 240, number))
    truncated(folder / "class" / "0.depth.jpg")
    source = collect(folder, "**/[0-9].*g", fields=["depth.jpg"])
    (made,) = pack(source, tmp_path / "out", division=SamplesPerShard(2), jobs=1)
    assert [shard.checked for shard in made.shards] == [False, True, True]
