"""Several views of each sample: what batches of them are, and what becomes of them on the way.

That they are the same whoever loads them is in test_same_samples.py.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Subset, default_collate

import fastdata as fd
from fastdata.packing.convert import CropReady
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_pattern
from fastdata.transforms.draw import draw, sample_rng
from fastdata.transforms.views import rng_of_view
from support.maps import jitter
from support.numbered import COUNT, TRAIN, iterable, map_style, number_of
from support.pictures import jpeg

BATCH_SIZE = 5
SMALL: list[Any] = [fd.RandomResizedCrop((8, 12), scale=(0.05, 0.4)), fd.RandomHorizontalFlip()]
VIEWS = fd.Views(global_=(2, TRAIN), local=(3, SMALL))
COLOURED = fd.Views(
    global_=(2, [*TRAIN, fd.ColorJitter(0.4), fd.RandomErasing(0.5)]), local=(3, [*SMALL, fd.ColorJitter(0.4)])
)
SHAPES = {"global": (2, 3, 24, 24), "local": (3, 3, 8, 12)}


def images_of(batch: fd.Batch) -> dict[str, Tensor]:
    images: Any = batch.images
    assert isinstance(images, dict)
    return images


def epoch_of(dataset: Any, **how: Any) -> list[fd.Batch]:
    return list(fd.Loader(dataset, BATCH_SIZE, **{"num_threads": 2} | how))


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_batch_has_a_tensor_for_each_group_in_channels_last_memory(folder: Path) -> None:
    batches = epoch_of(map_style(folder, transform=VIEWS))
    assert [len(batch.keys) for batch in batches] == [5] * 7 + [2]
    for batch in batches:
        assert {name: images.shape for name, images in images_of(batch).items()} == {
            name: (len(batch.keys), *shape) for name, shape in SHAPES.items()
        }
        for images in images_of(batch).values():
            assert images.dtype == torch.uint8
            assert images.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert repr(batches[-1]).startswith("Batch(images={'global': uint8 (2, 2, 3, 24, 24), 'local': uint8 (2, 3,")


def test_each_view_is_the_draw_of_its_own_numbers(folder: Path) -> None:
    dataset = map_style(folder, transform=VIEWS)
    for batch in epoch_of(dataset):
        for row, (key, views) in enumerate(zip(batch.keys, batch.views, strict=True)):
            sample = dataset.read(number_of(key))
            header, rng = fd.read_header(sample.image), sample_rng(5, 0, key)
            assert isinstance(views, Sequence)
            drawn = [draw(t, header.size, rng_of_view(rng, n)) for n, t in enumerate(VIEWS.transforms)]
            assert list(views) == drawn
            assert len(set(views)) == len(views)
            shown = [image for images in images_of(batch).values() for image in images[row]]
            for view, image in zip(drawn, shown, strict=True):
                assert np.array_equal(fd.decode(bytes(sample.image), view), image.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("colours", [[], [fd.ColorJitter(0.4), fd.RandomErasing(0.5)]])
def test_the_first_view_is_that_of_the_transform_alone(folder: Path, colours: list[Any]) -> None:
    several = epoch_of(map_style(folder, transform=fd.Views(a=(2, [*TRAIN, *colours]))))
    alone = epoch_of(map_style(folder, transform=[*TRAIN, *colours]))
    for batch, plain in zip(several, alone, strict=True):
        assert torch.equal(images_of(batch)["a"][:, 0], plain.images)
        assert [views[0] for views in batch.views] == plain.views
        assert all((images[0] != images[1]).any() for images in images_of(batch)["a"])


def test_an_item_is_a_pair_of_views_by_name(folder: Path, shards: list[str]) -> None:
    pair = map_style(folder, transform=VIEWS)[4]
    images, target = pair
    assert {name: group.shape for name, group in images.items()} == SHAPES
    assert isinstance(pair.view, Sequence)
    assert (target, pair.key, len(pair.view)) == (4, "004", 5)
    first = next(iter(iterable(shards, transform=VIEWS)))
    assert {name: group.shape for name, group in first[0].items()} == SHAPES
    alone = map_style(folder, transform=VIEWS).load(4, 3)  # one sample's pixels: of the first view
    assert np.array_equal(alone.image, map_style(folder).load(4, 3).image)


# Python 3.12 warns of forking a process with threads, which torch has.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_torch_and_we_collate_them_alike(folder: Path, workers: int) -> None:
    dataset = map_style(folder, transform=COLOURED)
    dataset.set_epoch(0)
    ours = list(DataLoader(dataset, BATCH_SIZE, num_workers=workers, collate_fn=fd.collate))
    theirs = list(DataLoader(dataset, BATCH_SIZE, num_workers=workers, collate_fn=default_collate))
    for batch, (images, _), loaded in zip(ours, theirs, epoch_of(dataset), strict=True):
        assert_equal(images_of(batch), images)
        assert_equal(images_of(batch), images_of(loaded))
        assert [list(views) for views in batch.views] == [list(views) for views in loaded.views]
        for group in images_of(batch).values():
            assert group.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_normalize_and_batch_transform_get_every_group(folder: Path) -> None:
    dataset, normalize = map_style(folder, transform=VIEWS), fd.Normalize.imagenet()
    plain, floats = epoch_of(dataset), epoch_of(dataset, normalize=normalize)
    for batch, normalized in zip(plain, floats, strict=True):
        for name, images in images_of(normalized).items():
            assert images.dtype == torch.float32
            assert images.shape == images_of(batch)[name].shape
            assert torch.equal(images, normalize(images_of(batch)[name]))
            assert images.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
        assert normalized.keys == batch.keys
    joined = epoch_of(dataset, batch_transform=lambda images, targets: (images["global"][:, 1], targets + 1))
    assert torch.equal(joined[0].images, images_of(plain[0])["global"][:, 1])
    assert torch.equal(joined[0].targets, plain[0].targets + 1)


def test_a_batch_moves_and_unpacks_with_all_its_groups(folder: Path) -> None:
    (batch, *_) = epoch_of(map_style(folder, transform=COLOURED), device="meta")
    assert {images.device.type for images in images_of(batch).values()} == {"meta"}
    (batch, *_) = epoch_of(map_style(folder, transform=VIEWS))
    images, targets = batch.to("meta")
    assert {name: (group.device.type, group.shape[1:]) for name, group in images.items()} == {
        name: ("meta", shape) for name, shape in SHAPES.items()
    }
    assert targets.device.type == "meta"
    assert [list(views) for views in batch.to("meta").views] == [list(views) for views in batch.views]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_they_are_the_same(folder: Path) -> None:
    dataset = map_style(folder, transform=COLOURED)
    for ours, expected in zip(epoch_of(dataset, device="cuda"), epoch_of(dataset), strict=True):
        assert_equal(images_of(ours.to("cpu")), images_of(expected))


def test_memory_is_not_lent_again_while_a_group_is_kept(folder: Path) -> None:
    kept, copies = [], []
    for batch in fd.Loader(map_style(folder, transform=VIEWS), BATCH_SIZE, prefetch=1):
        kept.append(images_of(batch)["local"])
        copies.append(kept[-1].clone())
        del batch
    assert all(torch.equal(images, copy) for images, copy in zip(kept, copies, strict=True))


CUT_OFF = jpeg(64, 48, 2)[:-300]


@pytest.mark.parametrize("data", [b"no image", CUT_OFF], ids=["no image", "cut off"])
@pytest.mark.parametrize("device", [None, "meta"])
def test_a_bad_sample_is_skipped_in_all_views(folder: Path, tmp_path: Path, data: bytes, device: str | None) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(data if file.stem == "002" else file.read_bytes())
    dataset = map_style(tmp_path, transform=COLOURED)
    with pytest.raises(fd.DecodeError, match=r"sample '002' in .*002\.jpg") as caught:
        epoch_of(dataset)
    with pytest.raises(fd.DecodeError, match=r"sample '002' in .*002\.jpg"):
        dataset[2]
    loader = fd.Loader(dataset, BATCH_SIZE, on_error="skip", device=device)
    batch = next(iter(loader))
    loader.close()
    assert batch.keys == ["000", "001", "003", "003", "004"]
    assert loader.skipped == [fd.Skipped("002", dataset.where(2), caught.value.cause)]
    assert list(batch.views[2]) == list(batch.views[3])
    if device is None:
        whole = epoch_of(map_style(folder, transform=COLOURED))[0]
        for name, images in images_of(batch).items():
            assert torch.equal(images[2], images[3])
            assert torch.equal(images[[0, 1, 3, 4]], images_of(whole)[name][[0, 1, 3, 4]])


def test_of_samples_that_are_decoded_together_the_bad_one_is_named(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(CUT_OFF if file.stem == "011" else file.read_bytes())
    dataset = map_style(tmp_path, transform=VIEWS)
    prepared: Any = dataset.prepare(range(14), 0).samples
    rows = [np.empty((image.view.window.height, image.view.window.width, 3), np.uint8) for image in _images(prepared)]
    errors = dataset.decode_into(prepared, rows).errors
    assert [error and error.key for error in errors] == [*[None] * 11, "011", None, None]
    with pytest.raises(fd.DecodeError, match="sample '011'"):
        dataset.__getitems__(range(14))


def _images(prepared: list[Any]) -> list[Any]:
    return [image for sample in prepared for image in sample.images]


def test_an_image_that_one_of_the_transforms_has_no_view_of_is_a_bad_sample(folder: Path) -> None:
    dataset = map_style(folder, transform=fd.Views(small=(1, TRAIN), large=(1, [fd.RandomCrop(40)])))
    loader = fd.Loader(dataset, COUNT, on_error="skip")
    (batch,) = loader
    assert [skipped.key for skipped in loader.skipped] == [f"{number:03}" for number in range(2, COUNT, 3)]
    assert batch.keys[:4] == ["000", "001", "003", "003"]
    with pytest.raises(fd.DrawError, match="sample '002'"):
        dataset[2]


@pytest.fixture(scope="module")
def crop_ready(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Photos that are large enough for restart markers to spare something, as they are and in crop-ready shards."""
    root, packed = tmp_path_factory.mktemp("large"), tmp_path_factory.mktemp("crop-ready")
    for number in range(6):
        (root / f"{number:03}.jpg").write_bytes(jpeg(400, 300, number))
    pack(scan_pattern(root, "*", number_of), packed, division=ShardCount(2), jpeg=CropReady())
    return root, [str(path) for path in sorted(packed.glob("*.tar"))]


