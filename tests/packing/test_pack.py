import json
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.epoch.order import EpochOrder
from fastdata.errors import PackError
from fastdata.packing import write as packing
from fastdata.packing.convert import Keep
from fastdata.packing.engines import write_shards
from fastdata.packing.pack import pack
from fastdata.packing.plan import PlannedShard, SamplesPerShard, ShardCount, ShardSize
from fastdata.packing.write import Progress
from fastdata.sources import manifest
from fastdata.sources.folder import FolderScan, scan_classes, scan_pattern
from fastdata.sources.index import NO_CLASS
from fastdata.sources.paths import Paths
from fastdata.sources.shard import Shard
from fastdata.sources.webdataset import dali_index
from support.pictures import jpeg
from support.tars import tool

LONG = "a folder of a long name, as some data sets have, " * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with 23 files whose bytes nobody looks at: of many sizes, some with odd names."""
    root = tmp_path_factory.mktemp("folder")
    names = ["ant/1.jpg", "ant/2.JPEG", "ant/a.b.c.png", f"ant/{LONG}/x.jpg", "bee/deep/er/ü.jpg", "bee/same.jpg"]
    names += ["bee/same.png", *(f"cow/{i:02}.jpg" for i in range(16))]
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.bytes(number**3 + 1))
    return root


def files_of(directory: Path) -> dict[str, bytes]:
    """What a dataset consists of: all but the indexes, which hold a time."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith(".npy")}


def keys_of(directory: Path, name: str = "train") -> list[str]:
    shards = [Shard(path) for path in sorted(directory.glob(f"{name}-*.tar"))]
    return [shard.key(row) for shard in shards for row in range(len(shard))]


def losing_a_file_after(count: int, path: Path) -> Progress:
    """A progress that removes `path` once so many files have been read."""
    read = 0

    def progress(files: int, size: int) -> None:
        nonlocal read
        read += files
        if read == count:
            path.unlink()

    return progress


def copy_of(folder: Path, directory: Path) -> Path:
    subprocess.run(["cp", "-r", folder, directory], check=True)
    return directory


def test_the_bytes_do_not_depend_on_the_number_of_jobs(folder: Path, tmp_path: Path) -> None:
    for jobs in (1, 3):
        pack(
            scan_classes(folder),
            tmp_path / str(jobs),
            {"train": Fraction(2, 3), "val": Fraction(1, 3)},
            ShardCount(4),
            shuffle=True,
            seed=5,
            jobs=jobs,
        )
    one, three = files_of(tmp_path / "1"), files_of(tmp_path / "3")
    assert len(one) == 10
    assert one == three


def test_keys_targets_and_bytes_are_those_of_the_folder_in_its_order(folder: Path, tmp_path: Path) -> None:
    (made,) = pack(scan_classes(folder), tmp_path, division=ShardCount(3))
    dataset = ImageDirectoryDataset(folder)
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


def test_without_labels_there_is_no_cls(folder: Path, tmp_path: Path) -> None:
    (made,) = pack(scan_pattern(folder, "cow/*.jpg"), tmp_path)
    shard = Shard(tmp_path / "train-000000.tar")
    assert shard.extensions == ("jpg",)
    assert {shard.cls(row) for row in range(len(shard))} == {NO_CLASS}
    assert made.classes == ()


def test_the_json_says_what_was_written(folder: Path, tmp_path: Path) -> None:
    (made,) = pack(scan_classes(folder), tmp_path, division=SamplesPerShard(9), seed=3, jobs=2)
    assert manifest.load(tmp_path / "train.json") == made
    assert [entry.nsamples for entry in made.shards] == [7, 8, 8]
    for entry in made.shards:
        data = (tmp_path / entry.url).read_bytes()
        assert (entry.filesize, entry.sha256) == (len(data), sha256(data).hexdigest())
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    assert (made.made.source_bytes, made.made.image_bytes) == (sum(sizes), sum(sizes))
    assert (made.made.seed, made.made.shuffle, made.made.jpeg) == (3, False, "keep")
    assert str(tmp_path) not in (tmp_path / "train.json").read_text()


def test_no_shard_is_larger_than_asked(folder: Path, tmp_path: Path) -> None:
    (made,) = pack(scan_classes(folder), tmp_path, division=ShardSize(40_960))
    sizes = [entry.filesize for entry in made.shards]
    assert len(sizes) > 2
    assert max(sizes) == 40_960
    assert sum(entry.nsamples for entry in made.shards) == 23


