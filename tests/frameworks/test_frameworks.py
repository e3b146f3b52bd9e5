"""Real frameworks by real processes: every sample of each epoch once over all ranks, in a new order, with new crops."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.forks import OPTIMIZERS, Run, on_ranks, prepared
from support.numbered import write_folder, write_shards
from support.processes import LIB, PYTHONPATH

Report = dict[str, Any]
COUNT, EPOCHS, BROKEN_OFF, BATCH_SIZE = 48, 3, (1, 2), 4
LIMIT = 180  # seconds


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """48 samples, which fill the batches of 1, 2 and 3 ranks: numbered, in a folder and in shards."""
    folder = write_folder(tmp_path_factory.mktemp("folder"), COUNT)
    shards = write_shards(tmp_path_factory.mktemp("shards"), (10, 0, 37, 1))
    return folder, str(Path(shards[0]).parent / "*.tar")


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs programs that find torch and the frameworks imported, which takes each rank ten seconds else."""
    modules = [name for name in ("lightning", "accelerate") if importlib.util.find_spec(name)]
    with prepared(tmp_path_factory.mktemp("forked"), OPTIMIZERS, *modules, silent=False, OMP_NUM_THREADS="1") as run:
        yield run


@pytest.fixture(scope="module")
def run(forked: Run, data: tuple[Path, str]) -> Callable[..., list[Report]]:
    """The reports of all ranks of a framework's run, which writes them into a folder."""

    def run(framework: str, loader: str, out: Path, ranks: int = 2, state: Path = Path("none")) -> list[Report]:
        out.mkdir(parents=True, exist_ok=True)
        on_ranks(forked, ranks, "support.under", framework, loader, *data, out, state, limit=LIMIT)
        return [json.loads((out / f"{rank}.json").read_text()) for rank in range(ranks)]

    return run


@pytest.fixture(scope="module")
def whole(run: Callable[..., list[Report]], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Report]]:
    """The same of a run that nothing breaks off, each of them once."""
    return functools.cache(
        lambda framework, loader, ranks=2: run(framework, loader, tmp_path_factory.mktemp("whole"), ranks)
    )


def delivered(reports: list[Report], epoch: int) -> list[int]:
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
    whole: Callable[..., list[Report]], framework: str, loader: str, ranks: int
) -> None:
    reports = whole(framework, loader, ranks)
    orders, views = set(), Counter[tuple[int, str]]()
    for epoch in range(EPOCHS):
        assert sorted(delivered(reports, epoch)) == list(range(COUNT)), f"epoch {epoch}"
        orders.add(tuple(delivered(reports, epoch)))
        views.update((target, view) for report in reports for target, view in report["views"][epoch].items())
    assert len(orders) == EPOCHS
    assert len(views) == EPOCHS * COUNT


def assert_validated_once(reports: list[Report]) -> None:
    """After each epoch of training."""
    assert sorted(target for report in reports for target in report["validated"]) == sorted(EPOCHS * list(range(COUNT)))


@pytest.mark.slow
def test_lightning_validates_on_each_sample_once(whole: Callable[..., list[Report]]) -> None:
    assert_validated_once(whole("lightning", "loader", 2))


@pytest.mark.slow
def test_ranks_that_lightning_starts_itself_train_and_validate_on_each_sample_once(
    data: tuple[Path, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "support.under", "lightning", "loader", *map(str, data), str(tmp_path), "none"]
    environment = os.environ | {"PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=LIB, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    reports = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [sorted(delivered(reports, epoch)) for epoch in range(EPOCHS)] == [list(range(COUNT))] * EPOCHS
    assert_validated_once(reports)


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["sampler-twice", "shards-twice"])
def test_what_accelerate_would_split_again_is_an_error_that_says_what_to_write(
    run: Callable[..., list[Report]], tmp_path: Path, loader: str
) -> None:
    for report in run("accelerate", loader, tmp_path):
        assert "world_size=1" in report["epochs"][0][0][0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "loader"), [case for case in CASES if case[0] not in ("torchdata", "accelerate")]
)
def test_a_run_that_was_broken_off_goes_on_at_the_very_next_sample(
    run: Callable[..., list[Report]], whole: Callable[..., list[Report]], tmp_path: Path, framework: str, loader: str
) -> None:
    state = tmp_path / "state"
    first = run(framework, loader, tmp_path / "first", state=state)
    assert [len(steps) for steps in first[0]["epochs"]] == [COUNT // (2 * BATCH_SIZE), BROKEN_OFF[1]]
    second = run(framework, loader, tmp_path / "second", state=state)
    assert sorted(delivered(first, 1) + delivered(second, 0)) == list(range(COUNT))
    assert sorted(delivered(second, 1)) == list(range(COUNT))
    expected = whole(framework, loader)
    for rank in range(2):
        assert first[rank]["epochs"][1] + second[rank]["epochs"][0] == expected[rank]["epochs"][1]
        assert first[rank]["views"][1] | second[rank]["views"][0] == expected[rank]["views"][1]
        assert second[rank]["epochs"][1] == expected[rank]["epochs"][2]
