"""Crop-ready shards are shards like others: every reader gets the pixels of the plain ones."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import webdataset
from PIL import Image

from fastdata.datasets.shards import TarImageDataset
from fastdata.images.cut import is_crop_ready
from fastdata.packing.convert import CropReady
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from fastdata.sources.tars.webdataset import dali_index
from fastdata.transforms.steps import CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize, Step
from fastdata.transforms.transform import Transform
from support.pictures import jpeg
from support.tars import tool

Pixels = npt.NDArray[np.uint8]
Shards = dict[str, Path]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """The same eight photos as they are and crop-ready, each in one shard."""
    tool("jpegtran")
    root = tmp_path_factory.mktemp("photos")
    (root / "photos" / "class").mkdir(parents=True)
    for number in range(8):
        options = {"progressive": True} if number == 3 else {"orientation": 6} if number == 5 else {}
        photo = jpeg(500 - 7 * number, 375 + 5 * number, number, **options)
        (root / "photos" / "class" / f"{number}.jpg").write_bytes(photo)
    scan = scan_classes(root / "photos")
    pack(scan, root / "plain", division=ShardCount(1), jobs=1)
    pack(scan, root / "ready", division=ShardCount(1), jobs=1, jpeg=CropReady())
    return {kind: root / kind / "train-000000.tar" for kind in ("plain", "ready")}


def images(shard: Path) -> list[bytes]:
    dataset = TarImageDataset(shard)
    return [dataset.read(index).image for index in range(dataset.num_samples)]


def test_all_of_a_crop_ready_shard_is_crop_ready_and_nothing_of_a_plain_one(shards: Shards) -> None:
    assert [is_crop_ready(image) for image in images(shards["ready"])] == [True] * 8
    assert [is_crop_ready(image) for image in images(shards["plain"])] == [False] * 8


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(
    "steps", [[RandomResizedCrop(64), RandomHorizontalFlip()], [Resize(256), CenterCrop(64)], [CenterCrop(100)]]
)
def test_fastdata_gets_the_same_pixels_from_both(shards: Shards, steps: list[Step], antialias: bool) -> None:
    transform = Transform(steps, antialias=antialias)
    plain, ready = (TarImageDataset(shards[kind], transform=transform) for kind in ("plain", "ready"))
    for epoch in range(5):
        plain.set_epoch(epoch)
        ready.set_epoch(epoch)
        for (a, _), (b, _) in zip(plain, ready, strict=True):
            assert np.array_equal(a, b)


def by_pillow(image: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(image)))


def by_opencv(image: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize("decode", [by_pillow, by_opencv])
def test_other_decoders_get_the_same_pixels_from_both(shards: Shards, decode: Callable[[bytes], Pixels]) -> None:
    for plain, ready in zip(images(shards["plain"]), images(shards["ready"]), strict=True):
        assert np.array_equal(decode(plain), decode(ready))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves files open
def test_webdataset_gets_the_same_pixels_from_both(shards: Shards) -> None:
    plain, ready = (
        list(webdataset.WebDataset([str(shards[kind])], shardshuffle=False).decode("rgb8").to_tuple("__key__", "jpg"))
        for kind in ("plain", "ready")
    )
    assert [key for key, _ in plain] == [key for key, _ in ready] == [f"class/{number}" for number in range(8)]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(plain, ready, strict=True))


def test_dalis_reader_gets_the_same_pixels_from_both(shards: Shards) -> None:
    plain, ready = (by_dali(shards[kind]) for kind in ("plain", "ready"))
    assert len(plain) == 8
    assert all(np.array_equal(a, b) for a, b in zip(plain, ready, strict=True))


def by_dali(shard: Path) -> list[Pixels]:
    """All images, by DALI's own reader and decoder."""
    from nvidia.dali import fn, pipeline_def

    index = shard.with_suffix(".idx")
    index.write_text(dali_index(shard))

    @pipeline_def(batch_size=8, num_threads=1, device_id=None)  # type: ignore[untyped-decorator, unused-ignore]
    def pipeline() -> object:
        encoded = fn.readers.webdataset(paths=[str(shard)], index_paths=[str(index)], ext=["jpg"])
        return fn.decoders.image(encoded, device="cpu")

    pipe = pipeline()
    pipe.build()
    (decoded,) = pipe.run()
    return [np.array(decoded.at(row)) for row in range(8)]
