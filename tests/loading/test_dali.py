"""DALI beside the CPU decoder: how close its pixels are, what it is given, and what happens when it fails."""

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.errors import SampleError
from fastdata.loading.dali.options import Dali
from fastdata.loading.loader import Loader
from fastdata.packing.crop_ready import make_crop_ready
from fastdata.transforms.steps import CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize, Step
from fastdata.transforms.transform import Transform
from support.numbered import COUNT, map_style, write_folder
from support.pictures import jpeg
from support.processes import LIB, assert_no_more_threads_than, run_python, threads

pytest.importorskip("nvidia.dali", reason="DALI is not installed: pip install 'fastdata-images[dali]'")

TRAIN: list[Step] = [RandomResizedCrop(224), RandomHorizontalFlip()]
EVALUATE: list[Step] = [Resize(256), CenterCrop(224)]
gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("folder"))


def differences(dataset: ImageDirectoryDataset, device: str = "cpu") -> np.ndarray:
    """In levels, between DALI's pixels and the CPU decoder's: shape (samples, values)."""
    by_dali = Loader(dataset, 16, decoder="dali", device=device)
    ours = torch.cat([batch.cpu() for batch, _ in by_dali])
    dataset.set_epoch(0)
    expected = torch.cat([batch for batch, _ in Loader(dataset, 16)])
    return (ours.int() - expected.int()).abs().flatten(1).numpy()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=gpu)])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("steps", [TRAIN, EVALUATE])
def test_views_of_real_photos_are_the_cpu_decoders_within_a_level(
    photos: Path, steps: Any, antialias: bool, device: str
) -> None:
    """Both decoding in full: where the CPU decoder scales while it decodes, by `reducing_gap`, DALI does not."""
    dataset = ImageDirectoryDataset(photos / "val", transform=Transform(steps, antialias, reducing_gap=None))
    difference = differences(dataset, device)
    assert difference.mean(1).max() < (0.5 if device == "cpu" else 1)
    assert np.percentile(difference, 99.9, axis=1).max() < (5 if device == "cpu" else 8)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of which small crops are decoded at 1/2, 1/4 and 1/8."""
    folder = tmp_path_factory.mktemp("large")
    for number in range(4):
        subsampling = ("4:2:0", "4:4:4")[number % 2]
        (folder / f"{number}.jpg").write_bytes(jpeg(1600, 1200, number, quality=92, subsampling=subsampling))
    return folder


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=gpu)])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(
    "steps",
    [
        [RandomResizedCrop(32)],
        [RandomResizedCrop(64)],
        [RandomResizedCrop(64, interpolation="bicubic")],
        [RandomResizedCrop(224), RandomHorizontalFlip()],
        [RandomResizedCrop(512, scale=(0.02, 0.05))],
        [Resize(64), CenterCrop(56)],
        [Resize((48, 96))],
    ],
    ids=["32", "64", "64 bicubic", "224", "enlarged", "evaluation", "distorted"],
)
def test_large_photos_are_the_cpu_decoders_at_every_size(large: Path, steps: Any, antialias: bool, device: str) -> None:
    """By the defaults, where the CPU decoder may scale while it decodes."""
    difference = differences(map_style(large, transform=Transform(steps, antialias)), device)
    assert difference.mean(1).max() < (0.5 if device == "cpu" else 1)
    assert np.percentile(difference, 99.9, axis=1).max() < (5 if device == "cpu" else 8)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=gpu)])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("crop_ready", [False, True])
def test_all_eight_orientations_come_out_alike(tmp_path: Path, antialias: bool, crop_ready: bool, device: str) -> None:
    for orientation in range(1, 9):
        for number in range(4):
            subsampling = ("4:2:0", "4:4:4")[number % 2]
            data = jpeg(800, 600, number, quality=95, orientation=orientation, subsampling=subsampling)
            data = make_crop_ready(data) if crop_ready else data
            assert len(data) > 40_000, "large enough to be cut"
            (tmp_path / f"{orientation}{number}.jpg").write_bytes(data)
    transform = Transform([RandomResizedCrop(64, scale=(0.05, 0.4)), RandomHorizontalFlip()], antialias, None)
    difference = differences(map_style(tmp_path, transform=transform), device)
    assert difference.mean(1).max() < 1
    assert np.percentile(difference, 99.9, axis=1).max() < 8


def undecodable() -> bytes:
    """A JPEG whose header and scan look whole, with Huffman codes that can't be."""
    data = jpeg(64, 48)
    at = data.index(b"\xff\xc4")
    return data[: at + 5] + b"\xff" * 15 + data[at + 20 :]


def test_a_batch_that_dali_fails_at_names_the_bad_sample_and_leaves_no_thread(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "bad")
    (root / "011.jpg").write_bytes(undecodable())
    list(Loader(map_style(root), 5, decoder="dali", on_error="skip"))
    before = threads()
    batches = iter(Loader(map_style(root), 5, decoder="dali"))
    assert [next(batches).targets.tolist()[0] for _ in range(2)] == [0, 5]
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(SampleError, match=r"sample '011' in .*011\.jpg: Pillow can't decode") as caught:
            next(batches)
        assert_no_more_threads_than(before)
        assert caught.value.key == "011"
    finally:
        gc.enable()


