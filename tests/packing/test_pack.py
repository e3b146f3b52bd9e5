"""What packing makes of a folder: samples, shards and json, read by others too."""

import json
import os
import subprocess
from collections import Counter
from contextlib import ExitStack
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander
from xxhash import xxh3_128

from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.epoch.order import EpochOrder
from fastdata.packing.pack import pack
from fastdata.packing.plan import SamplesPerShard, ShardCount, ShardSize
from fastdata.packing.to_verify import shards_of
from fastdata.packing.verify import verify
from fastdata.sources import manifest
from fastdata.sources.folder import scan_classes, scan_pattern
from fastdata.sources.shard import Shard
from fastdata.sources.tars.index import NO_CLASS
from fastdata.sources.tars.webdataset import dali_index
from support.packed import files_of, keys_of
from support.tars import tool


def test_the_bytes_do_not_depend_on_the_number_of_jobs(odd_folder: Path, tmp_path: Path) -> None:
    for jobs in (1, 3):
        pack(
            scan_classes(odd_folder),
            tmp_path / str(jobs),
            {"train": Fraction(2, 3), "val": Fraction(1, 3)},
            ShardCount(4),
            shuffle=True,
            seed=5,
            jobs=jobs,
        )
    one, three = files_of(tmp_path / "1"), files_of(tmp_path / "3")
    assert len(one) == 12
    assert one == three


def test_keys_targets_and_bytes_are_those_of_the_folder_in_its_order(odd_folder: Path, tmp_path: Path) -> None:
    (made,) = pack(scan_classes(odd_folder), tmp_path, division=ShardCount(3))
    dataset = ImageDirectoryDataset(odd_folder)
    shards = [Shard(tmp_path / entry.url) for entry in made.shards]
    rows = [(shard, row) for shard in shards for row in range(len(shard))]
    assert len(rows) == len(dataset) == 23
    for index, (shard, row) in enumerate(rows):
        sample = dataset.read(index)
        extension = Path(dataset.where(index)).suffix[1:].lower()
        assert shard.read_sample(row, extension) == (sample.key, sample.image)
        assert shard.cls(row) == sample.target
        assert shard.read(row, "cls") == str(sample.target).encode()
    assert list(made.classes) == dataset.classes


def test_without_labels_there_is_no_cls(odd_folder: Path, tmp_path: Path) -> None:
    (made,) = pack(scan_pattern(odd_folder, "cow/*.jpg"), tmp_path)
    shard = Shard(tmp_path / "train-000000.tar")
    assert shard.extensions == ("jpg",)
    assert {shard.cls(row) for row in range(len(shard))} == {NO_CLASS}
    assert made.classes == ()


def test_the_json_says_what_was_written(odd_folder: Path, tmp_path: Path) -> None:
    (made,) = pack(scan_classes(odd_folder), tmp_path, division=SamplesPerShard(9), seed=3, jobs=2)
    assert manifest.load(tmp_path / "train.json") == made
    assert [entry.nsamples for entry in made.shards] == [7, 8, 8]
    for entry in made.shards:
        data = (tmp_path / entry.url).read_bytes()
        assert (entry.filesize, entry.hash) == (len(data), f"xxh3_128:{xxh3_128(data).hexdigest()}")
    sizes = [path.stat().st_size for path in odd_folder.rglob("*") if path.is_file()]
    assert (made.made.source_bytes, made.made.image_bytes) == (sum(sizes), sum(sizes))
    assert (made.made.seed, made.made.shuffle, made.made.jpeg) == (3, False, "keep")
    assert str(tmp_path) not in (tmp_path / "train.json").read_text()


def test_no_shard_is_larger_than_asked(odd_folder: Path, tmp_path: Path) -> None:
    (made,) = pack(scan_classes(odd_folder), tmp_path, division=ShardSize(40_960))
    sizes = [entry.filesize for entry in made.shards]
    assert len(sizes) > 2
    assert max(sizes) == 40_960
    assert sum(entry.nsamples for entry in made.shards) == 23


def test_shuffling_permutes_by_the_seed(odd_folder: Path, tmp_path: Path) -> None:
    pack(scan_classes(odd_folder), tmp_path / "in order")
    pack(scan_classes(odd_folder), tmp_path / "shuffled", shuffle=True, seed=4)
    in_order, shuffled = keys_of(tmp_path / "in order"), keys_of(tmp_path / "shuffled")
    assert shuffled == [in_order[i] for i in EpochOrder(23, True, 4).samples(0, 23)]
    assert shuffled != in_order


def test_splits_are_datasets_that_share_the_samples_out_in_the_folders_order(odd_folder: Path, tmp_path: Path) -> None:
    train, val = pack(scan_classes(odd_folder), tmp_path, {"train": Fraction(9, 10), "val": Fraction(1, 10)})
    assert (train.nsamples, val.nsamples) == (20, 3)
    assert (train.made.split, val.made.split) == ("9/10", "1/10")
    scan = scan_classes(odd_folder)
    everything = [scan.key(i) for i in range(len(scan))]
    in_train, in_val = keys_of(tmp_path, "train"), keys_of(tmp_path, "val")
    assert [key for key in everything if key in in_train] == in_train
    assert [key for key in everything if key in in_val] == in_val
    assert sorted(in_train + in_val) == sorted(everything)


