"""The bench measures what there is, and its verdict follows from its figures."""

import json
from pathlib import Path

import pytest
from PIL import Image

from fastdata.commands.bench.ceiling import ceiling, some_views
from fastdata.commands.bench.changes import LOSE_DETAIL
from fastdata.commands.bench.measuring import Report, bench, doubled
from fastdata.commands.bench.sampled import Sampled
from fastdata.commands.bench.show import show, write_chart
from fastdata.commands.bench.verdict import verdict
from fastdata.commands.bench.ways import STEPS, loader
from fastdata.commands.opened import opened
from support.commands import Command
from support.packed import copy_of

REPORT = Report(
    "2 CPUs",
    100,
    False,
    {"cpu": {1: 1000.0, 2: 1500.0}},
    1600.0,
    1800.0,
    {"torch": 900.0},
    {"read": 0.1, "decode": 0.6, "resize": 0.3},
    {"antialias=False": 1.2, "fastdata shard --jpeg crop-ready": 1.5, "decoder='dali'": 0.4},
    1.1,
    256,
    0,
)


def test_the_verdict_names_what_limits_and_what_helps_most_first() -> None:
    said = verdict(REPORT)
    assert said == [
        "Decoding JPEGs takes most of the threads' time, 60% of it.",
        "2 threads are 1.50 times as fast as 1: 75% of what they could be.",
        "It has 94% of what its threads only decode, 1,600 images/s: only decoding less makes it faster.",
        "fastdata shard --jpeg crop-ready makes it 1.50 times as fast, on some of the photos.",
        "antialias=False makes it 1.20 times as fast, on some of the photos.",
        "It is 2.00 times as fast as torch's DataLoader, on some of the photos.",
    ]
    alone = REPORT._replace(changes={"antialias=False": 1.0}, against={})
    assert verdict(alone)[-1].startswith("Of what was tried nothing")
    assert verdict(alone._replace(step=1.3))[-1].startswith("A step of many small operations takes 1.30 times")
    far = REPORT._replace(far=True, stages={"read": 0.9, "decode": 0.1}, ceiling=3000.0)
    assert verdict(far)[0] == "Reading, over the network, takes most of the threads' time, 90% of it."
    assert verdict(far)[2].endswith("the rest goes into reading and handing over.")


def test_a_ceiling_that_is_beaten_by_more_than_noise_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    for only_decoding, is_told in ((1600.0, True), (1450.0, True), (1400.0, False)):
        report = REPORT._replace(ceiling=only_decoding)
        assert any("only decode" in line for line in verdict(report)) == is_told
        show(report, [])
        assert ("the ceiling" in capsys.readouterr().out) == is_told


def test_the_ceiling_of_few_photos_is_of_many_views(folder: Path) -> None:
    numbers, epochs = some_views(12)
    assert len(set(zip(numbers, epochs, strict=True))) == 512
    assert (set(numbers), set(epochs)) == (set(range(12)), set(range(43)))
    assert some_views(512) == (list(range(512)), [0] * 512)
    assert some_views(10**6)[0][::511] == [0, 10**6 - 1]
    assert ceiling(opened(str(folder), STEPS), 1, 0.01) > 0


def test_what_shows_a_model_less_is_said_so() -> None:
    said = verdict(REPORT._replace(changes=dict.fromkeys([*LOSE_DETAIL, "antialias=False"], 1.5)))
    assert sum(line.endswith("on some of the photos: a model then sees less detail.") for line in said) == 2


def test_threads_that_gain_nothing_are_a_hint_at_the_machine() -> None:
    said = verdict(REPORT._replace(by_threads={"cpu": {1: 1000.0, 2: 990.0}}))
    assert said[1] == "More threads than 1 are no faster: something else may be using the CPUs."


def test_few_photos_come_often_in_an_epoch_and_bad_ones_do_not_end_it(folder: Path, tmp_path: Path) -> None:
    source = copy_of(folder, tmp_path / "source")
    (source / "cat/0.jpg").write_bytes(b"no image")
    batches = loader(opened(str(source), STEPS), 1)
    assert len(batches) == 32
    assert sum(len(batch.keys) for batch in batches) == 32 * 64
    assert len(batches.skipped) in (170, 171)  # one of 12


