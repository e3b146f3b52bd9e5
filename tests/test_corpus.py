"""The corpus of images: each gets the same verdict and the same pixels, whatever reads and decodes it."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.collate import collate
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.shards import TarImageDataset
from fastdata.datasets.store import TarImageMapDataset
from fastdata.errors import DecodeError, SampleError
from fastdata.images import kernel
from fastdata.images.header import read_header
from fastdata.images.jobs import jobs
from fastdata.images.reference import Encoded
from fastdata.loading.dali.encoded import dali_image
from fastdata.loading.loader import Loader
from fastdata.packing.convert import CropReady, Keep
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.packing.to_verify import shards_of
from fastdata.packing.verify import verify
from fastdata.sources.folder import scan_pattern
from fastdata.transforms.draw import draw
from fastdata.transforms.steps import Resize
from fastdata.transforms.transform import Transform
from support.corpus.images import KINDS, SIZE, cases, expected
from support.corpus.kinds import Case, table
from support.numbered import number_of
from support.pictures import Pixels, encoded
from support.tars import packed as packed_as_they_are

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of damaged EXIF

TRANSFORM = Transform([Resize(SIZE)], reducing_gap=None)
Verdicts = dict[str, Pixels | str]
"""By key: the pixels, uint8 of shape (H, W, 3), or what the error says."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for key, case in cases().items():
        (root / f"{key}.jpg").write_bytes(case.data)
    return root


def packed(folder: Path, root: Path, **options: Any) -> Path:
    pack(scan_pattern(folder, "*.jpg", number_of), root, division=ShardCount(3), jobs=1, **options)
    return root


@pytest.fixture(scope="module")
def shards(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(folder, tmp_path_factory.mktemp("shards"), jpeg=Keep())


@pytest.fixture(scope="module")
def crop_ready(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(folder, tmp_path_factory.mktemp("crop-ready"), jpeg=CropReady())


def of_folder(folder: Path) -> ImageDirectoryDataset:
    return ImageDirectoryDataset(folder, "*.jpg", TRANSFORM, labels=number_of)


def of_shards(root: Path) -> TarImageMapDataset:
    return TarImageMapDataset(root / "train.json", TRANSFORM)


def one_by_one(dataset: ImageDataset) -> Verdicts:
    verdicts: Verdicts = {}
    for number in range(dataset.num_samples):
        try:
            verdicts[dataset.key(number)] = dataset.load(number, 0).image
        except SampleError as error:
            verdicts[dataset.key(number)] = error.cause
    return verdicts


def without_kernel(dataset: ImageDataset) -> Verdicts:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "KERNEL", None)
        return one_by_one(dataset)


def by_loader(dataset: Any, **options: Any) -> Verdicts:
    loader = Loader(dataset, 500, on_error="skip", max_skipped=len(cases()), num_threads=2, **options)
    verdicts: Verdicts = {}
    for batch in loader:
        verdicts |= zip(batch.keys, batch.images.permute(0, 2, 3, 1).numpy(), strict=True)
    return verdicts | {key: cause for key, _, cause in loader.skipped}


def by_workers(dataset: Any) -> Verdicts:
    """By torch's DataLoader, which goes on after an error, and gives the text of an error alone, with its traceback."""
    batches = iter(DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=collate))
    verdicts: Verdicts = {}
    for number in range(dataset.num_samples):
        try:
            images, _ = next(batches)
            verdicts[dataset.key(number)] = images[0].permute(1, 2, 0).numpy()
        except DecodeError as error:
            named = f"sample {dataset.key(number)!r} in {dataset.where(number)}: "
            verdicts[dataset.key(number)] = str(error).rstrip().partition(named)[2] or f"not named: {error}"
    return verdicts


Way = Callable[[Path, Path, Path], Verdicts]
WAYS: dict[str, Way] = {
    "folder": lambda folder, *_: one_by_one(of_folder(folder)),
    "shards": lambda _, shards, __: one_by_one(of_shards(shards)),
    "crop-ready shards": lambda _, __, crop_ready: one_by_one(of_shards(crop_ready)),
    "folder, reference": lambda folder, *_: without_kernel(of_folder(folder)),
    "crop-ready shards, reference": lambda _, __, crop_ready: without_kernel(of_shards(crop_ready)),
    "Loader, folder": lambda folder, *_: by_loader(of_folder(folder)),
    "Loader, shards": lambda _, shards, __: by_loader(TarImageDataset(shards / "train.json", TRANSFORM, shuffle=True)),
    "DataLoader, folder": lambda folder, *_: by_workers(of_folder(folder)),
    "DataLoader, shards": lambda _, shards, __: by_workers(of_shards(shards)),
}
OF_DALI: dict[str, Way] = {
    "folder": lambda folder, *_: by_loader(of_folder(folder), decoder="dali"),
    "crop-ready shards": lambda _, __, crop_ready: by_loader(of_shards(crop_ready), decoder="dali"),
}


