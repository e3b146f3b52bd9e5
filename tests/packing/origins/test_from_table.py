"""A table says what is packed: which images, in which order, with which classes and columns."""

import json
import os
from pathlib import Path

import pytest

from fastdata.errors import PackError
from fastdata.packing.engines import Processes
from fastdata.packing.origins.collect import collect
from fastdata.packing.origins.from_table import collect_table
from fastdata.packing.origins.labels import NO_LABELS, Labels
from fastdata.packing.pack import pack, pack_by
from fastdata.packing.plan import ShardCount
from fastdata.packing.recipe import Recipe
from fastdata.sources import manifest
from fastdata.sources.shard import Shard
from support.packed import files_of, keys_of

ROWS = [("b/3.jpg", "eel"), ("a/1.jpg", "ant"), ("a/2.png", "cow"), ("b/4.jpg", "ant")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five images, of which the tables name four, with captions beside all."""
    for name, _ in [*ROWS, ("c/5.jpg", "")]:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        path.with_suffix(".txt").write_text(f"of {name}")
    return tmp_path / "photos"


def csv(path: Path, names: list[str]) -> Path:
    rows = [f"{i},{name},{label}" for i, (name, (_, label)) in enumerate(zip(names, ROWS, strict=False))]
    path.write_text("\n".join(["score,file,label", *rows]))
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows_are_packed_in_their_order_with_class_and_columns(root: Path, tmp_path: Path, kind: str) -> None:
    table = tmp_path / f"table.{kind}"
    records = [{"score": i, "file": name, "label": label} for i, (name, label) in enumerate(ROWS)]
    match kind:
        case "csv":
            csv(table, [name for name, _ in ROWS])
        case "jsonl":
            table.write_text("\n".join(map(json.dumps, records)))
        case "parquet":
            pyarrow = pytest.importorskip("pyarrow")
            from pyarrow import parquet

            parquet.write_table(pyarrow.Table.from_pylist(records), table)
    source = collect_table(Labels(table, "file", fields=["score"]), root, ["txt"])
    (made,) = pack_by(source, tmp_path / "out", Recipe(division=ShardCount(2), check=False), Processes(1))
    assert made.classes == ("ant", "cow", "eel")
    assert keys_of(tmp_path / "out") == ["b/3", "a/1", "a/2", "b/4"]
    shard = Shard(tmp_path / "out/train-000000.tar")
    assert [shard.cls(row) for row in range(2)] == [2, 0]
    assert [shard.read(0, extension) for extension in ("jpg", "json", "txt")] == [
        b"b/3.jpg",
        b'{"score": 0}',
        b"of b/3.jpg",
    ]


def test_paths_may_be_absolute_or_beside_the_table(root: Path, tmp_path: Path) -> None:
    absolute = csv(tmp_path / "absolute.csv", [f"{root}/{name}" for name, _ in ROWS])
    beside = csv(root / "beside.csv", [f"./{name}" for name, _ in ROWS])
    recipe = Recipe(check=False)
    pack_by(collect_table(Labels(absolute, "file"), root), tmp_path / "one", recipe, Processes(1))
    pack_by(collect_table(Labels(beside, "file")), tmp_path / "two", recipe, Processes(1))
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_a_root_with_dots_has_absolute_paths_in_it_and_a_nul_is_named(root: Path, tmp_path: Path) -> None:
    name = next(path for path in sorted(root.rglob("*.jpg")))
    (tmp_path / "up").mkdir()
    (tmp_path / "table.csv").write_text(f"file\n{name}\n")
    dotted = f"{tmp_path}/up/../{os.path.relpath(root, tmp_path)}"
    assert list(collect_table(Labels(tmp_path / "table.csv"), dotted).scan.paths) == [str(name.relative_to(root))]
    (tmp_path / "table.jsonl").write_text('{"file": "a\\u0000.jpg"}\n')
    with pytest.raises(ValueError, match=r"table\.jsonl, row 1: .* is no plain path"):
        collect_table(Labels(tmp_path / "table.jsonl"), root)


def test_a_table_of_a_whole_folder_makes_the_shards_of_the_folder_with_that_table(root: Path, tmp_path: Path) -> None:
    names = sorted(name for name, _ in ROWS)
    table = csv(tmp_path / "table.csv", names)
    pack_by(collect_table(Labels(table, "file"), root), tmp_path / "one", Recipe(check=False), Processes(1))
    folder = collect(root, "[ab]/*.{jpg,png}", Labels(table, "file"))
    pack(folder, tmp_path / "two", jobs=1, check=False)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_classes_can_be_left_away_and_need_not_be_there(root: Path, tmp_path: Path) -> None:
    table = csv(tmp_path / "table.csv", [name for name, _ in ROWS])
    (tmp_path / "names.csv").write_text("file\na/1.jpg\n")
    for labels in (Labels(table, "file", NO_LABELS), Labels(tmp_path / "names.csv")):
        source = collect_table(labels, root)
        assert set(source.scan.targets.tolist()) == {-1}
        assert source.scan.classes == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../secret.jpg", r"row 2: '\.\./secret\.jpg' is no plain path below"),
        ("a/../a/1.jpg", "is no plain path below"),
        ("/etc/passwd", r"'/etc/passwd' is not in .*photos: say by --root"),
        ("https://example.org/1.jpg", r"is a URL, and .b/3\.jpg. is none"),
        ("b/3.jpg", "again, after row 1: remove one of these rows"),
        ("./b/3.jpg", "again, after row 1"),
        ("", "names no image: it holds ''"),
    ],
)
def test_a_row_that_names_no_file_below_the_root_is_refused(
    root: Path, tmp_path: Path, name: str, problem: str
) -> None:
    table = csv(tmp_path / "table.csv", ["b/3.jpg", name])
    with pytest.raises(ValueError, match=problem):
        collect_table(Labels(table, "file"), root)


def test_a_file_that_is_not_there_is_named(root: Path, tmp_path: Path) -> None:
    table = csv(tmp_path / "table.csv", ["a/1.jpg", "a/9.jpg"])
    with pytest.raises(PackError, match=r"photos/a/9\.jpg can't be read: No such file"):
        pack_by(collect_table(Labels(table, "file"), root), tmp_path / "out", Recipe(), Processes(1))


def test_a_link_out_of_the_root_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "a/6.jpg").symlink_to(tmp_path / "secret.jpg")
    table = Labels(csv(tmp_path / "table.csv", ["a/6.jpg"]), "file")
    with pytest.raises(ValueError, match=r"a link takes .*6\.jpg from outside"):
        collect_table(table, root, follow_links=False)
    assert len(collect_table(table, root).scan) == 1


def test_a_row_without_a_class_or_a_table_without_rows_is_an_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("file,label\na/1.jpg,\nb/3.jpg,eel\n")
    with pytest.raises(PackError, match=r"has nothing for a/1\.jpg in its column 'label' \(1 of 2 images\)"):
        collect_table(Labels(tmp_path / "table.csv"), root)
    assert collect_table(Labels(tmp_path / "table.csv"), root, missing="allow").scan.targets.tolist() == [-1, 0]
    (tmp_path / "empty.csv").write_text("file,label\n")
    with pytest.raises(ValueError, match=r"empty\.csv has no rows"):
        collect_table(Labels(tmp_path / "empty.csv"), root)


def test_what_the_json_says_of_classes_is_the_tables(root: Path, tmp_path: Path) -> None:
    table = csv(tmp_path / "table.csv", [name for name, _ in ROWS])
    pack_by(collect_table(Labels(table, "file"), root), tmp_path / "out", Recipe(check=False), Processes(1))
    assert manifest.load(tmp_path / "out/train.json").classes == ("ant", "cow", "eel")
