"""Datasets that lie elsewhere give the same samples, by ranges, through a cache of any size."""

import errno
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset

import fastdata as fd
from fastdata.datasets.from_torch import as_image_dataset
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from fastdata.sources.stores import retry
from support.classes import TRAIN
from support.http_server import Fault, Files, Server
from support.pictures import jpeg
from support.processes import assert_no_more_threads_than, run_python, threads

COUNT = 300


class Far(NamedTuple):
    """A dataset that was packed, and the URL of its json on a server."""

    local: Path
    url: str


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, shards = tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("shards")
    for number in range(COUNT):
        path = folder / f"class{number % 3}" / f"{number:03}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg(120 + number % 50, 90 + number % 40, number))
    pack(scan_classes(folder), shards, division=ShardCount(5), jobs=1)
    return shards


@pytest.fixture
def far(packed: Path, http_server: Server) -> Far:
    for path in packed.iterdir():
        http_server.put(f"bucket/{path.name}", path.read_bytes())
    return Far(packed / "train.json", http_server.url("bucket/train.json"))


def shards_served(server: Server) -> Counter[tuple[str, int]]:
    """How often each 512 bytes of each shard were asked for."""
    served: Counter[tuple[str, int]] = Counter()
    for request in server.requests:
        if request.method == "GET" and request.path.endswith(".tar"):
            assert request.range is not None, "a whole shard was asked for"
            served.update((request.path, at) for at in range(*request.range, 512))
    return served


def batches(dataset: Any, epochs: int = 1, **options: Any) -> list[tuple[list[str], list[int], torch.Tensor]]:
    with fd.Loader(dataset, 32, num_threads=2, **options) as loader:
        return [(batch.keys, batch.targets.tolist(), batch.images) for _ in range(epochs) for batch in loader]


def assert_same(ours: list[Any], theirs: list[Any]) -> None:
    assert [each[:2] for each in ours] == [each[:2] for each in theirs]
    assert all(torch.equal(mine[2], other[2]) for mine, other in zip(ours, theirs, strict=True))


def test_a_loader_gives_the_same_samples_and_each_byte_comes_once(
    far: Far, http_server: Server, tmp_path: Path
) -> None:
    ours = fd.TarImageDataset(far.url, transform=TRAIN, shuffle=True, cache=fd.Cache(tmp_path))
    theirs = fd.TarImageDataset(far.local, transform=TRAIN, shuffle=True)
    assert ours.classes == theirs.classes
    assert ours.fingerprint == theirs.fingerprint
    before = threads()
    assert_same(batches(ours, epochs=2), batches(theirs, epochs=2))
    assert_no_more_threads_than(before + 64 + http_server.connections)  # the fetching ones stay, and the server's
    assert set(shards_served(http_server).values()) == {1}


def test_with_a_cache_of_next_to_nothing(far: Far, tmp_path: Path) -> None:
    theirs = fd.TarImageMapDataset(far.local, transform=TRAIN)
    for limit in (0, 1 << 20):
        ours = fd.TarImageMapDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path / str(limit), limit))
        assert_same(batches(ours, shuffle=True, epochs=2), batches(theirs, shuffle=True, epochs=2))


WINDOW = fd.Window(block_size=10, streams=4, window=30, global_batch=32)


def test_a_window_shuffle_fetches_its_blocks_whole(far: Far, http_server: Server, tmp_path: Path) -> None:
    ours = fd.TarImageMapDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path))
    theirs = fd.TarImageMapDataset(far.local, transform=TRAIN)
    assert_same(batches(ours, shuffle=WINDOW), batches(theirs, shuffle=WINDOW))
    assert set(shards_served(http_server).values()) == {1}
    of_shards = sum(request.path.endswith(".tar") for request in http_server.requests)
    assert of_shards < COUNT / 2  # of blocks of 10, some of which others are fetching or cross the end of a shard


def test_where_nothing_is_kept_a_window_shuffle_fetches_no_more_than_it_reads(
    far: Far, http_server: Server, tmp_path: Path
) -> None:
    ours = fd.TarImageMapDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path, 0))
    theirs = fd.TarImageMapDataset(far.local, transform=TRAIN)
    assert_same(batches(ours, shuffle=WINDOW), batches(theirs, shuffle=WINDOW))
    assert set(shards_served(http_server).values()) == {1}


def test_by_number_and_whatever_is_asked_of_it(far: Far, tmp_path: Path) -> None:
    ours = fd.TarImageMapDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path))
    theirs = fd.TarImageMapDataset(far.local, transform=TRAIN)
    assert ours.key(17) == theirs.key(17)
    assert ours.read(18) == theirs.read(18)
    assert ours.read_beginning(19, 100) == theirs.read_beginning(19, 100)
    np.testing.assert_array_equal(ours.targets, theirs.targets)
    ours.set_epoch(0)
    theirs.set_epoch(0)
    assert torch.equal(ours[200][0], theirs[200][0])
    assert ours.where(5).rpartition("/")[2] == theirs.where(5).rpartition("/")[2]


