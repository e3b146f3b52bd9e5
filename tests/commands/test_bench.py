"""The bench measures what there is, and its verdict follows from its figures."""

import json
from pathlib import Path

import pytest

from fastdata.commands.bench import Report, _doubled, bench, verdict
from support.commands import Command

REPORT = Report(
    "2 CPUs",
    100,
    {1: 1000.0, 2: 1500.0},
    {"torch": 900.0},
    {"read": 0.1, "decode": 0.6, "resize": 0.3},
    {"antialias=False": 1.2, "fastdata shard --jpeg crop-ready": 1.5, "decoder='dali'": 0.4},
    1.1,
)


def test_the_verdict_names_what_limits_and_what_helps_most_first() -> None:
    said = verdict(REPORT)
    assert said == [
        "Decoding JPEGs takes most of the threads' time, 60% of it.",
        "2 threads are 1.50 times as fast as 1: 75% of what they could be.",
        "fastdata shard --jpeg crop-ready makes it 1.50 times as fast, on some of the photos.",
        "antialias=False makes it 1.20 times as fast, on some of the photos.",
    ]
    assert verdict(REPORT._replace(changes={"antialias=False": 1.0}))[-1].startswith("Of what was tried nothing")


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (900, "A model of 900 images/s is fed, by 1 threads."),
        (1200, "A model of 1,200 images/s is fed, by 2 threads."),
        (6000, "A model of 6,000 images/s waits: it needs some 8 CPUs like these."),
    ],
)
def test_it_says_whether_a_model_is_fed(rate: float, expected: str) -> None:
    assert verdict(REPORT, rate)[-1] == expected


@pytest.mark.parametrize(("cpus", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_threads_are_doubled_up_to_all_cpus(cpus: int, expected: list[int]) -> None:
    assert _doubled(cpus) == expected


@pytest.mark.slow
def test_a_folder_is_measured(folder: Path) -> None:
    told: list[str] = []
    report = bench(str(folder), [1], seconds=0.1, tell=told.append)
    assert (report.samples, list(report.by_threads), list(report.against)) == (12, [1], ["torch"])
    assert sum(report.stages.values()) == pytest.approx(1)
    assert {"antialias=False", "fastdata shard --jpeg encode --max-side 320"} <= set(report.changes)
    assert all(speed > 0 for speed in [*report.by_threads.values(), *report.changes.values(), report.step])
    assert told[0].startswith("measuring 12 samples for about ")


@pytest.mark.slow
def test_the_command_prints_json_and_only_that(fastdata: Command, dataset: Path) -> None:
    done = fastdata("bench", dataset, "--seconds", 0.1, "--threads", 1, "--against", "none", "--json")
    assert done.status == 0
    assert set(json.loads(done.out)) == {*Report._fields, "verdict"}
    assert fastdata("bench", dataset, "--against", "ffcv").err.startswith("fastdata: there is no 'ffcv' here")
