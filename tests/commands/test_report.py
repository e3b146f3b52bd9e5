"""A report's figures are those of the dataset, whatever it lies in and however broken it is."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.commands.info import describe
from fastdata.commands.opened import opened
from fastdata.commands.report.histogram import HEIGHT, WIDTH, histogram
from fastdata.commands.report.source import open_source
from fastdata.commands.report.survey import Survey, spread_numbers, survey
from fastdata.commands.report.verdicts import verdicts
from fastdata.errors import ManifestError, TarError
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes, scan_pattern
from fastdata.sources.tars.writer import ShardWriter
from support.commands import Command
from support.http_server import Server
from support.packed import copy_of
from support.pictures import encoded, jpeg, photo
from support.processes import PATIENCE, read_terminal


@pytest.fixture(scope="module")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes: a photo that is in two of them, one that is there three times, one cut off, and no image."""
    root = tmp_path_factory.mktemp("flawed")
    for place, (name, count) in enumerate((("bird", 12), ("cat", 4), ("dog", 3))):
        (root / name).mkdir()
        for number in range(count):
            (root / name / f"{number}.jpg").write_bytes(jpeg(40 + number, 30, number + 100 * place))
    (root / "dog" / "same.jpg").write_bytes((root / "bird" / "0.jpg").read_bytes())
    for name in ("again", "once more"):
        (root / "cat" / f"{name}.jpg").write_bytes((root / "cat" / "1.jpg").read_bytes())
    (root / "cat" / "cut off.jpg").write_bytes(jpeg(300, 200, 5)[:2000])
    (root / "bird" / "none.jpg").write_bytes(b"<html>not found</html>")
    (root / "bird" / "turned.png").write_bytes(encoded(photo(20, 50), "PNG", orientation=6))
    return root


def surveyed(what: object, samples: int = 0) -> Survey:
    return survey(str(what), open_source(str(what)), samples, lambda more: None)[0]


def test_classes_sizes_formats_and_what_is_unreadable_are_told(flawed: Path) -> None:
    found = surveyed(flawed)
    assert (found.samples, found.looked_at, found.shards, found.unlabelled) == (25, 25, 0, 0)
    assert [(one.name, one.samples) for one in found.classes] == [("bird", 14), ("cat", 7), ("dog", 4)]
    assert {fault.key: fault.where for fault in found.unreadable} == {
        "bird/none": f"{flawed}/bird/none.jpg",
        "cat/cut off": f"{flawed}/cat/cut off.jpg",
    }
    assert found.formats == {"JPEG": 22, "PNG": 1}
    assert found.extent == ((40, 42, 51), (20, 30, 30))
    assert (found.turned, found.crop_ready) == (1, 0)
    assert found.bytes_estimated


def test_images_that_are_the_same_are_found_those_of_several_classes_first(flawed: Path) -> None:
    found, source = surveyed(flawed).duplicates, open_source(str(flawed))
    assert source.dataset is not None
    keys = [[source.dataset.key(number) for number in group.numbers] for group in found.groups]
    assert keys == [["bird/0", "dog/same"], ["cat/1", "cat/again", "cat/once more"]]
    assert (found.copies, found.contradicting) == (3, 1)
    assert found.bytes == found.groups[0].bytes + 2 * found.groups[1].bytes


def test_what_stands_out_is_said_with_the_worst_first(flawed: Path) -> None:
    said = [f"{verdict.state}: {verdict.text}" for verdict in verdicts(surveyed(flawed))]
    assert said[:3] == [
        "bad: Unreadable: 2 of the 25 samples looked at.",
        "bad: Images that lie in more than one class, the same to the last byte: 1.",
        "note: Copies of other samples: 3 of 25.",
    ]
    assert "crop-ready" in said[-1]


def test_a_folder_its_shards_their_json_and_a_url_give_the_same_figures(
    flawed: Path, tmp_path: Path, http_server: Server
) -> None:
    pack(scan_classes(flawed), tmp_path, division=ShardCount(3), jobs=1, check=False)
    of_folder = surveyed(flawed)
    for name in ("train.json", "train-000000.tar", "train-000001.tar", "train-000002.tar", "train.index.npy"):
        http_server.put(name, (tmp_path / name).read_bytes())
    for what in (tmp_path, tmp_path / "train.json", f"{tmp_path}/*.tar", http_server.url("train.json")):
        found = surveyed(what)
        assert (found.shards, found.bytes_estimated) == (3, False)
        for field in ("classes", "formats", "extent", "turned", "duplicates", "looked_at"):
            assert getattr(found, field) == getattr(of_folder, field), field
        assert [fault.key for fault in found.unreadable] == [fault.key for fault in of_folder.unreadable]
    assert surveyed(tmp_path).bytes == sum(shard.stat().st_size for shard in tmp_path.glob("*.tar"))


def test_shards_that_cannot_be_opened_are_named_and_the_others_shown(dataset: Path, tmp_path: Path) -> None:
    broken = copy_of(dataset, tmp_path / "broken")
    for file in (*broken.glob("*.json"), *broken.glob("*.npy")):
        file.unlink()
    (broken / "train-000001.tar").write_bytes(b"no tar at all" * 100)
    found = surveyed(broken)
    assert [Path(fault.where).name for fault in found.broken] == ["train-000001.tar"]
    assert (found.samples, found.looked_at, len(found.unreadable)) == (8, 8, 0)
    for shard in broken.glob("*.tar"):
        shard.write_bytes(b"no tar at all" * 100)
    with pytest.raises(TarError, match=r"none of 3 shards of .* can be opened; the first: "):
        surveyed(broken)