@pytest.mark.parametrize("kernel", [True, False])
def test_crop_ready_shards_give_the_same_views(
    crop_ready: tuple[Path, list[str]], kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernel:
        monkeypatch.setattr("fastdata.images.kernel.KERNEL", None)
    folder, shards = crop_ready
    assert fd.is_crop_ready(fd.TarImageMapDataset(shards).read(0).image)
    for epoch in range(3):
        ours, plain = (
            fd.Loader(dataset, 6) for dataset in (iterable(shards, transform=VIEWS), map_style(folder, transform=VIEWS))
        )
        ours.set_epoch(epoch)
        plain.set_epoch(epoch)
        (ours_batch,), (plain_batch,) = ours, plain
        assert_equal(images_of(ours_batch), images_of(plain_batch))


class TestOfSeveralDatasets:
    def test_a_subset_and_a_selection_have_the_same_views(self, folder: Path) -> None:
        dataset = map_style(folder, transform=COLOURED)
        numbers = [7, 3, 12, 3]
        ((whole, *_)) = fd.Loader(dataset, COUNT)
        for some in (Subset(dataset, numbers), dataset.select(numbers=numbers)):
            (batch,) = epoch_of(some)
            assert_equal(images_of(batch), {name: images[numbers] for name, images in images_of(whole).items()})

    def test_datasets_one_after_the_other_have_each_ones_views_and_colours(
        self, folder: Path, shards: list[str]
    ) -> None:
        parts: list[Any] = [map_style(folder, transform=COLOURED), fd.TarImageMapDataset(shards, VIEWS, seed=6)]
        together: dict[str, list[Tensor]] = {name: [] for name in SHAPES}
        for batch in epoch_of(ConcatDataset(parts)):
            for name, images in images_of(batch).items():
                together[name] += list(images)
        ((one, *_), (other, *_)) = (list(fd.Loader(part, COUNT)) for part in parts)
        for name, joined in together.items():
            assert torch.equal(torch.stack(joined), torch.cat([images_of(one)[name], images_of(other)[name]]))

    def test_a_mix_has_them(self, folder: Path, shards: list[str]) -> None:
        parts = {"a": (map_style(folder, transform=VIEWS), 1), "b": (iterable(shards, transform=COLOURED), 1)}
        batches = epoch_of(fd.Mix(parts, num_samples=10))
        assert [{name: images.shape[1:] for name, images in images_of(b).items()} for b in batches] == [SHAPES] * 2

    def test_other_groups_or_sizes_can_not_be_one(self, folder: Path) -> None:
        ours = map_style(folder, transform=VIEWS)
        for other in (TRAIN, fd.Views(a=(2, TRAIN), local=(3, SMALL)), fd.Views(global_=(3, TRAIN), local=(3, SMALL))):
            with pytest.raises(ValueError, match="come out in different sizes can't be one"):
                fd.Loader(ConcatDataset([ours, map_style(folder, transform=other)]), BATCH_SIZE)


def test_what_goes_with_one_image_only_is_refused_at_once(folder: Path, shards: list[str]) -> None:
    with pytest.raises(ValueError, match="map= is of one image, and Views has several: put steps into"):
        map_style(folder, transform=VIEWS, map=jitter)
    with pytest.raises(ValueError, match="DALI decodes one view of an image: decoder='cpu' decodes several"):
        fd.Loader(map_style(folder, transform=VIEWS), BATCH_SIZE, decoder="dali")
    with pytest.raises(ValueError, match=r"decoder must be 'cpu', 'dali' or a Dali.*, got 'gpu'"):
        fd.Loader(map_style(folder, transform=VIEWS), BATCH_SIZE, decoder="gpu")  # type: ignore[arg-type]
    for field in (fd.Mask("png"), fd.Boxes("json"), fd.Points("npy")):
        for make in (
            lambda field: fd.TarImageDataset(shards, VIEWS, target=field),
            lambda field: fd.ImageDirectoryDataset(folder, "*", VIEWS, None, fields={"number": "txt", "it": field}),
        ):
            with pytest.raises(ValueError, match="masks, boxes and points follow one view of an image, and Views has"):
                make(field)