def test_progress_tells_all_files_and_bytes(odd_folder: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        told: list[tuple[int, int]] = []
        pack(
            scan_classes(odd_folder),
            tmp_path / str(jobs),
            division=ShardCount(4),
            jobs=jobs,
            progress=lambda *by, told=told: told.append(by),
        )
        assert np.sum(told, axis=0).tolist() == [23, sum(n**3 + 1 for n in range(23))]


def test_gnu_tar_lists_and_extracts_the_shards(odd_folder: Path, tmp_path: Path) -> None:
    pack(scan_classes(odd_folder), tmp_path, division=ShardCount(2))
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    listed = ""
    for shard in sorted(tmp_path.glob("*.tar")):
        command: list[str | Path] = [tool("tar"), "--warning=no-timestamp", "--quoting-style=literal", "-f", shard]
        listed += subprocess.check_output([*command, "-t"], env=environment, text=True)
        subprocess.run([*command, "-x", "-C", unpacked], env=environment, check=True)
    scan = scan_classes(odd_folder)
    expected = [
        name
        for i in range(len(scan))
        for name in (scan.key(i) + Path(scan.path(i)).suffix.lower(), scan.key(i) + ".cls")
    ]
    assert listed.splitlines() == expected
    for i, name in enumerate(expected[::2]):
        assert (unpacked / name).read_bytes() == Path(scan.path(i)).read_bytes()


def test_webdataset_reads_the_shards(odd_folder: Path, tmp_path: Path) -> None:
    (made,) = pack(scan_classes(odd_folder), tmp_path, division=ShardCount(2))
    with ExitStack() as stack:  # its own opener leaves files open
        streams = [stack.enter_context((tmp_path / entry.url).open("rb")) for entry in made.shards]
        files = tar_file_expander({"url": "", "stream": stream} for stream in streams)
        samples = list(group_by_keys(files))
    scan = scan_classes(odd_folder)
    assert [sample["__key__"] for sample in samples] == [scan.key(i) for i in range(len(scan))]
    assert [int(sample["cls"]) for sample in samples] == scan.targets.tolist()
    for i, sample in enumerate(samples):
        assert sample[Path(scan.path(i)).suffix[1:].lower()] == Path(scan.path(i)).read_bytes()


def test_dalis_webdataset_reader_reads_the_shards(odd_folder: Path, tmp_path: Path) -> None:
    dali = pytest.importorskip("nvidia.dali")
    from nvidia.dali import fn

    (made,) = pack(scan_classes(odd_folder), tmp_path, division=ShardCount(2))
    shards = [tmp_path / entry.url for entry in made.shards]
    indexes = [shard.with_suffix(".idx") for shard in shards]
    for shard, index in zip(shards, indexes, strict=True):
        index.write_text(dali_index(shard))

    @dali.pipeline_def(batch_size=23, num_threads=1, device_id=None)  # type: ignore[untyped-decorator, unused-ignore]
    def pipeline() -> object:
        paths, index_paths = list(map(str, shards)), list(map(str, indexes))
        read: Any = fn.readers.webdataset(paths=paths, index_paths=index_paths, ext=["jpg;jpeg;png", "cls"])
        return tuple(read)

    pipe = pipeline()
    pipe.build()
    images, targets = ([bytes(tensor) for tensor in map(np.asarray, output)] for output in pipe.run())
    scan = scan_classes(odd_folder)
    assert images == [Path(scan.path(i)).read_bytes() for i in range(len(scan))]
    assert [int(target) for target in targets] == scan.targets.tolist()


def test_wids_finds_the_shards_by_the_json(odd_folder: Path, tmp_path: Path) -> None:
    pack(scan_classes(odd_folder), tmp_path, division=ShardCount(2))
    # What wids_specs.py asks of a description; the wids package itself is in no current release of webdataset.
    described = json.loads((tmp_path / "train.json").read_text())
    assert described["wids_version"] == 1
    for shard in described["shardlist"]:
        path = tmp_path / shard["url"]
        assert path.stat().st_size == shard["filesize"]
        assert len(Shard(path)) == shard["nsamples"]


def test_counts_per_class_are_those_of_the_folders(photos: Path, tmp_path: Path) -> None:
    for part in ("test", "val"):
        scan = scan_classes(photos / part)
        (made,) = pack(scan, tmp_path, {part: Fraction(1)}, ShardCount(3))
        counts = Counter(
            made.classes[target] for entry in made.shards for target in Shard(tmp_path / entry.url).rows["cls"]
        )
        folders = {path.name: sum(1 for _ in path.iterdir()) for path in (photos / part).iterdir()}
        assert counts == folders


def test_shards_are_hashed_by_sha256_where_that_is_asked_for(odd_folder: Path, tmp_path: Path) -> None:
    (made,) = pack(scan_classes(odd_folder), tmp_path, jobs=1, hash="sha256")
    (entry,) = made.shards
    assert entry.hash == f"sha256:{sha256((tmp_path / entry.url).read_bytes()).hexdigest()}"
    assert list(verify(shards_of(str(tmp_path)))) == [[]]