def wrong(verdicts: Mapping[str, Pixels | str], apart: Callable[[Pixels, Pixels], bool]) -> list[str]:
    """The cases that did not get what they should."""
    assert verdicts.keys() == expected().keys(), "samples were lost, or came out of nowhere"
    return [
        f"{cases()[key].kind.what}: {cases()[key].name}: {got if isinstance(got, str) else 'pixels'}"
        for key, got in verdicts.items()
        if _is_wrong(got, *expected()[key], apart)
    ]


def _is_wrong(got: Pixels | str, pixels: Pixels | None, words: str, apart: Callable[[Pixels, Pixels], bool]) -> bool:
    if isinstance(got, str):
        return pixels is not None or words not in got or got.startswith("not named")
    return pixels is None or apart(got, pixels)


def levels_apart(got: Pixels, pixels: Pixels) -> bool:
    """By more than a level; DESIGN's bound for the kernel is 2."""
    return int(np.abs(got.astype(int) - pixels).max()) > 1


def far_apart(got: Pixels, pixels: Pixels) -> bool:
    """DALI's decoder has another IDCT and another upsampling; at sharp edges that shows."""
    return float(np.abs(got.astype(int) - pixels).mean()) > 1


@pytest.mark.parametrize("way", WAYS)
def test_each_image_gets_the_same_whatever_reads_and_decodes_it(
    way: str, folder: Path, shards: Path, crop_ready: Path
) -> None:
    assert wrong(WAYS[way](folder, shards, crop_ready), levels_apart) == []


@pytest.mark.parametrize("read", [one_by_one, without_kernel, by_loader, by_workers])
@pytest.mark.parametrize("store", ["folder", "shard"])
def test_an_empty_image_is_called_so(tmp_path: Path, store: str, read: Callable[[Any], Verdicts]) -> None:
    """Nothing empty is packed, so it is in shards of others only."""
    images = {"empty": b"", "good": encoded(np.zeros((60, 80, 3), np.uint8), "PNG")}
    for key, image in images.items():
        (tmp_path / f"{key}.jpg").write_bytes(image)
    shard = packed_as_they_are(tmp_path / "a.tar", [(f"{key}.jpg", image) for key, image in images.items()])
    if store == "folder":
        verdicts = read(ImageDirectoryDataset(tmp_path, transform=TRANSFORM, labels=None))
    else:
        verdicts = read(TarImageMapDataset(shard, TRANSFORM, target=None))
    assert verdicts.pop("empty") == "it is empty: it has no bytes"
    assert not isinstance(verdicts["good"], str)


@pytest.mark.slow
@pytest.mark.parametrize("way", OF_DALI)
def test_dali_has_the_same_verdict_and_about_the_same_pixels(
    way: str, folder: Path, shards: Path, crop_ready: Path
) -> None:
    pytest.importorskip("nvidia.dali")
    assert wrong(OF_DALI[way](folder, shards, crop_ready), far_apart) == []


@pytest.mark.parametrize("packing", ["shards", "crop_ready"])
def test_verifying_what_was_packed_finds_what_is_refused_and_nothing_else(
    packing: str, request: pytest.FixtureRequest
) -> None:
    found = verify(shards_of(str(request.getfixturevalue(packing))), decode=True)
    refused = {key for key, each in expected().items() if each.pixels is None}
    assert {fault.key for faults in found for fault in faults} == refused


def decoders(case: Case) -> tuple[str, str]:
    """Whether the kernel and DALI decode it."""
    try:
        header = read_header(case.data)
    except DecodeError:
        return "no", "no"
    view = draw(TRANSFORM, header.size, 0)
    row = np.empty((*SIZE, 3), np.uint8)
    (status,) = kernel.decode([case.data], jobs([view], [header.orientation]), [row])
    by_dali = dali_image(Encoded(case.data, header, view), TRANSFORM)
    return "yes" if status == kernel.Status.DONE else "no", "no" if by_dali is None else "yes"


@pytest.mark.skipif(kernel.KERNEL is None, reason="the compiled kernel is not there")
def test_kernel_and_dali_decode_the_kinds_that_the_table_says() -> None:
    for case in cases().values():
        found = decoders(case)
        for stated, is_so in zip((case.kind.kernel, case.kind.dali), found, strict=True):
            assert stated in ("", is_so), f"{case.kind.what}: {case.name}: {found}"


def test_each_kind_has_its_cases_and_each_case_its_kind() -> None:
    there = {case.kind for case in cases().values()}
    by_tools = {kind for kind in KINDS if kind not in there}
    assert there <= set(KINDS)
    assert not by_tools or not os.environ.get("FASTDATA_REQUIRE_TOOLS"), by_tools


def test_the_page_has_the_table_of_the_corpus() -> None:
    page = (Path(__file__).parents[1] / "docs/inputs.md").read_text()
    assert "\n".join(table(KINDS)) in page
