"""Images in Parquet files. That they are samples as all others are is in test_contract and test_same_samples."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

import fastdata as fd
from fastdata.datasets.parquet import ParquetImageDataset
from fastdata.epoch.orders import orders_of
from fastdata.epoch.window import WindowOrders
from fastdata.errors import ReadError, TargetError
from support.annotated import plain
from support.numbered import TRAIN, image
from support.parquets import IMAGE, Row, features, write_columns, write_parquet
from support.pictures import encoded, jpeg, photo

COUNT = 11
ROWS = [Row(image(number)[1], number, f"a/{number:03}.jpg") for number in range(COUNT)]
IMAGES = pa.array([{"bytes": row.data, "path": row.path} for row in ROWS], IMAGE)


def dataset(path: Path, **how: Any) -> ParquetImageDataset:
    return ParquetImageDataset(path, TRAIN, **how)


def of_columns(root: Path, target: Any, **columns: Any) -> ParquetImageDataset:
    """Eleven images with more columns."""
    return dataset(write_columns(root / "a.parquet", {"image": IMAGES, **columns}), target=target)


WRITTEN: dict[str, dict[str, Any]] = {
    "plain bytes": {"plain": True},
    "one row group": {"row_group_size": 100},
    "a row each": {"row_group_size": 1},
    "without compression": {"compression": "none"},
    "without compression and dictionaries": {"compression": "none", "use_dictionary": False},
    "zstd": {"compression": "zstd"},
    "gzip": {"compression": "gzip"},
    "brotli": {"compression": "brotli"},
    "lz4": {"compression": "lz4"},
    "small pages": {"data_page_size": 1, "write_batch_size": 2, "compression": "none"},
    "pages of version 2": {"data_page_version": "2.0", "use_dictionary": False},
    "delta encoding": {"use_dictionary": False, "column_encoding": {"image.bytes": "DELTA_LENGTH_BYTE_ARRAY"}},
    "delta encoding as it is": {
        "use_dictionary": False,
        "compression": "none",
        "column_encoding": {"image.bytes": "DELTA_BYTE_ARRAY"},
    },
    "checksums": {"write_page_checksum": True, "write_page_index": True},
    "format version 1.0": {"version": "1.0"},
}


@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize("cache_bytes", [1, 1 << 20])
def test_images_are_read_however_they_were_written(tmp_path: Path, how: str, cache_bytes: int) -> None:
    ours = dataset(write_parquet(tmp_path / "a.parquet", ROWS, **WRITTEN[how]), cache_bytes=cache_bytes)
    order = np.random.default_rng(0).permutation(np.tile(np.arange(COUNT), 3))
    for number in order.tolist():
        sample = ours.read(number)
        assert (sample.image, sample.target) == (ROWS[number].data, number)


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary()])
def test_bytes_may_have_long_offsets_and_lie_in_a_struct(tmp_path: Path, type_: Any) -> None:
    for name, column in {
        "a": pa.array([row.data for row in ROWS], type_),
        "b": pa.array([{"bytes": row.data} for row in ROWS], pa.struct([("bytes", type_)])),
    }.items():
        ours = dataset(write_columns(tmp_path / f"{name}.parquet", {"image": column}), target=None)
        assert [ours.read(number).image for number in range(COUNT)] == [row.data for row in ROWS]
        assert [ours.key(number) for number in (0, 10)] == [f"{name}/0", f"{name}/10"]


def test_keys_are_the_paths_where_each_row_has_its_own(tmp_path: Path) -> None:
    def keys(name: str, paths: list[str | None]) -> list[str]:
        rows = [ROWS[number]._replace(path=path) for number, path in enumerate(paths)]
        ours = dataset(write_parquet(tmp_path / f"{name}.parquet", rows))
        return [ours.key(number) for number in range(len(paths))]

    assert keys("own", ["a/b.jpg", "a/c.d.png", "e.JPEG"]) == ["a/b", "a/c_d", "e"]
    assert keys("extensions", ["b.jpg", "b.png"]) == ["b_jpg", "b_png"]
    assert keys("same", ["b.jpg", "c.jpg", "b.jpg"]) == ["same/0", "same/1", "same/2"]
    assert keys("gap", ["b.jpg", None]) == ["gap/0", "gap/1"]
    assert keys("empty", ["b.jpg", ""]) == ["empty/0", "empty/1"]


def test_keys_are_those_of_a_column(tmp_path: Path) -> None:
    names, numbers = [f"n{number}" for number in range(COUNT)], list(range(100, 100 + COUNT))
    path = write_columns(tmp_path / "a.parquet", {"image": IMAGES, "__key__": names, "id": numbers})
    assert dataset(path, target=None).key(7) == "n7"
    assert dataset(path, target=None, key="id").key(7) == "107"
    with pytest.raises(ValueError, match=r"no column 'nothing', but 'image' \(images, as structs.*'id' \(integers\)"):
        dataset(path, target=None, key="nothing")
    with pytest.raises(ValueError, match="keys are text or integers, and its column 'image' has images"):
        dataset(path, target=None, key="image")


def test_a_key_that_is_there_twice_is_an_error_that_says_where(tmp_path: Path) -> None:
    for name, keys in {"a": ["x", "y"], "b": ["z", "z2", "y"]}.items():
        write_columns(tmp_path / f"{name}.parquet", {"image": IMAGES[: len(keys)], "__key__": keys})
    with pytest.raises(ValueError, match=r"a\.parquet, row 1 of .*, and .*b\.parquet, row 2 of .* share the key 'y'"):
        dataset(tmp_path / "*.parquet", target=None)
    dataset(tmp_path / "b.parquet", target=None)
    write_columns(tmp_path / "c.parquet", {"image": IMAGES[:2], "__key__": ["x", None]})
    with pytest.raises(ValueError, match=r"c\.parquet, row 1 of row group 0: has no key in its column '__key__'"):
        dataset(tmp_path / "c.parquet", target=None)


def test_a_column_of_keys_that_only_some_files_have_is_an_error(tmp_path: Path) -> None:
    write_columns(tmp_path / "a.parquet", {"image": IMAGES[:2], "__key__": ["x", "y"]})
    write_columns(tmp_path / "b.parquet", {"image": IMAGES[2:4]})
    with pytest.raises(
        ValueError, match=r"b\.parquet: its column '__key__' is missing, and that of .*a\.parquet has text"
    ):
        dataset(tmp_path / "*.parquet", target=None)


def test_rows_of_files_of_one_name_have_no_keys_of_their_own(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        write_parquet(tmp_path / folder / "train.parquet", ROWS[:2], plain=True)
    with pytest.raises(ValueError, match=r"a/train\.parquet and .*b/train\.parquet have one name.*say key="):
        dataset(tmp_path / "*/train.parquet")


TARGETS: dict[str, tuple[Any, Any]] = {
    "int": (list(range(COUNT)), 7),
    "small int": (pa.array(range(COUNT), pa.uint8()), 7),
    "bool": ([number > 3 for number in range(COUNT)], 1),
    "float": ([number / 4 for number in range(COUNT)], 1.75),
    "text": ([f"number {number}" for number in range(COUNT)], "number 7"),
    "categories": (pa.array([f"{number % 2}" for number in range(COUNT)]).dictionary_encode(), "1"),
    "numbers": ([[float(number), 1.0] for number in range(COUNT)], ("float64", [7.0, 1.0])),
    "fixed numbers": (
        pa.array([[number, 1] for number in range(COUNT)], pa.list_(pa.int16(), 2)),
        ("int16", [7, 1]),
    ),
    "no numbers": ([[]] * 7 + [[], [1]] + [[]] * 2, ("int64", [])),
    "gaps": ([[number, None] for number in range(COUNT)], [7, None]),
    "lists of lists": ([[[number]] for number in range(COUNT)], [[7]]),
    "struct": ([{"a": number, "b": "c"} for number in range(COUNT)], {"a": 7, "b": "c"}),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_is_what_is_in_its_column(tmp_path: Path, name: str) -> None:
    column, expected = TARGETS[name]
    ours = of_columns(tmp_path, "label", label=column)
    assert plain(ours.read(7).target) == expected
    assert plain(ours.samples[7][1]) == expected
    assert plain(list(ours.targets)[7]) == expected
    named = of_columns(tmp_path, {"mine": "label"}, label=column)
    assert plain(named.read(7).target) == {"mine": expected}


def test_bytes_are_what_their_column_is_named_after_or_what_is_said(tmp_path: Path) -> None:
    columns = {
        "caption.txt": [f"number {number}".encode() for number in range(COUNT)],
        "cls": [b"%d" % number for number in range(COUNT)],
        "seg": pa.array([{"bytes": encoded(photo(64, 48), "PNG", mode="L"), "path": None}] * COUNT, IMAGE),
    }
    ours = of_columns(tmp_path, ["caption.txt", "cls"], **columns)
    assert ours.read(7).target == {"caption.txt": "number 7", "cls": 7}
    path = tmp_path / "a.parquet"
    assert dataset(path, target=fd.Raw("cls")).read(7).target == b"7"
    with pytest.raises(ValueError, match="say what it is by a field"):
        dataset(path, target="seg")


def test_boxes_and_masks_in_columns_follow_the_view(tmp_path: Path) -> None:
    objects = [{"bbox": [[1.0, 2.0, 30.0, 20.0]] * (number % 3), "category": [5] * (number % 3)} for number in range(6)]
    masks = [{"bytes": encoded(photo(64, 48, number), "PNG", mode="L"), "path": None} for number in range(6)]
    images = [{"bytes": jpeg(64, 48, number), "path": f"{number}.jpg"} for number in range(6)]
    path = write_columns(
        tmp_path / "a.parquet",
        {"image": pa.array(images, IMAGE), "objects": objects, "mask": pa.array(masks, IMAGE)},
    )
    fields: dict[str, Any] = {
        "objects": fd.Boxes("objects", "bbox", "xywh", labels="category"),
        "mask": fd.Mask("mask"),
    }
    ours = ParquetImageDataset(path, [fd.CenterCrop((40, 50))], target=fields)
    _, target = ours[2]
    assert target["mask"].shape == (40, 50)
    assert target["objects"]["boxes"].tolist() == [[0.0, 0.0, 24.0, 18.0]] * 2
    assert target["objects"]["labels"].tolist() == [5, 5]


def test_what_is_null_is_an_error_that_says_which(tmp_path: Path) -> None:
    label = [None if number == 7 else number for number in range(COUNT)]
    ours = of_columns(tmp_path, "label", label=label)
    for ask in (ours.read, lambda number: ours.targets[number]):
        with pytest.raises(TargetError, match=r"sample 'a/007' in .*a\.parquet, row 3 of row group 1: .*is null"):
            ask(7)


def test_targets_are_known_at_once_where_they_are_integers(tmp_path: Path) -> None:
    ours = of_columns(tmp_path, "label", label=pa.array(range(COUNT), pa.int8()))
    assert isinstance(ours.targets, np.ndarray)
    assert (ours.targets.dtype, ours.targets.tolist()) == (np.dtype(np.int64), list(range(COUNT)))


def test_classes_are_those_of_hugging_faces_label(tmp_path: Path) -> None:
    for name, classes in {"a": ["cat", "dog"], "b": ["dog", "cat"]}.items():
        write_parquet(tmp_path / f"{name}.parquet", ROWS[:3], metadata=features(label=classes))
    ours = dataset(tmp_path / "a.parquet")
    assert (ours.classes, ours.class_to_idx) == (["cat", "dog"], {"cat": 0, "dog": 1})
    assert dataset(tmp_path / "a.parquet", target=None).classes == []
    with pytest.raises(ValueError, match=r"b\.parquet has other classes in its column 'label' than .*a\.parquet"):
        dataset(tmp_path / "*.parquet")


@pytest.mark.parametrize(
    "metadata", [b"", b"[", b"[]", b'{"info": 3}', b"[" * 10000, b"\xff", b'{"info": {"features": ']
)
def test_metadata_of_somebody_else_are_no_classes(tmp_path: Path, metadata: bytes) -> None:
    assert dataset(write_parquet(tmp_path / "a.parquet", ROWS, metadata={b"huggingface": metadata})).classes == []


def with_nulls(root: Path) -> Path:
    """Of eleven images two that are not there: a null, and a struct without bytes."""
    images = IMAGES.to_pylist()
    images[2], images[9] = None, {"bytes": None, "path": "/etc/passwd"}
    return write_columns(root / "a.parquet", {"image": pa.array(images, IMAGE), "label": list(range(COUNT))})


def test_an_image_that_is_null_is_a_bad_sample(tmp_path: Path) -> None:
    ours = dataset(with_nulls(tmp_path))
    for number in (2, 9):
        with pytest.raises(ReadError, match="its column 'image' has no bytes here; a path alone is not followed"):
            ours[number]
    loader = fd.Loader(ours, 4, on_error="skip", max_skipped=2)
    assert {target for _, targets in loader for target in targets.tolist()} == set(range(COUNT)) - {2, 9}
    assert [(key, where) for key, where, _ in loader.skipped] == [(ours.key(n), ours.where(n)) for n in (2, 9)]


def test_a_table_joins_the_rows_by_key(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", ROWS)
    (tmp_path / "t.csv").write_text(
        "file,label,split\n" + "".join(f"a/{n:03}.jpg,{n * 2},{n % 2}\n" for n in range(11))
    )
    table = fd.Table(tmp_path / "t.csv", "file", "label", where={"split": 1})
    ours = dataset(path, target=table)
    assert [ours.read(number).target for number in range(len(ours))] == [2, 6, 10, 14, 18]
    assert [ours.key(number) for number in range(len(ours))] == ["a/001", "a/003", "a/005", "a/007", "a/009"]
    assert ours.key_hashes().shape == (5,)
    assert ours.block_ends.tolist() == [2, 4, 5]
    assert ours.left_out
    assert ours.fingerprint != dataset(path).fingerprint


def test_blocks_are_row_groups(tmp_path: Path) -> None:
    for name, part in (("a", ROWS[:6]), ("b", []), ("c", ROWS[6:])):
        write_parquet(tmp_path / f"{name}.parquet", part)
    ours = dataset(tmp_path / "*.parquet")
    assert ours.block_ends.tolist() == [4, 6, 10, 11]
    assert ours.block_size == 3
    by_window = orders_of(ours, COUNT, None, "window", 0)
    assert isinstance(by_window, WindowOrders)
    assert by_window.block_size == 3
    stored = sum((tmp_path / f"{name}.parquet").stat().st_size for name in "ac")
    assert ours.bytes_per_sample == stored / COUNT
    assert [ours.where(number).rpartition("/")[2] for number in (0, 5, 6, 10)] == [
        "a.parquet, row 0 of row group 0",
        "a.parquet, row 1 of row group 1",
        "c.parquet, row 0 of row group 0",
        "c.parquet, row 0 of row group 1",
    ]


@pytest.fixture
def many(tmp_path: Path) -> ParquetImageDataset:
    """Forty files of a few row groups each, of which hardly one fits into the cache."""
    for number in range(40):
        rows = [row._replace(path=f"{number}/{row.path}") for row in ROWS]
        write_parquet(tmp_path / f"{number:02}.parquet", rows, compression="none" if number % 2 else "snappy")
    return dataset(tmp_path / "*.parquet", cache_bytes=20_000)


def test_threads_read_at_once_from_few_open_files(many: ParquetImageDataset) -> None:
    before = len(os.listdir("/proc/self/fd"))
    numbers = np.random.default_rng(0).permutation(len(many)).tolist()
    with ThreadPoolExecutor(8) as pool:
        for number, sample in zip(numbers, pool.map(many.read, numbers), strict=True):
            assert sample.image == ROWS[number % COUNT].data
    assert len(os.listdir("/proc/self/fd")) <= before + 1


# Python 3.12 warns of forking a process with threads, which torch has.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_worker_reads_while_threads_of_its_parent_do(many: ParquetImageDataset) -> None:
    loader = iter(fd.Loader(many, 8, num_threads=3))
    next(loader)  # its threads read on
    batches = DataLoader(many, 44, num_workers=2, collate_fn=fd.collate)
    targets = torch.cat([targets for _, targets in batches])
    assert targets.tolist() == list(range(COUNT)) * 40


def replaced(path: Path) -> str:
    write_parquet(path, ROWS[::-1])
    return "another file than it was when the dataset was made"


def cut_short(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:-100])
    return "no Parquet file: it ends in"


def a_pipe(path: Path) -> str:
    path.unlink()
    os.mkfifo(path)
    return "no regular file"


@pytest.mark.parametrize("change", [replaced, cut_short, a_pipe])
def test_a_file_that_changes_is_noticed_and_never_read_as_the_one_that_it_was(
    tmp_path: Path, change: Callable[[Path], str]
) -> None:
    path = write_parquet(tmp_path / "a.parquet", ROWS, compression="none")
    ours = dataset(path, target=None, cache_bytes=1)  # labels would notice it as well
    for number in (0, 5, 0):  # so that those of the first row group are read in place
        assert ours.read(number).image == ROWS[number].data
    ours.read(5)
    expected = change(path)
    for number in (0, 10):
        with pytest.raises(ReadError, match=rf"a\.parquet, row \d of row group \d: .*a\.parquet.* {expected}"):
            ours.read(number)


def test_a_damaged_page_is_a_bad_sample_of_its_file_row_group_and_column(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", ROWS, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    assert ROWS[5].data is not None
    at = data.index(ROWS[5].data[-40:])
    data[at] ^= 1
    path.write_bytes(data)
    ours = dataset(path)
    assert ours.read(0).image == ROWS[0].data
    with pytest.raises(ReadError, match=r"a\.parquet, row group 1, column 'image.bytes': .*(CRC|checksum)"):
        ours.read(5)


def test_a_byte_that_is_changed_anywhere_is_at_worst_an_error_that_names_the_file(tmp_path: Path) -> None:
    path, rng = tmp_path / "a.parquet", np.random.default_rng(0)
    for compression in ("none", "snappy"):
        whole = write_parquet(path, ROWS, compression=compression).read_bytes()
        footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
        for at in [*rng.integers(footer, len(whole), 100).tolist(), *rng.integers(0, footer, 40).tolist()]:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ int(rng.integers(1, 256))]) + whole[at + 1 :])
            try:
                ours = dataset(path)
                for number in range(min(len(ours), COUNT)):
                    ours.read(number)
            except (OSError, ValueError) as error:
                assert "a.parquet" in str(error)  # noqa: PT017 - it may be none at all


WRONG: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is no Parquet file: it ends in b''"),
    "a JPEG": (jpeg(8, 8), "is no Parquet file"),
    "no footer": (b"PAR1" + bytes(4) + b"PAR1", "claims a footer of 0 bytes"),
    "a large footer": (b"PAR1" + b"\xff\xff\xff\x7f" + b"PAR1", "claims a footer of 2147483647 bytes"),
    "noise": (b"PAR1" + bytes(range(100)) + (100).to_bytes(4, "little") + b"PAR1", "a.parquet: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_parquet_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    data, expected = WRONG[name]
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(OSError, match=expected) as caught:
        dataset(tmp_path / "a.parquet")
    assert "a.parquet" in str(caught.value)


def test_what_can_not_be_read_at_once_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(
        tmp_path / "a.parquet", ROWS * 60, row_group_size=1000, compression="none", use_dictionary=False
    )
    ours = dataset(path)
    monkeypatch.setattr("fastdata.sources.ranges.MAX_BYTES", 1 << 16)
    with pytest.raises(ReadError, match=r"row group 0, column 'image.bytes': \d+ bytes lie there.*smaller row groups"):
        ours.read(0)


def test_a_table_of_very_many_columns_is_refused(tmp_path: Path) -> None:
    schema = pa.schema([(f"{number}", pa.null()) for number in range(10_001)])
    write_columns(tmp_path / "a.parquet", {field.name: pa.nulls(1) for field in schema})
    with pytest.raises(OSError, match="has 10001 columns: more than 10000"):
        dataset(tmp_path / "a.parquet")


def test_arguments_that_name_nothing_are_errors_that_say_what_is_there(tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.parquet", {"image": IMAGES, "text": ["a"] * COUNT})
    with pytest.raises(ValueError, match=r"no column 'label', but 'image' \(.*\), 'text' \(text\)"):
        dataset(path)
    with pytest.raises(ValueError, match="its column 'text' has text, not images"):
        dataset(path, image="text", target=None)
    with pytest.raises(IsADirectoryError, match=r"name the files in it, as .*/\*\.parquet"):
        dataset(tmp_path)
    with pytest.raises(FileNotFoundError):
        dataset(tmp_path / "b.parquet")
    write_columns(tmp_path / "b.parquet", {"image": IMAGES, "text": list(range(COUNT))})
    with pytest.raises(
        ValueError, match=r"b\.parquet: its column 'text' has integers, and that of .*a\.parquet has text"
    ):
        dataset(tmp_path / "*.parquet", target="text")
    write_parquet(tmp_path / "c.parquet", [])
    with pytest.raises(ValueError, match=r"c\.parquet has no rows"):
        dataset(tmp_path / "c.parquet")


def test_reading_row_groups_over_and_over_is_warned_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdata.sources.columnar.row_groups._MUCH", 100_000)
    rows = [ROWS[number % COUNT] for number in range(60)]
    numbers = np.random.default_rng(0).permutation(60).tolist()
    path = write_parquet(tmp_path / "a.parquet", rows, row_group_size=20)
    ours = dataset(path, cache_bytes=1)
    with pytest.warns(RuntimeWarning, match="read again and again") as caught:
        assert [ours.read(number).target for number in numbers] == [number % COUNT for number in numbers]
    assert len(caught) == 1
    in_place = dataset(
        write_parquet(tmp_path / "b.parquet", rows, row_group_size=20, compression="none"), cache_bytes=1
    )
    for number in numbers:
        in_place.read(number)


def test_without_pyarrow_an_error_says_what_to_install(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", ROWS)
    code = (
        "import sys; sys.modules['pyarrow'] = None; import fastdata as fd\n"
        f"try: fd.ParquetImageDataset({str(path)!r})\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said.strip() == f"{path} is read by pyarrow: pip install 'fastdata-images[parquet]'"


def test_pyarrow_is_imported_when_it_is_needed() -> None:
    code = "import sys, fastdata; fastdata.ParquetImageDataset; print('pyarrow' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_nothing_of_a_value_is_more_than_json(tmp_path: Path) -> None:
    ours = of_columns(tmp_path, fd.Json("meta"), meta=[{"a": b"\xff"}] * COUNT)
    with pytest.raises(TargetError, match="'meta' can't be used: is neither bytes nor text, and no JSON"):
        ours.read(0)
    ours = of_columns(tmp_path, fd.Json("meta", "a"), meta=[{"a": [1, 2]}] * COUNT)
    assert json.dumps(ours.read(0).target) == "[1, 2]"
