"""`fastdata shard` packs what lies beside images and in tables, and says what it did not pack."""

from pathlib import Path

import pytest

from fastdata.commands.info import describe
from fastdata.images import kernel
from fastdata.sources import manifest
from support.commands import Command
from support.pictures import encoded, jpeg, photo


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six photos with captions and masks, five with a json; no class folders. A table of seven beside the folder."""
    root = tmp_path / "source"
    root.mkdir()
    rows = ["file,label,score"]
    for i in range(6):
        (root / f"{i}.jpg").write_bytes(jpeg(64, 48, i))
        (root / f"{i}.txt").write_text(f"caption {i}")
        (root / f"{i}.seg.png").write_bytes(encoded(photo(64, 48, i), "PNG", mode="L"))
        if i < 5:
            (root / f"{i}.json").write_text("{}")
        rows.append(f"{i},{('cat', 'dog')[i % 2]},{i}")
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "6,eel,6"]))
    return root


def test_captions_and_masks_are_packed_and_shown(fastdata: Command, source: Path, tmp_path: Path) -> None:
    result = fastdata("shard", source, tmp_path / "out", "--labels", "none", "--fields", "txt,seg.png")
    assert (result.status, result.err) == (0, "")
    assert result.out.endswith("left out: 5 .json; pack what lies beside images by --fields json\n")
    assert describe(tmp_path / "out")[0].extensions == {"jpg": 6, "txt": 6, "seg.png": 6}
    assert "jpg 6, txt 6, seg.png 6" in fastdata("info", tmp_path / "out").out


def test_a_missing_field_is_an_error_that_names_what_allows_it(fastdata: Command, source: Path, tmp_path: Path) -> None:
    arguments = ["shard", source, tmp_path / "out", "--labels", "none", "--fields", "txt,json,seg.png"]
    refused = fastdata(*arguments)
    assert (refused.status, refused.out) == (1, "")
    assert "5.jpg has no field 'json'" in refused.err
    allowed = fastdata(*arguments, "--missing-fields", "allow")
    assert allowed.out.splitlines()[1:] == ["without json: 1 of 6 samples"]
    assert describe(tmp_path / "out")[0].extensions == {"jpg": 6, "txt": 6, "json": 5, "seg.png": 6}


def test_what_is_left_out_comes_with_the_option_that_packs_it(fastdata: Command, source: Path, tmp_path: Path) -> None:
    result = fastdata("shard", source, tmp_path / "out", "--labels", "none")
    expected = "left out: 5 .json, 6 .txt; pack what lies beside images by --fields json,txt\n"
    assert result.out.endswith(expected)
    assert "warning: 6 images are named as others are, but end in .seg.png: " in result.err
    assert "pack them with their images by --fields seg.png" in result.err
    by_pattern = fastdata("shard", source, tmp_path / "other", "--labels", "none", "--pattern", "*.jpg")
    expected = "left out: what no pattern asked for; pack what lies beside images by --fields json,seg.png,txt\n"
    assert by_pattern.out.endswith(expected)
    assert by_pattern.err == ""


def test_a_few_images_of_related_names_are_not_taken_for_masks(fastdata: Command, source: Path, tmp_path: Path) -> None:
    for i in range(1, 6):
        (source / f"{i}.seg.png").unlink()
    assert fastdata("shard", source, tmp_path / "out", "--labels", "none").err == ""


def test_a_table_gives_classes_and_columns(fastdata: Command, source: Path, tmp_path: Path) -> None:
    arguments = ["--labels", tmp_path / "labels.csv", "--pattern", "*.jpg", "--label-fields", "score"]
    result = fastdata("shard", source, tmp_path / "out", *arguments)
    assert (result.status, result.err) == (0, "")
    assert ": 6 samples, 3 classes; " in result.out
    assert "left out: 1 rows of labels.csv without an image; pack" in result.out
    assert manifest.load(tmp_path / "out/train.json").classes == ("cat", "dog", "eel")
    assert describe(tmp_path / "out")[0].extensions == {"jpg": 6, "cls": 6, "json": 6}


def test_the_tables_columns_are_said(fastdata: Command, source: Path, tmp_path: Path) -> None:
    table = tmp_path / "odd.csv"
    table.write_text("score,kind,where\n" + "".join(f"{i},{i % 2},{i}.jpg\n" for i in range(6)))
    columns = ["--labels-key", "where", "--label-column", "kind"]
    result = fastdata("shard", source, tmp_path / "out", "--labels", table, *columns, "--fields", "seg.png")
    assert (result.status, result.err) == (0, "")
    assert ": 6 samples, class indexes; " in result.out
    assert describe(tmp_path / "out")[0].classes == {"0": 3, "1": 3}


def test_class_folders_beside_a_table_are_not_asked_about(fastdata: Command, tmp_path: Path) -> None:
    for part in ("train", "val"):
        (tmp_path / "source" / part).mkdir(parents=True)
        (tmp_path / "source" / part / "1.jpg").write_bytes(jpeg(8, 8))
    (tmp_path / "labels.csv").write_text("file,label\ntrain/1,train\nval/1,val\n")
    result = fastdata("shard", tmp_path / "source", tmp_path / "out", "--labels", tmp_path / "labels.csv")
    assert (result.status, result.err) == (0, "")


def test_masks_and_encoding_do_not_go_together(fastdata: Command, source: Path, tmp_path: Path) -> None:
    encode = ["--labels", "none", "--jpeg", "encode", "--max-side", 32]
    refused = fastdata("shard", source, tmp_path / "out", *encode, "--fields", "txt,seg.png")
    assert (refused.status, refused.out) == (1, "")
    assert refused.err.startswith("fastdata: encode(max_side=32, quality=92) turns images upright and shrinks them")
    assert not (tmp_path / "out").exists()
    warned = fastdata(
        *("shard", source, tmp_path / "out", *encode, "--pattern", "*.jpg"),
        *("--fields", "txt,json", "--missing-fields", "allow"),
    )
    assert warned.status == 0
    assert "warning: --jpeg encode turns images upright and shrinks them" in warned.err
    assert "any in json, then keep the images" in warned.err
    captions = ["--fields", "txt", "--pattern", "*.jpg"]
    assert fastdata("shard", source, tmp_path / "captions", *encode, *captions).err == ""


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--labels", "nowhere.csv"], "'nowhere.csv' is neither 'folder' nor 'none', and there is no such table"),
        (["--labels-key", "file"], "belong to --labels TABLE"),
        (["--label-column", "kind", "--labels", "none"], "belong to --labels TABLE"),
        (["--label-fields", "score"], "belong to --labels TABLE"),
        (["--missing-fields", "ignore"], "'ignore'"),
    ],
)
def test_a_wrong_usage_is_told(
    fastdata: Command, source: Path, tmp_path: Path, options: list[str], problem: str
) -> None:
    result = fastdata("shard", source, tmp_path / "out", *options)
    assert result.status == 2
    assert problem in " ".join(result.err.replace("│", " ").split())


def test_links_of_fields_are_followed_where_that_is_asked(fastdata: Command, source: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (source / "5.json").symlink_to(tmp_path / "secret")
    arguments = ["shard", source, tmp_path / "out", "--labels", "none", "--fields", "json,seg.png"]
    refused = fastdata(*arguments)
    assert (refused.status, refused.out) == (1, "")
    assert "5.json from outside of" in refused.err
    assert fastdata(*arguments, "--follow-links").status == 0


def test_names_of_a_table_can_not_steer_the_terminal(fastdata: Command, source: Path, tmp_path: Path) -> None:
    table = tmp_path / "a\x1b[31m.csv"
    table.write_text("\x1b[2J,b\n1,2\n")
    result = fastdata("shard", source, tmp_path / "out", "--labels", table)
    assert result.status == 1
    assert "\\x1b[2J" in result.err
    assert "\x1b" not in result.err


@pytest.mark.skipif(kernel.KERNEL is None, reason="the kernel is not built")
def test_damaged_images_are_told_of_unless_nobody_checks(fastdata: Command, tmp_path: Path) -> None:
    (tmp_path / "photos" / "class").mkdir(parents=True)
    whole = jpeg(320, 240)
    cut_short = whole[: len(whole) // 2] + bytes(len(whole) // 2)
    for name, data in (("good", whole), ("bad", cut_short)):
        (tmp_path / "photos" / "class" / f"{name}.jpg").write_bytes(data)
    told = fastdata("shard", tmp_path / "photos", tmp_path / "checked")
    assert "1 image is damaged" in told.out
    told = fastdata("shard", tmp_path / "photos", tmp_path / "plain", "--check", "none")
    assert "is damaged" not in told.out
    assert not any(shard.checked for shard in manifest.load(tmp_path / "plain" / "train.json").shards)
