"""Parquet files that are damaged, replaced, or none; images that are null; arguments that name nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import fastdata as fd
from fastdata.errors import ReadError, TargetError
from support.parquets import IMAGE, write_columns, write_parquet
from support.photo_rows import COUNT, IMAGES, ROWS, dataset, of_columns
from support.pictures import jpeg


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