def test_subsets_and_joined_datasets_read_ahead_as_well(far: Far, http_server: Server, tmp_path: Path) -> None:
    ours = fd.TarImageMapDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path))
    theirs = fd.TarImageMapDataset(far.local, transform=TRAIN)
    some = list(range(0, COUNT, 3))
    both: list[ConcatDataset[Any]] = [ConcatDataset([Subset(dataset, some), dataset]) for dataset in (ours, theirs)]
    assert_same(batches(both[0], shuffle=True), batches(both[1], shuffle=True))
    assert set(shards_served(http_server).values()) == {1}


@pytest.mark.parametrize("is_joined", [False, True])
def test_a_batch_by_number_is_fetched_all_at_once(
    far: Far, http_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_joined: bool
) -> None:
    ours = fd.TarImageMapDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path))
    theirs = fd.TarImageMapDataset(far.local, transform=TRAIN)
    dataset = as_image_dataset(ConcatDataset([ours, ours])) if is_joined else ours
    numbers = np.random.default_rng(0).permutation(COUNT)[:64].tolist()
    decode, came = dataset.decode_into, []

    def decode_into(*given: Any) -> Any:
        came.append(sum(shards_served(http_server).values()))
        return decode(*given)

    monkeypatch.setattr(dataset, "decode_into", decode_into)
    pairs = dataset.pairs(numbers, 3)
    assert len(came) > 1
    assert len(set(came)) == 1, "something was fetched after the first was decoded"
    assert all(torch.equal(mine[0], other[0]) for mine, other in zip(pairs, theirs.pairs(numbers, 3), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_dataloader_of_samples_by_number(far: Far, http_server: Server, tmp_path: Path, context: str) -> None:
    def loader(dataset: fd.TarImageMapDataset, **options: Any) -> DataLoader[Any]:
        return DataLoader(dataset, 32, sampler=fd.EpochSampler(dataset, 32), collate_fn=fd.collate, **options)

    ours = fd.TarImageMapDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path))
    received = loader(ours, num_workers=2, multiprocessing_context=context)
    pairs = zip(received, loader(fd.TarImageMapDataset(far.local, transform=TRAIN)), strict=True)
    assert all(mine.keys == other.keys and torch.equal(mine.images, other.images) for mine, other in pairs)
    assert set(shards_served(http_server).values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_dataloader_with_workers(far: Far, http_server: Server, tmp_path: Path, context: str) -> None:
    ours = fd.TarImageDataset(far.url, transform=TRAIN, shuffle=True, batch_size=32, cache=fd.Cache(tmp_path))
    theirs = fd.TarImageDataset(far.local, transform=TRAIN, shuffle=True, batch_size=32)
    next(iter(ours))
    ours.set_epoch(0)
    received = DataLoader(ours, batch_size=None, num_workers=2, multiprocessing_context=context)
    expected = DataLoader(theirs, batch_size=None)
    pairs = zip(received, expected, strict=True)
    assert all(mine.keys == other.keys and torch.equal(mine.images, other.images) for mine, other in pairs)
    assert set(shards_served(http_server).values()) == {1}


def test_an_iteration_that_is_broken_off_leaves_no_thread_reading_ahead(far: Far, tmp_path: Path) -> None:
    dataset = fd.TarImageDataset(far.url, transform=TRAIN, shuffle=True, batch_size=8, cache=fd.Cache(tmp_path))
    batches(fd.TarImageDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path)))  # begins the threads that stay
    before = threads()
    next(iter(dataset))
    next(iter(dataset))
    del dataset
    assert_no_more_threads_than(before)


@pytest.mark.parametrize("without_kernel", [False, True])
def test_a_sample_that_is_another_at_its_source_is_named_or_skipped(
    far: Far, http_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_kernel: bool
) -> None:
    if without_kernel:
        monkeypatch.setattr("fastdata.images.kernel.KERNEL", None)
    dataset = fd.TarImageDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path))
    shard = dataset.shards[1]
    content = bytearray((far.local.parent / "train-000001.tar").read_bytes())
    content[20 * 512] ^= 1
    http_server.put("bucket/train-000001.tar", bytes(content))
    with pytest.raises(fd.ReadError, match=r"are not those that were packed") as caught:
        batches(dataset)
    assert shard in caught.value.where
    with fd.Loader(dataset, 32, on_error="skip") as loader:
        kept = [key for batch in loader for key in batch.keys]
    assert len(loader.skipped) == 1
    assert len(set(kept)) == COUNT - 1


