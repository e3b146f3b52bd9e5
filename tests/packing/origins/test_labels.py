"""Rows find their images, and what is missing or left over is said."""

from pathlib import Path
from typing import Any

import pytest

from fastdata.errors import PackError
from fastdata.packing.origins.collect import collect
from fastdata.packing.origins.labels import Labels
from fastdata.packing.origins.select import with_keys
from fastdata.packing.origins.source import Source


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("1.jpg", "b/2.jpg", "b/2.png", "b/x.y.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "photos"


def labelled(photos: Path, content: str, missing: Any = "error", pattern: str | None = None, **columns: Any) -> Source:
    table = photos.parent / "labels.csv"
    table.write_text(content)
    return collect(photos, pattern, Labels(table, **columns), missing=missing)


def by_path(source: Source) -> dict[str, str]:
    return {
        path: source.scan.classes[target] if target >= 0 else ""
        for path, target in zip(source.scan.paths, source.scan.targets.tolist(), strict=True)
    }


ALL = "file,label\n1.jpg,cat\nb/2.jpg,dog\nb/2.png,ant\nb/x.y.jpg,cat\n"


@pytest.mark.parametrize(
    "content",
    [
        ALL,
        "label,file\ncat,./1.jpg\ndog,b/2.jpg\nant,b/2.png\ncat,./b/x.y.jpg\n",
        "file,label\n1,cat\nb/2_jpg,dog\nb/2.png,ant\nb/x.y,cat\n",
        "file,label\nb/x_y,cat\nb/2_png,ant\nb/2_jpg,dog\n1,cat\n",
    ],
)
def test_a_row_names_its_image_by_path_with_or_without_extension_or_by_key(photos: Path, content: str) -> None:
    source = labelled(photos, content, key="file")
    assert by_path(source) == {"1.jpg": "cat", "b/2.jpg": "dog", "b/2.png": "ant", "b/x.y.jpg": "cat"}
    assert source.scan.class_to_idx == {"ant": 0, "cat": 1, "dog": 2}
    assert (source.left_out, source.lacking, source.columns) == ({}, {}, ())


def test_numbers_name_images_too(photos: Path) -> None:
    table = photos.parent / "labels.jsonl"
    table.write_text('{"id": 1, "label": 4}\n')
    source = collect(photos, "*.jpg", Labels(table))
    assert (source.scan.targets.tolist(), source.scan.classes) == ([4], [])


def test_the_whole_table_gives_the_classes_so_that_parts_of_it_agree(photos: Path) -> None:
    source = labelled(photos, ALL, pattern="b/2.jpg")
    assert source.scan.classes == ["ant", "cat", "dog"]
    assert source.scan.targets.tolist() == [2]
    assert source.left_out == {"rows of labels.csv without an image": 3}


def test_columns_become_json_with_or_without_a_class(photos: Path) -> None:
    content = "file,score,caption\n1.jpg,0.5,one\n"
    source = labelled(photos, content, pattern="*.jpg", fields=["caption", "score"])
    assert source.columns == [b'{"caption": "one", "score": 0.5}']
    assert source.scan.targets.tolist() == [-1]
    both = labelled(photos, content, pattern="*.jpg", label="caption", fields=["caption"])
    assert (both.columns, both.scan.classes) == ([b'{"caption": "one"}'], ["one"])


def test_rows_that_are_left_over_are_counted_beside_images_without_a_row(photos: Path) -> None:
    source = labelled(photos, "file,label\n1.jpg,cat\nx.jpg,cat\ny.jpg,cat\n", "allow")
    assert source.left_out == {"rows of labels.csv without an image": 2}
    assert source.lacking == {"cls": 3}


def test_an_image_without_a_row_is_named_or_counted(photos: Path) -> None:
    content = "file,label,n\n1.jpg,cat,1\nb/2.jpg,,2\n"
    expected = r"labels\.csv has no row for b/2\.png \(2 of 4 images have none\).*'file'.*as '1\.jpg'.*--missing-fields"
    with pytest.raises(PackError, match=expected):
        labelled(photos, content)
    source = labelled(photos, content, "allow", fields=["n"])
    assert by_path(source) == {"1.jpg": "cat", "b/2.jpg": "", "b/2.png": "", "b/x.y.jpg": ""}
    assert source.columns == [b'{"n": 1}', b'{"n": 2}', b"", b""]
    assert source.lacking == {"cls": 3, "column n": 2}
    (photos.parent / "keys").write_text("1\nb/2_jpg\n")
    assert with_keys(source, photos.parent / "keys").lacking == {"cls": 1}


def test_a_row_without_a_label_is_an_error_unless_allowed(photos: Path) -> None:
    with pytest.raises(PackError, match=r"has nothing for 1\.jpg in its column 'label' \(1 of 1 images\): add it"):
        labelled(photos, "file,label\n1.jpg,\n", pattern="*.jpg")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.jsonl", '{"file": "b/2.jpg", "n": 1}\n{"file": "b/x.y.jpg"}\n'),
        ("labels.jsonl", '{"n": 1, "file": "b/2.jpg"}\n{"n": null, "file": "b/x.y.jpg"}\n'),
        ("labels.csv", "file,n\nb/2.jpg,1\nb/x.y.jpg,\n"),
    ],
)
def test_an_empty_value_is_an_error_or_null_where_that_is_allowed(photos: Path, name: str, content: str) -> None:
    table = photos.parent / name
    table.write_text(content)
    labels = Labels(table, key="file", fields=["n"])
    with pytest.raises(PackError, match=r"has nothing for b/x\.y\.jpg in its column 'n'"):
        collect(photos, "b/*.jpg", labels)
    source = collect(photos, "b/*.jpg", labels, missing="allow")
    assert (source.columns, source.lacking) == ([b'{"n": 1}', b'{"n": null}'], {"column n": 1})


