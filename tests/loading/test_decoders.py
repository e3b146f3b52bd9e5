"""What holds whichever way a Loader decodes: the contract of the decoders "cpu" and "dali"."""

import gc
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.errors import SampleError, TooManySkippedError
from fastdata.loading.loader import Loader
from fastdata.loading.skipping import Skipped
from fastdata.sample import Batch
from fastdata.transforms.steps import CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize
from fastdata.transforms.transform import Transform
from support.forks import Run, prepared
from support.numbered import COUNT, TRAIN, iterable, map_style, write_folder
from support.pictures import encoded, jpeg, photo
from support.processes import assert_no_more_threads_than, run_python, threads
from support.programs import FORKED, INTERRUPTED

BAD = (3, 10, 11, 18)


@pytest.fixture(scope="module", params=["cpu", "dali"])
def decoder(request: pytest.FixtureRequest) -> str:
    if request.param == "dali":
        pytest.importorskip("nvidia.dali", reason="DALI is not installed: pip install 'fastdata-images[dali]'")
    return str(request.param)


@pytest.fixture(scope="module")
def run_forked(decoder: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """What a program prints that finds torch, fastdata and the decoder imported."""
    modules = ["nvidia.dali.fn"] if decoder == "dali" else []
    with prepared(tmp_path_factory.mktemp("forked"), *modules) as run:
        yield run


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bad in every way that a decoder could find out in its own time: at the header, or when it decodes."""
    root = write_folder(tmp_path_factory.mktemp("damaged"))
    image = jpeg(64, 48)
    tables, scan = image.index(b"\xff\xc4"), image.index(b"\xff\xda")
    for number, data in zip(
        BAD,
        (
            b"no image",
            image[: len(image) - 200],
            image[: tables + 5] + b"\xff" * 15 + image[tables + 20 :],  # impossible Huffman codes
            image[: scan + 300] + b"\xff\xc4\x00\x05" + image[scan + 304 :],  # a marker in the midst of the scan
        ),
        strict=True,
    ):
        (root / f"{number:03}.jpg").write_bytes(data)
    return root


def assert_alike(ours: list[Batch], expected: list[Batch]) -> None:
    """The same samples and views: another crop of these photos would differ by tens of levels."""
    assert [batch.targets.tolist() for batch in ours] == [batch.targets.tolist() for batch in expected]
    for our, other in zip(ours, expected, strict=True):
        difference = np.abs(our.images.numpy().astype(int) - other.images.numpy())
        assert difference.mean((1, 2, 3)).max() < 1
        assert np.percentile(difference, 99.9) < 8


@pytest.mark.parametrize("shuffle", [False, True])
def test_order_targets_and_views_are_the_datasets(folder: Path, shards: list[str], decoder: Any, shuffle: bool) -> None:
    expected = Loader(map_style(folder), 8, shuffle=shuffle)
    from_folder = Loader(map_style(folder), 8, shuffle=shuffle, decoder=decoder, num_threads=2)
    from_shards = Loader(iterable(shards, shuffle=shuffle), 8, decoder=decoder)
    for epoch in (0, 3):
        for loader in (expected, from_folder, from_shards):
            loader.set_epoch(epoch)
        batches = list(expected)
        assert_alike(list(from_folder), batches)
        assert_alike(list(from_shards), batches)


@pytest.mark.parametrize(
    "transform",
    [
        Transform(TRAIN, antialias=False),
        Transform([Resize(30), CenterCrop(24)]),
        Transform([Resize(20), CenterCrop((26, 24)), RandomHorizontalFlip()]),  # padded with black
        Transform([CenterCrop(30)]),
        Transform([Resize((20, 70)), RandomHorizontalFlip(1.0)], antialias=False),
        Transform([RandomHorizontalFlip(1.0), RandomResizedCrop((40, 10)), CenterCrop(8)]),
    ],
)
def test_any_transform(folder: Path, decoder: Any, transform: Transform) -> None:
    loader = Loader(map_style(folder, transform=transform), 16, decoder=decoder)
    assert_alike(list(loader), list(Loader(map_style(folder, transform=transform), 16)))


def test_images_are_uint8_nchw_in_channels_last_memory(folder: Path, decoder: Any) -> None:
    for images, _ in Loader(map_style(folder), 6, decoder=decoder):
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (3, 24, 24)
        assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("last", ["partial", "drop", "pad"])
def test_ranks_share_an_epoch(folder: Path, decoder: Any, last: Any) -> None:
    for rank in range(2):
        options = {"last": last, "shuffle": True, "rank": rank, "world_size": 2}
        loader = Loader(map_style(folder), 5, decoder=decoder, **options)
        assert_alike(list(loader), list(Loader(map_style(folder), 5, **options)))


@pytest.mark.parametrize("prefetch", [1, 2, 5])
def test_fewer_batches_than_may_be_under_way(folder: Path, decoder: Any, prefetch: int) -> None:
    loader = Loader(map_style(folder), 30, decoder=decoder, prefetch=prefetch)
    assert [len(images) for images, _ in loader] == [30, COUNT - 30]


@pytest.mark.parametrize("received", [0, 1, 4])
def test_a_new_loader_goes_on_at_the_very_next_sample(folder: Path, decoder: Any, received: int) -> None:
    whole = Loader(map_style(folder), 6, shuffle=True)
    whole.set_epoch(2)
    first = Loader(map_style(folder), 6, shuffle=True, decoder=decoder)
    first.set_epoch(2)
    batches = iter(first)
    begun = [next(batches) for _ in range(received)]
    state = json.loads(json.dumps(first.state_dict()))
    second = Loader(map_style(folder), 6, shuffle=True, decoder=decoder)
    second.load_state_dict(state)
    assert_alike(begun + list(second), list(whole))


def test_the_batches_of_an_epoch_do_not_change_while_they_are_kept(folder: Path, decoder: Any) -> None:
    loader = Loader(map_style(folder), 4, decoder=decoder, prefetch=2)
    kept, copies = [], []
    for images, _ in loader:
        kept.append(images)
        copies.append(images.clone())
    loader.set_epoch(1)
    assert len(list(loader)) == len(kept)
    assert all(torch.equal(images, copy) for images, copy in zip(kept, copies, strict=True))


def _told(skipped: Skipped) -> Skipped:
    return skipped._replace(cause=re.sub("0x[0-9a-f]+", "", skipped.cause))


def test_bad_samples_are_skipped_alike(damaged: Path, decoder: Any) -> None:
    ours = Loader(map_style(damaged), 6, on_error="skip", decoder=decoder)
    expected = Loader(map_style(damaged), 6, on_error="skip")
    assert_alike(list(ours), list(expected))
    assert [skipped.key for skipped in ours.skipped] == [f"{number:03}" for number in BAD]
    assert [_told(skipped) for skipped in ours.skipped] == [_told(skipped) for skipped in expected.skipped]


def test_a_bad_sample_is_raised_where_its_batch_would_have_been(damaged: Path, decoder: Any) -> None:
    batches = iter(Loader(map_style(damaged), 2, decoder=decoder, prefetch=6))
    assert next(batches).targets.tolist() == [0, 1]
    with pytest.raises(SampleError, match=r"sample '003' in .*003\.jpg: neither JPEG"):
        next(batches)


def test_a_batch_without_a_good_sample_is_an_error(damaged: Path, decoder: Any) -> None:
    loader = Loader(map_style(damaged), 2, on_error="skip", decoder=decoder)
    with pytest.raises(SampleError, match="sample '010'"):
        list(loader)


def test_the_budget_of_skipped_samples_ends_the_run(damaged: Path, decoder: Any) -> None:
    loader = Loader(map_style(damaged), 6, on_error="skip", max_skipped=2, decoder=decoder)
    with pytest.raises(TooManySkippedError, match="3 samples"):
        list(loader)


def test_a_photo_of_every_kind(tmp_path: Path, decoder: Any) -> None:
    """16 bit, palettes, CMYK and other formats come out as the CPU decoder has them, whoever decodes them."""
    pixels = photo(60, 50)
    files = {
        "png": encoded(pixels, "PNG"),
        "palette.png": encoded(pixels, "PNG", mode="P"),
        "alpha.png": encoded(pixels, "PNG", mode="RGBA"),
        "webp": encoded(pixels, "WEBP"),
        "grey.jpg": encoded(pixels, mode="L"),
        "cmyk.jpg": encoded(pixels, mode="CMYK"),
        "rgb.jpg": encoded(pixels, keep_rgb=True),
        "progressive.jpg": encoded(pixels, progressive=True),
        "trailer.jpg": encoded(pixels) + b"what a camera has to add",
    }
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        files[f"{subsampling}.jpg"] = encoded(pixels, subsampling=subsampling)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    grey = np.linspace(0, 65535, 50 * 60).astype(np.uint16).reshape(50, 60)
    Image.fromarray(grey).save(tmp_path / "16bit.png")

    def batches(decoder: Any) -> list[Batch]:
        dataset = ImageDirectoryDataset(tmp_path, pattern="*", labels=None, transform=TRAIN)
        return list(Loader(dataset, 4, decoder=decoder))

    assert_alike(batches(decoder), batches("cpu"))


@pytest.mark.parametrize("how", ["end", "break", "close", "drop", "error"])
def test_no_thread_is_left_behind(folder: Path, damaged: Path, decoder: Any, how: str) -> None:
    list(Loader(map_style(folder), 8, decoder=decoder))
    before = threads()
    root = damaged if how == "error" else folder
    loader = Loader(map_style(root), 1, num_threads=3, decoder=decoder)
    batches = iter(loader)
    kept = [next(batches), next(batches)]
    gc.collect()
    gc.disable()
    try:
        if how == "end":
            list(batches)
        elif how in ("break", "drop"):
            del batches
        elif how == "close":
            loader.close()
            with pytest.raises(RuntimeError, match="was closed: iterate over the Loader again"):
                next(batches)
        else:
            with pytest.raises(SampleError):
                list(batches)
        assert_no_more_threads_than(before)
        assert len(kept) == 2
    finally:
        gc.enable()


def test_two_loaders_at_once(folder: Path, shards: list[str], decoder: Any) -> None:
    train = Loader(map_style(folder), 4, decoder=decoder)
    validate = Loader(iterable(shards), 4, decoder=decoder)
    pairs = list(zip(train, validate, strict=True))
    assert_alike([ours for ours, _ in pairs], [theirs for _, theirs in pairs])


PREPARED = """
import os, signal, sys
from fastdata.loading.loader import Loader
from support.numbered import map_style
root = sys.argv[1]
loader = Loader(map_style(root), 4, num_threads=2, decoder={decoder!r})
"""


def test_after_a_fork_the_child_iterates_anew_and_the_parent_goes_on(
    run_forked: Run, folder: Path, decoder: Any
) -> None:
    assert run_forked(PREPARED.format(decoder=decoder) + FORKED, folder) == f"{COUNT - 4}\n"


def test_a_spawned_process_iterates_over_the_same_dataset(folder: Path, decoder: Any) -> None:
    program = """
import multiprocessing
from support.spawned import first_targets
next(iter(loader))
with multiprocessing.get_context("spawn").Pool(1) as pool:
    print(pool.apply(first_targets, (loader.dataset, sys.argv[2])))
"""
    assert run_python(PREPARED.format(decoder=decoder) + program, folder, decoder) == "[0, 1, 2, 3]\n"


def test_ctrl_c_in_the_loop(run_forked: Run, folder: Path, decoder: Any) -> None:
    program = PREPARED.format(decoder=decoder) + INTERRUPTED.format(attempts=8, longest_wait=0.01)
    assert run_forked(program, folder) == f"8 {COUNT}\n"


@pytest.mark.parametrize("ending", ["", "sys.exit()", "globals()['self_reference'] = globals()"])
def test_the_interpreters_exit_with_an_unfinished_iteration(
    run_forked: Run, folder: Path, decoder: Any, ending: str
) -> None:
    program = f"batches = iter(loader)\nprint(next(batches).targets.tolist())\n{ending}\n"
    assert run_forked(PREPARED.format(decoder=decoder) + program, folder) == "[0, 1, 2, 3]\n"