def test_a_shard_that_is_gone_is_named(dataset: Path, tmp_path: Path) -> None:
    broken = copy_of(dataset, tmp_path / "broken")
    (broken / "train-000001.tar").unlink()
    for what in (broken / "train.json", broken):
        found = surveyed(what)
        assert found.samples == 8
        assert [fault.where for fault in found.broken] == [f"{broken}/train-000001.tar"]
    with pytest.raises(FileNotFoundError, match=r"lists train-000001\.tar"):
        opened(str(broken), None)
    (broken / "train.json").write_text("{")
    with pytest.raises(ManifestError):
        surveyed(broken / "train.json")


def test_shards_without_classes_have_none(folder: Path, tmp_path: Path) -> None:
    pack(scan_pattern(folder), tmp_path, division=ShardCount(1), jobs=1)
    found = surveyed(tmp_path)
    assert (found.classes, found.unlabelled, found.window, found.unreadable) == ([], 12, None, [])


def test_the_window_shuffle_is_judged_as_info_does_with_samples_of_no_class(tmp_path: Path) -> None:
    for number, classes in enumerate(((0, 0, None), (1, None))):
        with ShardWriter(tmp_path / f"{number}.tar") as shard:
            for place, index in enumerate(classes):
                label = {} if index is None else {"cls": b"%d" % index}
                shard.write(f"{number}{place}", {"jpg": jpeg(24, 16, place)} | label)
    assert surveyed(tmp_path).window == describe(tmp_path)[0].window


def test_so_many_samples_are_looked_at_and_classes_counted_over_all(flawed: Path) -> None:
    found = surveyed(flawed, 5)
    assert (found.looked_at, found.samples, sum(one.samples for one in found.classes)) == (5, 25, 25)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_the_samples_looked_at_are_spread_from_the_first_to_the_last(count: int, samples: int) -> None:
    numbers = spread_numbers(count, samples)
    assert len(numbers) == (min(count, samples) if samples else count)
    assert numbers == sorted(set(numbers))
    if len(numbers) > 1:
        gaps = np.diff(numbers)
        assert (numbers[0], numbers[-1]) == (0, count - 1)
        assert gaps.max() - gaps.min() <= 1


@given(st.lists(st.floats(0.01, 1e9), min_size=1))
def test_a_histogram_has_each_value_once_and_stays_in_its_drawing(values: list[float]) -> None:
    drawn = histogram(np.array(values))
    assert drawn is not None
    assert sum(bar.samples for bar in drawn.bars) == len(values)
    assert (drawn.edges[0], drawn.edges[2]) == (min(values), max(values))
    for bar in drawn.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH * 1.0001
        assert 0 <= bar.y <= bar.y + bar.height <= HEIGHT * 1.0001
    assert max(bar.height for bar in drawn.bars) == HEIGHT


def test_there_is_no_histogram_of_nothing() -> None:
    assert histogram(np.zeros(0)) is None


def test_the_figures_come_as_json_and_nothing_is_written(
    fastdata: Command, flawed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = fastdata("report", flawed, "--json", "--samples", 0)
    assert done.status == 0
    found = json.loads(done.out)
    assert set(found) == {*Survey._fields, "verdicts"}
    assert found["classes"][0] == {"class_index": 0, "name": "bird", "samples": 14}
    assert {fault["key"] for fault in found["unreadable"]} == {"bird/none", "cat/cut off"}
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_page_or_says_why_not(fastdata: Command, flawed: Path, tmp_path: Path) -> None:
    done = fastdata("report", flawed, "--out", tmp_path / "a.html", "--samples", 7)
    assert (done.status, done.out) == (0, f"{tmp_path}/a.html: 25 samples, 7 of them looked at\n")
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    nowhere = fastdata("report", flawed, "--out", tmp_path / "no" / "a.html")
    assert (nowhere.status, nowhere.err) == (1, f"fastdata: no folder {tmp_path}/no for a.html: make it first\n")
    assert fastdata("report", tmp_path / "nothing").status == 1


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that even root may not write into")
@pytest.mark.parametrize("command", ["report", "view", "bench"])
def test_a_folder_that_may_not_be_written_into_is_said_before_the_work(
    fastdata: Command, flawed: Path, command: str
) -> None:
    option = "--png" if command == "bench" else "--out"
    done = fastdata(command, flawed, option, "/proc/self/a.png")
    assert "nothing may be written into the folder /proc/self: name another place for a.png" in done.err
    assert (done.status, done.out, "measuring" in done.err) == (1, "", False)


@pytest.mark.slow
def test_ctrl_c_says_how_many_were_looked_at(flawed: Path, tmp_path: Path) -> None:
    many = tmp_path / "many" / "bird"
    many.mkdir(parents=True)
    for number in range(3000):
        os.link(flawed / "bird" / "1.jpg", many / f"{number}.jpg")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fastdata", "report", str(many.parent), "--out", str(tmp_path / "a.html")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as running:
        os.close(theirs)
        said = os.read(ours, 1 << 16)  # a bar, and so it is at work
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE) == 130
    while chunk := read_terminal(ours):
        said += chunk
    os.close(ours)
    assert b" of 3,000 samples looked at; no report is written" in b" ".join(said.split())
    assert b"Traceback" not in said
    assert not (tmp_path / "a.html").exists()
