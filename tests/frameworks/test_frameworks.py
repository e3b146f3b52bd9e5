"""Real frameworks by real processes: every sample of each epoch once over all ranks, in a new order, with new crops."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.numbered import write_folder, write_shards
from support.processes import LIB, PYTHONPATH

COUNT, EPOCHS, BROKEN_OFF, BATCH_SIZE = 48, 3, (1, 2), 4
LIMIT = 180  # seconds


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """48 samples, which fill the batches of 1, 2 and 3 ranks: numbered, in a folder and in shards."""
    folder = write_folder(tmp_path_factory.mktemp("folder"), COUNT)
    shards = write_shards(tmp_path_factory.mktemp("shards"), (10, 0, 37, 1))
    return folder, str(Path(shards[0]).parent / "*.tar")


def run(
    framework: str,
    loader: str,
    data: tuple[Path, str],
    out: Path,
    ranks: int = 2,
    state: Path = Path("none"),
    by_torchrun: bool = True,
) -> list[dict[str, Any]]:
    """The reports of all ranks."""
    out.mkdir(parents=True, exist_ok=True)
    launch = [sys.executable, "-m"]
    if by_torchrun:
        launch += ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    command = [*launch, "support.under", framework, loader, str(data[0]), data[1], str(out), str(state)]
    environment = os.environ | {"PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=LIB, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(ranks)]


def delivered(reports: list[dict[str, Any]], epoch: int) -> list[int]:
    return [target for report in reports for step in report["epochs"][epoch] for target in step]


CASES = [(framework, loader) for framework in ("torch", "torchdata", "lightning") for loader in ("sampler", "shards")]
CASES += [("torch", "loader"), ("lightning", "loader")]
CASES += [("accelerate", loader) for loader in ("loader", "sampler-left", "shards-left", "sampler-alone")]


WITH_THREE_RANKS = [("lightning", "loader"), ("lightning", "sampler"), ("accelerate", "sampler-alone")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "loader", "ranks"), [(*case, 2) for case in CASES] + [(*case, 3) for case in WITH_THREE_RANKS]
)
def test_every_epoch_is_delivered_once_in_a_new_order_with_new_crops(
    data: tuple[Path, str], tmp_path: Path, framework: str, loader: str, ranks: int
) -> None:
    reports = run(framework, loader, data, tmp_path, ranks)
    orders, views = set(), Counter[tuple[int, str]]()
    for epoch in range(EPOCHS):
        assert sorted(delivered(reports, epoch)) == list(range(COUNT)), f"epoch {epoch}"
        orders.add(tuple(delivered(reports, epoch)))
        views.update((target, view) for report in reports for target, view in report["views"][epoch].items())
    assert len(orders) == EPOCHS
    assert len(views) == EPOCHS * COUNT


@pytest.mark.slow
@pytest.mark.parametrize("by_torchrun", [True, False])
def test_lightning_trains_and_validates_on_each_sample_once_whoever_starts_its_ranks(
    data: tuple[Path, str], tmp_path: Path, by_torchrun: bool
) -> None:
    reports = run("lightning", "loader", data, tmp_path, by_torchrun=by_torchrun)
    assert [sorted(delivered(reports, epoch)) for epoch in range(EPOCHS)] == [list(range(COUNT))] * EPOCHS
    validated = [target for report in reports for target in report["validated"]]
    assert sorted(validated) == sorted(EPOCHS * list(range(COUNT)))


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["sampler-twice", "shards-twice"])
def test_what_accelerate_would_split_again_is_an_error_that_says_what_to_write(
    data: tuple[Path, str], tmp_path: Path, loader: str
) -> None:
    for report in run("accelerate", loader, data, tmp_path):
        assert "world_size=1" in report["epochs"][0][0][0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "loader"), [case for case in CASES if case[0] not in ("torchdata", "accelerate")]
)
def test_a_run_that_was_broken_off_goes_on_at_the_very_next_sample(
    data: tuple[Path, str], tmp_path: Path, framework: str, loader: str
) -> None:
    state = tmp_path / "state"
    first = run(framework, loader, data, tmp_path / "first", state=state)
    assert [len(steps) for steps in first[0]["epochs"]] == [COUNT // (2 * BATCH_SIZE), BROKEN_OFF[1]]
    second = run(framework, loader, data, tmp_path / "second", state=state)
    assert sorted(delivered(first, 1) + delivered(second, 0)) == list(range(COUNT))
    assert sorted(delivered(second, 1)) == list(range(COUNT))
    whole = run(framework, loader, data, tmp_path / "whole")
    for rank in range(2):
        assert first[rank]["epochs"][1] + second[rank]["epochs"][0] == whole[rank]["epochs"][1]
        assert first[rank]["views"][1] | second[rank]["views"][0] == whole[rank]["views"][1]
        assert second[rank]["epochs"][1] == whole[rank]["epochs"][2]