def test_shuffling_permutes_by_the_seed(folder: Path, tmp_path: Path) -> None:
    pack(scan_classes(folder), tmp_path / "in order")
    pack(scan_classes(folder), tmp_path / "shuffled", shuffle=True, seed=4)
    in_order, shuffled = keys_of(tmp_path / "in order"), keys_of(tmp_path / "shuffled")
    assert shuffled == [in_order[i] for i in EpochOrder(23, True, 4).samples(0, 23)]
    assert shuffled != in_order


def test_splits_are_datasets_that_share_the_samples_out_in_the_folders_order(folder: Path, tmp_path: Path) -> None:
    train, val = pack(scan_classes(folder), tmp_path, {"train": Fraction(9, 10), "val": Fraction(1, 10)})
    assert (train.nsamples, val.nsamples) == (20, 3)
    assert (train.made.split, val.made.split) == ("9/10", "1/10")
    scan = scan_classes(folder)
    everything = [scan.key(i) for i in range(len(scan))]
    in_train, in_val = keys_of(tmp_path, "train"), keys_of(tmp_path, "val")
    assert [key for key in everything if key in in_train] == in_train
    assert [key for key in everything if key in in_val] == in_val
    assert sorted(in_train + in_val) == sorted(everything)


def test_progress_tells_all_files_and_bytes(folder: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        told: list[tuple[int, int]] = []
        pack(
            scan_classes(folder),
            tmp_path / str(jobs),
            division=ShardCount(4),
            jobs=jobs,
            progress=lambda *by, told=told: told.append(by),
        )
        assert np.sum(told, axis=0).tolist() == [23, sum(n**3 + 1 for n in range(23))]


def test_gnu_tar_lists_and_extracts_the_shards(folder: Path, tmp_path: Path) -> None:
    pack(scan_classes(folder), tmp_path, division=ShardCount(2))
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    listed = ""
    for shard in sorted(tmp_path.glob("*.tar")):
        command: list[str | Path] = [tool("tar"), "--warning=no-timestamp", "--quoting-style=literal", "-f", shard]
        listed += subprocess.check_output([*command, "-t"], env=environment, text=True)
        subprocess.run([*command, "-x", "-C", unpacked], env=environment, check=True)
    scan = scan_classes(folder)
    expected = [
        name
        for i in range(len(scan))
        for name in (scan.key(i) + Path(scan.path(i)).suffix.lower(), scan.key(i) + ".cls")
    ]
    assert listed.splitlines() == expected
    for i, name in enumerate(expected[::2]):
        assert (unpacked / name).read_bytes() == Path(scan.path(i)).read_bytes()


def test_webdataset_reads_the_shards(folder: Path, tmp_path: Path) -> None:
    (made,) = pack(scan_classes(folder), tmp_path, division=ShardCount(2))
    with ExitStack() as stack:  # its own opener leaves files open
        streams = [stack.enter_context((tmp_path / entry.url).open("rb")) for entry in made.shards]
        files = tar_file_expander({"url": "", "stream": stream} for stream in streams)
        samples = list(group_by_keys(files))
    scan = scan_classes(folder)
    assert [sample["__key__"] for sample in samples] == [scan.key(i) for i in range(len(scan))]
    assert [int(sample["cls"]) for sample in samples] == scan.targets.tolist()
    for i, sample in enumerate(samples):
        assert sample[Path(scan.path(i)).suffix[1:].lower()] == Path(scan.path(i)).read_bytes()


def test_dalis_webdataset_reader_reads_the_shards(folder: Path, tmp_path: Path) -> None:
    dali = pytest.importorskip("nvidia.dali")
    from nvidia.dali import fn

    (made,) = pack(scan_classes(folder), tmp_path, division=ShardCount(2))
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
    scan = scan_classes(folder)
    assert images == [Path(scan.path(i)).read_bytes() for i in range(len(scan))]
    assert [int(target) for target in targets] == scan.targets.tolist()


def test_wids_finds_the_shards_by_the_json(folder: Path, tmp_path: Path) -> None:
    pack(scan_classes(folder), tmp_path, division=ShardCount(2))
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


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_there_is_not_overwritten_unless_asked(folder: Path, tmp_path: Path, jobs: int) -> None:
    pack(scan_classes(folder), tmp_path, division=ShardCount(5), jobs=jobs)
    (tmp_path / "train-000000.idx").write_text("of another reader")
    before = files_of(tmp_path)
    with pytest.raises(FileExistsError, match=r"train\.json is there already: --overwrite"):
        pack(scan_classes(folder), tmp_path, division=ShardCount(3), jobs=jobs)
    assert files_of(tmp_path) == before
    pack(scan_classes(folder), tmp_path, division=ShardCount(3), jobs=jobs, overwrite=True)
    assert sorted(files_of(tmp_path)) == ["train-000000.tar", "train-000001.tar", "train-000002.tar", "train.json"]
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_datasets_of_other_names_are_left_alone(folder: Path, tmp_path: Path) -> None:
    pack(scan_classes(folder), tmp_path, {"train-small": Fraction(1)})
    pack(scan_classes(folder), tmp_path, {"train": Fraction(1)})
    pack(scan_classes(folder), tmp_path, {"train": Fraction(1)}, overwrite=True)
    assert manifest.find(tmp_path / "train-small-000000.tar") is not None


def test_a_json_of_someone_else_is_never_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('{"annotations": []}')
    with pytest.raises(FileExistsError, match="not written by fastdata: choose another name"):
        pack(scan_classes(folder), tmp_path, overwrite=True)
    assert (tmp_path / "train.json").read_text() == '{"annotations": []}'


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "a b", "a{0..1}", "a*"])
def test_a_name_that_readers_would_not_take_for_one_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="can't name a dataset"):
        pack(scan_classes(folder), tmp_path, {name: Fraction(1)})