def test_an_empty_text_is_a_text(photos: Path) -> None:
    source = labelled(photos, "file,caption\n1.jpg,\nb/2.jpg,two\n", pattern="{1,b/2}.jpg", fields=["caption"])
    assert source.columns == [b'{"caption": ""}', b'{"caption": "two"}']


def test_parquet_is_a_table_too(photos: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = photos.parent / "labels.parquet"
    parquet.write_table(arrow.table({"file": ["1.jpg"], "label": ["cat"], "v": [[0.5, 1.0]]}), table)
    source = collect(photos, "*.jpg", Labels(table, fields=["v"]))
    assert (source.scan.classes, source.columns) == (["cat"], [b'{"v": [0.5, 1.0]}'])


def test_names_that_are_numbers_keep_their_zeros(photos: Path) -> None:
    (photos / "1.jpg").rename(photos / "1.50.jpg")
    source = labelled(photos, "file,label\n1.50,3\n", pattern="1.*.jpg")
    assert source.scan.targets.tolist() == [3]


@pytest.mark.parametrize("missing", ["error", "allow"])
def test_a_table_of_other_images_is_never_allowed(photos: Path, missing: str) -> None:
    expected = r"no row for 1\.jpg \(4 of 4 images have none\).*names there are as 'photos/1\.jpg'; none fits"
    with pytest.raises(PackError, match=expected):
        labelled(photos, "file,label\nphotos/1.jpg,cat\n", missing)
    with pytest.raises(PackError, match="it has no rows; none fits"):
        labelled(photos, "file,label\n", missing)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (ALL + "1.jpg,dog\n", r"row 5: '1\.jpg' again, after row 1: remove one of these rows"),
        (ALL + "./1.jpg,dog\n", r"row 5: '\./1\.jpg' again, after row 1"),
        (ALL + "1,cat\n", r"row 5: '1' again, after row 1"),
        (ALL + ",cat\n", "row 5: the column 'file' names no image: it holds ''"),
        ("file,label\nb/2,cat\n", r"row 1: 'b/2' is both b/2\.jpg and b/2\.png: write names with their extensions"),
        ("file,klass\n1.jpg,cat\n", "no column 'label' but file, klass: say which.*--label-column.*--label-fields"),
        ("file,label\n1.jpg,1.5\n", r"labels\.csv, row 1: 1\.5 in the column 'label' is no class"),
    ],
)
def test_what_is_not_clear_is_refused(photos: Path, content: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        labelled(photos, content, "allow")


def test_an_empty_table_is_named(photos: Path) -> None:
    (photos.parent / "labels.jsonl").write_text("\n")
    with pytest.raises(ValueError, match=r"labels\.jsonl is empty"):
        collect(photos, None, Labels(photos.parent / "labels.jsonl"))


@pytest.mark.parametrize("columns", [{"key": "path"}, {"label": "path"}, {"fields": ["path"]}])
def test_a_column_that_is_not_there_is_named_with_those_that_are(photos: Path, columns: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="has no column 'path': it has file, label"):
        labelled(photos, ALL, **columns)


def test_fields_of_a_table_must_differ(photos: Path) -> None:
    with pytest.raises(ValueError, match="the label fields must differ, not label, label"):
        labelled(photos, ALL, fields=["label", "label"])