def test_a_ctrl_c_while_a_pipeline_ends_is_raised_every_time(folder: Path) -> None:
    """In a `__del__` of the main thread it would be printed and lost."""
    program = f"""
import os, signal
from nvidia.dali import Pipeline
from fastdata.loading.loader import Loader
from support.numbered import map_style
loader = Loader(map_style({str(folder)!r}), 16, num_threads=2, decoder="dali")
shutdown = Pipeline._shutdown

def interrupted(pipeline):
    os.kill(os.getpid(), signal.SIGINT)
    shutdown(pipeline)

caught = 0
for _ in range(20):
    Pipeline._shutdown = interrupted
    try:
        for batch in loader:
            pass
    except KeyboardInterrupt:
        caught += 1
        Pipeline._shutdown = shutdown
print(caught, sum(len(batch.images) for batch in loader))
"""
    assert run_python(program) == f"20 {COUNT}\n"


def test_dali_goes_on_after_every_failure(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "bad")
    for number in range(0, 36, 3):
        (root / f"{number:03}.jpg").write_bytes(undecodable())
    loader = Loader(map_style(root), 2, decoder="dali", on_error="skip")
    assert [len(batch) for batch, _ in loader] == [2] * 18 + [1]
    assert [int(skipped.key) for skipped in loader.skipped] == list(range(0, 36, 3))


def test_a_failure_of_dalis_own_is_said_and_the_batch_is_decoded_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nvidia.dali import Pipeline

    outputs, calls = Pipeline.share_outputs, iter(range(1000))

    def fail_once(pipeline: Any, **how: Any) -> Any:
        if next(calls) == 1:
            raise RuntimeError("out of memory")
        return outputs(pipeline, **how)

    expected = list(Loader(map_style(folder), 8))
    monkeypatch.setattr(Pipeline, "share_outputs", fail_once)
    loader = Loader(map_style(folder), 8, decoder="dali")
    with pytest.warns(UserWarning, match="DALI failed at a batch of good images, .*: out of memory"):
        batches = list(loader)
    assert [batch.targets.tolist() for batch in batches] == [batch.targets.tolist() for batch in expected]
    assert torch.equal(batches[1].images, expected[1].images)
    assert not torch.equal(batches[2].images, expected[2].images), "DALI has been given up"


def test_waiting_for_dali_is_decoding(folder: Path) -> None:
    loader = Loader(map_style(folder), 8, decoder="dali")
    list(loader)
    stats = loader.stats()
    assert stats.images == 37
    assert min(stats.read, stats.draw, stats.decode, stats.caller_waited) > 0
    assert stats.threads_waited / stats.num_threads + stats.caller_waited <= stats.seconds


def test_hints_change_no_pixel(folder: Path) -> None:
    hinted = Loader(map_style(folder), 8, decoder=Dali(hw_decoder_load=0.0, width_hint=64, height_hint=64, queue=1))
    for ours, others in zip(hinted, Loader(map_style(folder), 8, decoder="dali"), strict=True):
        assert torch.equal(ours.images, others.images)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_device_cuda_is_an_error_that_says_so(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="torch sees no CUDA device here"):
        Loader(map_style(folder), 8, decoder="dali", device="cuda")


@pytest.mark.parametrize(("local_rank", "gpus", "index"), [("2", 4, 2), ("2", 1, 0), (None, 4, 0)])
def test_each_rank_has_its_gpu(
    folder: Path, monkeypatch: pytest.MonkeyPatch, local_rank: str | None, gpus: int, index: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert Loader(map_style(folder), 8, decoder="dali", device="cuda").device == torch.device("cuda", index)
    assert Loader(map_style(folder), 8, decoder="dali", device="cuda:3").device == torch.device("cuda", 3)


def test_dali_is_imported_only_for_its_decoder(folder: Path) -> None:
    program = (
        "import sys; from fastdata import Dali, Loader; from support.numbered import map_style;"
        f"list(Loader(map_style({str(folder)!r}), 8)); print([name for name in sys.modules if 'nvidia.dali' in name])"
    )
    here = LIB
    assert subprocess.check_output([sys.executable, "-c", program], text=True, cwd=here).strip() == "[]"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_batches_stay_there_and_do_not_change_while_they_are_kept(folder: Path) -> None:
    kept = list(Loader(map_style(folder), 4, decoder="dali", device="cuda"))
    expected = list(Loader(map_style(folder), 4, decoder="dali"))
    for ours, others in zip(kept, expected, strict=True):
        assert ours.images.is_cuda
        assert ours.images.is_contiguous(memory_format=torch.channels_last)
        assert (ours.images.cpu().int() - others.images.int()).abs().float().mean() < 1