def test_a_network_that_fails_is_no_samples_fault(
    far: Far, http_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "policy", retry.Policy(attempts=2, first_delay=0.001))
    dataset = fd.TarImageDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path))
    http_server.faults = [Fault(status=503)] * 100_000
    with fd.Loader(dataset, 32, on_error="skip") as loader, pytest.raises(OSError, match="reading sample") as caught:
        next(iter(loader))
    assert caught.value.errno == errno.EIO
    assert "bucket/train-" in str(caught.value)


@pytest.mark.parametrize("is_joined", [False, True])
@pytest.mark.parametrize("limit", [None, 0])
def test_blocks_of_neighbours_are_fetched_whole_where_the_cache_has_room_for_them(
    far: Far, http_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_joined: bool, limit: int | None
) -> None:
    window = fd.Window(block_size=10, streams=4, window=20, global_batch=32)
    ours = fd.TarImageMapDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path, limit))
    theirs = fd.TarImageMapDataset(far.local, transform=TRAIN)
    expect, expected = ours.expect, list[int]()

    def told(numbers: Any, blocks: Any = ()) -> None:
        expected.extend(number for block in blocks for number in block)
        expect(numbers, blocks)

    monkeypatch.setattr(ours, "expect", told)
    both: list[Any] = [ConcatDataset([each]) if is_joined else each for each in (ours, theirs)]
    assert_same(batches(both[0], shuffle=window), batches(both[1], shuffle=window))
    assert sorted(expected) == ([] if limit == 0 else list(range(COUNT)))
    assert set(shards_served(http_server).values()) == {1}


@pytest.mark.parametrize(
    ("batch_size", "on_this_node", "whole"), [(16, "1", True), (8, "1", True), (24, "1", False), (24, "2", True)]
)
def test_on_several_nodes_blocks_are_fetched_whole_where_no_other_node_fetches_them(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, on_this_node: str, whole: bool
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", on_this_node)
    dataset = fd.TarImageMapDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path))
    given = list[int]()
    monkeypatch.setattr(dataset, "expect", lambda numbers, blocks=(): given.append(len(blocks)))
    window = fd.Window(block_size=10, streams=4, window=20, global_batch=32)
    with fd.Loader(dataset, batch_size, shuffle=window, rank=0, world_size=2, num_threads=1) as loader:
        assert len(next(iter(loader)).keys) == batch_size
    assert (sum(given) > 0) == whole


def test_a_shard_without_a_json_is_copied_once_into_the_cache_that_was_said(
    far: Far, http_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTDATA_CACHE", str(tmp_path / "default"))
    shard = far.url.replace("train.json", "train-000000.tar")
    dataset = fd.TarImageMapDataset(shard, transform=TRAIN, cache=fd.Cache(tmp_path / "mine"))
    assert dataset.bytes_per_sample > 0
    assert dataset[0].key == dataset.key(0)
    assert not (tmp_path / "default").exists()
    copies = [request for request in http_server.requests if request.method == "GET" and request.path.endswith(".tar")]
    assert len(copies) == 1


def test_shards_that_are_deleted_under_way_are_an_error_that_names_them(
    far: Far, http_server: Server, tmp_path: Path
) -> None:
    dataset = fd.TarImageDataset(far.url, transform=TRAIN, cache=fd.Cache(tmp_path, 0))
    assert isinstance(http_server.answer, Files)
    http_server.answer.contents.clear()
    with pytest.raises(fd.ReadError, match=r"no file http://\S+/bucket/train-00000\d\.tar: check the URL"):
        batches(dataset)


MANY_SHARDS = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
import fastdata as fd
dataset = fd.TarImageDataset(sys.argv[1], fd.RandomResizedCrop(8), cache=fd.Cache(sys.argv[2], 0))
with fd.Loader(dataset, 64, shuffle=True, num_threads=16) as loader:
    print(sum(len(batch.keys) for batch in loader))
"""


def test_samples_of_hundreds_of_shards_are_read_with_256_open_files(
    tmp_path_factory: pytest.TempPathFactory, http_server: Server, tmp_path: Path
) -> None:
    folder, shards = tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("shards")
    (folder / "ant").mkdir()
    for number in range(COUNT):
        (folder / "ant" / f"{number:03}.jpg").write_bytes(jpeg(16, 12, number))
    pack(scan_classes(folder), shards, division=ShardCount(COUNT), jobs=1)
    for path in shards.iterdir():
        http_server.put(f"bucket/{path.name}", path.read_bytes())
    assert run_python(MANY_SHARDS, http_server.url("bucket/train.json"), tmp_path) == f"{COUNT}\n"
