"""Real processes: ranks launched by torchrun, killed ones, forked and spawned workers."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils.data import DataLoader

from fastdata.datasets.collate import collate
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.shards import TarImageDataset
from fastdata.epoch.order import EpochOrder
from fastdata.epoch.sampler import EpochSampler
from fastdata.sources.tars.writer import ShardWriter
from fastdata.transforms.steps import RandomHorizontalFlip, RandomResizedCrop, Step
from support.forks import Run, on_ranks, prepared
from support.pictures import jpeg
from support.processes import LIB, PYTHONPATH
from support.ranks import BATCH_SIZE, EPOCH

pytestmark = pytest.mark.slow

PATIENCE = 120  # seconds; a launch that hangs fails
TRANSFORM: list[Step] = [RandomResizedCrop(12), RandomHorizontalFlip()]


def write_shard(path: Path, targets: Sequence[int], bad: Sequence[int] = ()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with ShardWriter(path) as shard:
        for target in targets:
            image = jpeg(24, 20, target)
            shard.write(f"{target:03}", {"jpg": b"no image" if target in bad else image, "cls": b"%d" % target})


def launch(world_size: int, module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A module of this checkout on so many ranks: by torchrun, or alone for 0."""
    python = [sys.executable, "-m"]
    if world_size:
        python += ["torch.distributed.run", "--standalone", f"--nproc-per-node={world_size}", "-m"]
    environment = os.environ | {"PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1"}
    command = [*python, module, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=LIB, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            out, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.terminate()  # torchrun ends its ranks then
            pytest.fail(f"no end after {PATIENCE} s: {process.communicate()[1]}")
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


# --- ranks of one epoch


class Ranks(NamedTuple):
    """What the ranks of a launch report, by rank."""

    world_size: int
    ranks: list[dict[str, Any]]

    def case(self, name: str) -> list[dict[str, Any]]:
        return [rank[name] for rank in self.ranks]

    def targets(self, name: str) -> list[int]:
        """All that was delivered, over ranks and steps."""
        return [target for rank in self.case(name) for step in rank["targets"] for target in step]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """54 samples in uneven shards, one of them empty, fewer than ranks × workers; and 48 with bad ones for rank 1."""
    root = tmp_path_factory.mktemp("shards")
    for name, targets in {
        "even-0": range(31),
        "even-1": range(0),
        "even-2": range(31, 48),
        "more-0": range(48, 54),
        "bad/0": range(48),
    }.items():
        in_second_batch = [target for target in targets if target // BATCH_SIZE % 2 == 1 and target % BATCH_SIZE < 2]
        write_shard(root / f"{name}.tar", targets, in_second_batch if name == "bad/0" else [])
    return root


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with prepared(tmp_path_factory.mktemp("forked"), silent=False, OMP_NUM_THREADS="1") as run:
        yield run


@pytest.fixture(scope="module", params=[1, 2, 3, 4])
def run(request: pytest.FixtureRequest, forked: Run, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    out = tmp_path_factory.mktemp("reports")
    on_ranks(forked, request.param, "support.ranks", shards, out, limit=PATIENCE)
    return Ranks(request.param, [json.loads((out / f"{rank}.json").read_text()) for rank in range(request.param)])


@pytest.mark.parametrize("batches", ["by_dataset", "by_loader"])
class TestRanks:
    @pytest.mark.parametrize("last", ["drop", "pad", "partial"])
    def test_all_ranks_take_the_same_steps_and_meet_in_each(self, run: Ranks, batches: str, last: str) -> None:
        case = run.case(f"{batches} {last}")
        steps = len(case[0]["targets"])
        expected = [(1000 * case[0]["case"] + step) * run.world_size for step in range(steps)]
        assert steps > 0
        assert all(len(rank["targets"]) == steps for rank in case)
        assert all(rank["sums"] == expected for rank in case)

    def test_with_drop_full_global_batches_come_once_and_the_rest_not_at_all(self, run: Ranks, batches: str) -> None:
        count = 54 // (BATCH_SIZE * run.world_size) * BATCH_SIZE * run.world_size
        assert Counter(run.targets(f"{batches} drop")) == Counter(order(54)[:count])

    def test_with_pad_each_comes_once_and_those_from_the_start_again(self, run: Ranks, batches: str) -> None:
        missing = -54 % (BATCH_SIZE * run.world_size)
        assert Counter(run.targets(f"{batches} pad")) == Counter(order(54)) + Counter(order(54)[:missing])

    def test_with_partial_each_comes_exactly_once(self, run: Ranks, batches: str) -> None:
        assert sorted(run.targets(f"{batches} partial")) == list(range(48))


def order(count: int) -> list[int]:
    ids: list[int] = EpochOrder(count, shuffle=True, seed=0, epoch=EPOCH).samples(0, count).tolist()
    return ids


@pytest.mark.parametrize("last", ["drop", "pad", "partial"])
def test_workers_and_threads_deliver_the_same_batches(run: Ranks, last: str) -> None:
    by_dataset, by_loader = (
        [rank["targets"] for rank in run.case(f"{by} {last}")] for by in ("by_dataset", "by_loader")
    )
    assert by_dataset == by_loader


@pytest.fixture(scope="module")
def loss_by_image(shards: Path) -> float:
    """The mean loss of the validation that `support.ranks` does, here in one process and image by image."""
    import train

    torch.manual_seed(0)
    options = f"--data {shards}/*.tar --val {shards}/*.tar --classes 54 --size 8 --width 8 --batch-size 1 --workers 1"
    return train.Training(train.arguments(options.split()), torch.device("cpu")).validate().loss


def test_validation_counts_each_sample_once_on_any_number_of_ranks(run: Ranks, loss_by_image: float) -> None:
    found = run.case("validation")
    assert all(validation == found[0] for validation in found)
    assert found[0]["samples"] == 54
    assert found[0]["loss"] == pytest.approx(loss_by_image, rel=1e-5)


@pytest.mark.parametrize("run", [2], indirect=True)
def test_a_rank_that_skips_too_many_stops_all_ranks_at_the_same_step(run: Ranks) -> None:
    first, second = run.case("skipping")
    assert first["error"] == second["error"]
    assert "max_skipped allows 5" in first["error"]
    assert first["steps"] == second["steps"] < 48 // (2 * BATCH_SIZE)
    assert (first["skipped"], second["skipped"] > 5) == (0, True)


# --- killed and resumed


def recorded(records: Path) -> list[list[int]]:
    """The targets of each step of the optimizer, of all ranks together."""
    ranks = [[json.loads(line) for line in file.read_text().splitlines()] for file in sorted(records.glob("*.jsonl"))]
    return [[target for rank in step for target in rank] for step in zip(*ranks, strict=True)]


def test_a_killed_training_goes_on_with_other_ranks_and_trains_on_each_sample_once(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.tar", range(61))
    write_shard(tmp_path / "1.tar", range(61, 96))
    options = f"--data {tmp_path}/*.tar --classes 96 --size 8 --width 8 --norm group --batch-size 4 --epochs 1"
    options += f" --out {tmp_path}"
    at = random.Random(3)
    kept: list[list[int]] = []
    for number, (world_size, kill_after, more) in enumerate(
        [
            (2, at.randint(3, 7), "--checkpoint-every 2"),
            (3, at.randint(2, 3), "--checkpoint-every 1 --resume"),
            (0, 0, "--accumulate 2 --resume --loader torch --workers 2"),
        ]
    ):
        records = tmp_path / str(number)
        done = launch(world_size, "support.recorded_training", records, kill_after, *options.split(), *more.split())
        steps = recorded(records)
        checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        if kill_after:
            assert done.returncode != 0, done.stderr
            assert len(steps) == kill_after, done.stderr
            assert len(kept) < checkpoint["step"] < len(kept) + kill_after
        else:
            assert done.returncode == 0, done.stderr
        kept += steps[: checkpoint["step"] - len(kept)]
        assert checkpoint["loader"]["position"] == sum(map(len, kept))
    assert sorted(target for step in kept for target in step) == list(range(96))


# --- workers


class Epoch(NamedTuple):
    """Targets in the order in which they came, and for each its pixels."""

    order: list[int]
    images: dict[int, bytes]


def epoch_of(batches: DataLoader[Any]) -> Epoch:
    images: dict[int, bytes] = {}
    for pixels, targets in batches:
        images |= {target: image.numpy().tobytes() for target, image in zip(targets.tolist(), pixels, strict=True)}
    return Epoch(list(images), images)


def order_and_batches(kind: str, root: Path, context: str | None) -> tuple[Any, DataLoader[Any]]:
    """What is told of epochs, and a DataLoader with two workers that live through them; none without a context."""
    workers: dict[str, Any] = {}
    if context:
        workers = {"num_workers": 2, "persistent_workers": True, "multiprocessing_context": context}
    if kind == "shards":
        shards = TarImageDataset(str(root / "*.tar"), TRANSFORM, shuffle=True, batch_size=4)
        return shards, DataLoader(shards, batch_size=None, **workers)
    files = ImageDirectoryDataset(root / "files", "*.jpg", TRANSFORM, labels=number_of)
    sampler = EpochSampler(files, batch_size=4)
    return sampler, DataLoader(files, batch_size=4, sampler=sampler, collate_fn=collate, **workers)


def three_epochs(kind: str, root: Path, context: str | None) -> list[Epoch]:
    epochs, batches = order_and_batches(kind, root, context)
    found = []
    for epoch in range(3):
        epochs.set_epoch(epoch)
        found.append(epoch_of(batches))
    return found


def number_of(path: str) -> int:
    return int(Path(path).stem)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 samples in files, and in two shards."""
    root = tmp_path_factory.mktemp("samples")
    (root / "files").mkdir()
    for number in range(22):
        (root / "files" / f"{number:03}.jpg").write_bytes(jpeg(24, 20, number))
    write_shard(root / "0.tar", range(15))
    write_shard(root / "1.tar", range(15, 22))
    return root


# Python 3.12 warns of forking a process with threads, which torch has.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("kind", ["files", "shards"])
class TestPersistentWorkers:
    @pytest.mark.usefixtures("ready_forkserver")
    @pytest.mark.parametrize("context", ["fork", "forkserver"])
    def test_each_epoch_has_a_new_order_and_new_crops_and_the_same_on_a_second_run(
        self, samples: Path, kind: str, context: str
    ) -> None:
        epochs = three_epochs(kind, samples, context)
        assert epochs == three_epochs(kind, samples, None)
        assert all(sorted(epoch.order) == list(range(22)) for epoch in epochs)
        for one, other in ((0, 1), (1, 2), (0, 2)):
            assert epochs[one].order != epochs[other].order
            same = [target for target in range(22) if epochs[one].images[target] == epochs[other].images[target]]
            assert not same

    def test_the_epoch_after_a_resumed_one_is_whole(self, samples: Path, kind: str) -> None:
        epochs, batches = order_and_batches(kind, samples, "fork")
        begun = three_epochs(kind, samples, None)
        epochs.load_state_dict({**epochs.state_dict(0), "epoch": 1, "position": 8})
        assert epoch_of(batches).order == begun[1].order[8:]
        epochs.set_epoch(2)
        assert epoch_of(batches) == begun[2]


def test_persistent_workers_that_are_spawned_hear_of_each_epoch(samples: Path) -> None:
    """As those above, of "shards" alone: they take seconds to start."""
    assert three_epochs("shards", samples, "spawn") == three_epochs("shards", samples, None)