def test_of_several_decoders_the_fastest_is_judged() -> None:
    both = REPORT._replace(by_threads={"cpu": {1: 1000.0, 2: 1500.0}, "dali": {1: 1000.0, 2: 2000.0}})
    assert verdict(both, 1800)[-1] == "A model of 1,800 images/s is fed, by 2 threads."
    assert verdict(both)[1].startswith("2 threads are 2.00 times")


def test_the_chart_is_a_picture(tmp_path: Path) -> None:
    write_chart(REPORT, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (1320, 840)
        assert len(set(picture.convert("L").resize((66, 42)).tobytes())) > 10


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (900, "A model of 900 images/s is fed, by 1 thread."),
        (1200, "A model of 1,200 images/s is fed, by 2 threads."),
        (6000, "A model of 6,000 images/s waits: it needs some 8 CPUs like these."),
    ],
)
def test_it_says_whether_a_model_is_fed(rate: float, expected: str) -> None:
    assert verdict(REPORT, rate)[-1] == expected


@pytest.mark.parametrize(("cpus", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_threads_are_doubled_up_to_all_cpus(cpus: int, expected: list[int]) -> None:
    assert doubled(cpus) == expected


@pytest.mark.slow
def test_a_folder_is_measured_against_all_that_are_here(folder: Path) -> None:
    told: list[str] = []
    report = bench(str(folder), [1], ["torch", "webdataset"], 0.1, told.append)
    assert (report.samples, list(report.by_threads["cpu"])) == (12, [1])
    assert list(report.against) == ["torch", "webdataset"]
    assert sum(report.stages.values()) == pytest.approx(1)
    assert {"antialias=False", "fastdata shard --jpeg encode --max-side 320"} <= set(report.changes)
    speeds = [*report.by_threads["cpu"].values(), *report.against.values(), *report.changes.values()]
    assert all(speed > 0 for speed in [*speeds, report.step, report.ceiling, report.sampled])
    assert told[0].startswith("measuring 12 samples for about ")


def test_photos_that_can_not_be_decoded_are_left_out_and_counted(folder: Path, tmp_path: Path) -> None:
    source = copy_of(folder, tmp_path / "source")
    whole = (source / "cat/0.jpg").read_bytes()
    (source / "cat/0.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "some").mkdir()
    sampled = Sampled(opened(str(source), STEPS), tmp_path / "some")
    assert (sampled.tried, sampled.left_out, len(sampled.files())) == (12, 1, 11)
    said = verdict(REPORT._replace(tried=12, left_out=1))
    assert said[0] == "Can't be read, and are left out: 1 of the 12 photos looked at."


@pytest.mark.slow
def test_dali_is_measured_as_a_decoder_and_by_itself(folder: Path) -> None:
    pytest.importorskip("nvidia.dali")
    report = bench(str(folder), [1], ["dali"], 0.1, lambda text: None, ["cpu", "dali"])
    assert list(report.by_threads) == ["cpu", "dali"]
    assert report.against["dali"] > 0


@pytest.mark.slow
def test_the_command_prints_json_and_only_that(fastdata: Command, dataset: Path, tmp_path: Path) -> None:
    options = ["--seconds", 0.1, "--threads", 1, "--against", "none", "--png", tmp_path / "a.png"]
    done = fastdata("bench", dataset, *options, "--json")
    assert done.status == 0
    assert set(json.loads(done.out)) == {*Report._fields, "verdict"}
    assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("options", "status", "problem"),
    [
        (["--against", "ffcv"], 2, "there is no 'ffcv' here"),
        (["--decoder", "gpu"], 2, "there is no decoder 'gpu'"),
        (["--png", "a.svg"], 2, "a.svg: a chart is a PNG"),
        (["--threads", "0"], 2, "below 1"),
        (["--threads", "two"], 2, "'two' is no list of whole numbers"),
    ],
)
def test_what_can_not_be_measured_is_said_at_once(
    fastdata: Command, dataset: Path, options: list[str], status: int, problem: str
) -> None:
    done = fastdata("bench", dataset, *options)
    assert done.status == status
    assert problem in done.err