def test_an_image_removed_under_way_is_named_and_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    source = copy_of(folder, tmp_path / "source")
    lost = source / "cow/07.jpg"
    with pytest.raises(PackError, match=r"cow/07\.jpg can't be read: No such file"):
        pack(
            scan_classes(source),
            tmp_path / "out",
            division=ShardCount(3),
            jobs=1,
            progress=losing_a_file_after(10, lost),
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_an_image_that_changes_under_way_is_named_by_whichever_process(folder: Path, tmp_path: Path) -> None:
    scan = scan_classes(folder)
    ids = list(range(len(scan)))
    sizes = np.array([Path(scan.path(i)).stat().st_size for i in ids])
    sizes[12] -= 1
    files, keys = Paths.of(scan.paths[i] for i in ids), [scan.key(i) for i in ids]
    jobs = [PlannedShard(tmp_path / f"{n}.tar", scan.root, files, keys, scan.targets, sizes, Keep()) for n in range(3)]
    with pytest.raises(PackError, match=r"cow/05\.jpg changed while it was packed"):
        write_shards(jobs, 2)
    assert list(tmp_path.iterdir()) == []


def test_an_overwrite_that_fails_leaves_the_old_dataset_whole(folder: Path, tmp_path: Path) -> None:
    source, out = copy_of(folder, tmp_path / "source"), tmp_path / "out"
    pack(scan_classes(source), out, division=ShardCount(4), jobs=1)
    before = files_of(out)
    lost = source / "cow/03.jpg"
    with pytest.raises(PackError, match="cow/03"):
        pack(scan_classes(source), out, jobs=1, overwrite=True, progress=losing_a_file_after(3, lost))
    assert files_of(out) == before
    assert manifest.find(out / "train-000000.tar") is not None


def test_what_a_killed_run_leaves_is_hidden_and_cleared_by_the_next(folder: Path, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from fastdata.sources.folder import scan_classes\n"
        "from fastdata.packing.plan import ShardCount\n"
        "from fastdata.packing.pack import pack\n"
        "read = []\n"
        "def progress(files, size):\n"
        "    read.append(files)\n"
        "    if len(read) == 15: os.kill(os.getpid(), signal.SIGKILL)\n"
        "pack(scan_classes(sys.argv[1]), sys.argv[2], division=ShardCount(3), jobs=1, progress=progress)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, folder, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert "train-000000.tar" in [path.name for path in tmp_path.rglob("*")]
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())
    pack(scan_classes(folder), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "train-000000.index.npy",
        "train-000000.tar",
        "train.json",
    ]


def test_while_one_packs_another_can_not_pack_into_the_same_folder(folder: Path, tmp_path: Path) -> None:
    def progress(files: int, size: int) -> None:
        with pytest.raises(PackError, match=f"another process is packing into {tmp_path}: wait"):
            pack(scan_classes(folder), tmp_path, {"val": Fraction(1)})
        told.append(files)

    told: list[int] = []
    pack(scan_classes(folder), tmp_path, jobs=1, progress=progress)
    assert len(told) == 23
    pack(scan_classes(folder), tmp_path, {"val": Fraction(1)})
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("overwrite", [False, True])
def test_shards_of_someone_else_are_never_overwritten(folder: Path, tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "train-000007.tar").write_bytes(b"theirs")
    with pytest.raises(FileExistsError, match=r"train-000007\.tar are there already without train\.json.*: move them"):
        pack(scan_classes(folder), tmp_path, overwrite=overwrite)
    assert files_of(tmp_path) == {"train-000007.tar": b"theirs"}


def test_a_shard_that_can_not_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(PackError, match=r"train-000000\.tar can't be written: File too large"):
            pack(scan_classes(folder), tmp_path, jobs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_conversion_that_goes_wrong_names_the_image(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data: bytes, extension: str, how: object) -> None:
        raise AttributeError("a mistake")

    monkeypatch.setattr(packing, "convert", broken)
    with pytest.raises(PackError, match=r"ant/1\.jpg can't be packed: a mistake"):
        pack(scan_classes(folder), tmp_path, jobs=1)


def test_an_empty_file_is_named_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    source = copy_of(folder, tmp_path / "source")
    (source / "cow/05.jpg").write_bytes(b"")
    with pytest.raises(PackError, match=r"cow/05\.jpg is empty"):
        pack(scan_classes(source), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_link_is_named_before_anything_is_removed(folder: Path, tmp_path: Path) -> None:
    source, out = copy_of(folder, tmp_path / "source"), tmp_path / "out"
    pack(scan_classes(source), out)
    (source / "cow/99.jpg").symlink_to("nowhere")
    before = files_of(out)
    with pytest.raises(PackError, match=r"cow/99\.jpg can't be read"):
        pack(scan_classes(source), out, overwrite=True)
    assert files_of(out) == before


def test_an_image_by_the_name_of_the_class_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.CLS").write_bytes(jpeg(8, 8))
    with pytest.raises(PackError, match=r"cat/1\.CLS has the extension that the class index has"):
        pack(scan_classes(tmp_path, "**/*.CLS"), tmp_path / "out")
    (made,) = pack(scan_pattern(tmp_path, "**/*.CLS"), tmp_path / "out")
    assert made.nsamples == 1


def test_a_file_without_extension_is_refused(folder: Path, tmp_path: Path) -> None:
    source = copy_of(folder, tmp_path / "source")
    (source / "cow/README").write_bytes(b"text")
    with pytest.raises(PackError, match="cow/README has no extension"):
        pack(scan_pattern(source, "**"), tmp_path / "out")


class Deadly:
    """Kills the process that unpickles it, as the kernel does when memory runs out."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (9,)


def test_a_packing_process_that_dies_is_an_error_and_not_a_wait_for_ever(tmp_path: Path) -> None:
    nothing = np.zeros(0, np.int64)
    job = PlannedShard(tmp_path / "a.tar", str(tmp_path), Paths.of([]), Deadly(), nothing, nothing, Keep())  # type: ignore[arg-type]
    with pytest.raises(PackError, match="a packing process died"):
        write_shards([job, job], 2)


def test_no_jobs_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jobs must be at least 1, not 0"):
        pack(scan_classes(folder), tmp_path, jobs=0)


def test_an_empty_scan_is_an_error(tmp_path: Path) -> None:
    nothing: FolderScan = scan_pattern_of_nothing(tmp_path)
    with pytest.raises(ValueError, match="gets none of 0 samples"):
        pack(nothing, tmp_path / "out")


def scan_pattern_of_nothing(directory: Path) -> FolderScan:
    (directory / "a.jpg").write_bytes(jpeg(8, 8))
    scan = scan_pattern(directory, "*.jpg")
    return FolderScan(scan.root, scan.paths[:0], scan.targets[:0], [], {}, scan.keys[:0])
