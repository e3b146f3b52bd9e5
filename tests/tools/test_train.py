"""tools/train.py in this process, on images that take no time; test_processes.py runs it on several ranks."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

import train
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.sources.tars.writer import ShardWriter
from support.pictures import encoded, photo

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
SMALL = "--size 16 --width 8 --batch-size 8 --warmup 0 --workers 1"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """So small a network is only held up by more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 images in three classes of a colour each."""
    root = tmp_path_factory.mktemp("folder")
    for number in range(32):
        name, colour = list(COLOURS.items())[number % 3]
        pixels = (photo(24, 20, number) // 2 + np.array(colour, np.uint8) // 2).astype(np.uint8)
        path = root / name / f"{number:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(pixels, quality=90))
    return root


@pytest.fixture(scope="module")
def shards(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same in two shards, which say nothing about classes."""
    root = tmp_path_factory.mktemp("shards")
    dataset = ImageDirectoryDataset(folder)
    for name, ids in (("a", range(23)), ("b", range(23, 32))):
        with ShardWriter(root / f"{name}.tar") as shard:
            for sample in map(dataset.read, ids):
                shard.write(sample.key, {"jpg": sample.image, "cls": b"%d" % sample.target})
    return str(root / "*.tar")


def trained(data: object, out: Path, options: str = "") -> dict[str, Any]:
    """The last checkpoint of a training."""
    train.main(["--data", str(data), "--out", str(out), *SMALL.split(), *options.split()])
    checkpoint: dict[str, Any] = torch.load(out / "checkpoint.pt", weights_only=True)
    return checkpoint


def assert_same_weights(one: dict[str, Any], other: dict[str, Any], **tolerance: Any) -> None:
    assert one["model"].keys() == other["model"].keys()
    for name, tensor in one["model"].items():
        torch.testing.assert_close(other["model"][name], tensor, msg=(name + ": {}").format, **tolerance)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_it_learns(folder: Path, tmp_path: Path, norm: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = f"--data {folder} --val {folder} --out {tmp_path} --norm {norm} --epochs 8 --log-every 4"
    validation = train.main([*options.split(), *SMALL.split()])
    assert validation is not None
    assert validation.samples == 32
    assert validation.accuracy > 0.9
    log = capsys.readouterr().out
    assert "step 32: loss " in log
    assert " images/s" in log
    assert f"epoch 7: validation loss {validation.loss:.3f}, accuracy {validation.accuracy:.1%}" in log


def test_folders_and_shards_by_threads_and_by_processes_train_the_same_weights(
    folder: Path, shards: str, tmp_path: Path
) -> None:
    options = "--epochs 2 --classes 3"
    expected = trained(folder, tmp_path, options)
    assert_same_weights(expected, trained(shards, tmp_path, options))
    assert_same_weights(expected, trained(folder, tmp_path, f"{options} --loader torch"))
    assert_same_weights(expected, trained(shards, tmp_path, f"{options} --loader torch"))


def test_the_seed_decides_the_weights(folder: Path, tmp_path: Path) -> None:
    one, other = (trained(folder, tmp_path, f"--epochs 1 --seed {seed}")["model"] for seed in (0, 1))
    assert not torch.equal(one["head.weight"], other["head.weight"])


def gradients(data: Path, out: Path, options: str) -> list[list[torch.Tensor]]:
    """What each step of an epoch updates the weights by, which stay what they were."""
    steps = []
    update = train.Training.update

    def record(training: train.Training) -> None:
        steps.append([parameter.grad.clone() for parameter in training.net.parameters() if parameter.grad is not None])
        update(training)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Training, "update", record)
        trained(data, out, f"{options} --norm group --epochs 1 --lr 0")
    return steps


def test_accumulated_batches_are_as_one_large_batch(folder: Path, tmp_path: Path) -> None:
    large = gradients(folder, tmp_path, "--batch-size 8")
    assert len(large) == 4
    torch.testing.assert_close(gradients(folder, tmp_path, "--batch-size 4 --accumulate 2"), large)


def test_what_is_left_at_an_epochs_end_is_a_step_that_weighs_as_much(folder: Path, tmp_path: Path) -> None:
    left = gradients(folder, tmp_path, "--batch-size 4 --accumulate 3")
    assert len(left) == 3
    torch.testing.assert_close(left[-1], gradients(folder, tmp_path, "--batch-size 8")[-1])


def training_of(folder: Path, options: str) -> train.Training:
    """A training that has not begun; the same weights each time."""
    torch.manual_seed(0)
    args = train.arguments(["--data", str(folder), *SMALL.split(), *options.split()])
    return train.Training(args, torch.device("cpu"))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_what_is_learned_is_cross_entropy_with_smoothed_labels(folder: Path, tmp_path: Path, smoothing: float) -> None:
    first, *_ = gradients(folder, tmp_path, f"--label-smoothing {smoothing}")
    expected = training_of(folder, "--norm group")
    images, targets = next(iter(expected.batches))
    log_probabilities = expected.net(expected.normalize(images)).log_softmax(dim=1)
    wanted = torch.full_like(log_probabilities, smoothing / 3).scatter_add_(
        1, targets[:, None], torch.full((len(targets), 1), 1 - smoothing)
    )
    (-(wanted * log_probabilities).sum(dim=1).mean()).backward()
    torch.testing.assert_close(first, [parameter.grad for parameter in expected.net.parameters()])


def test_only_what_has_several_dimensions_decays(folder: Path) -> None:
    training = training_of(folder, "--epochs 4 --lr 0.5 --weight-decay 0.25")
    training.batches.set_epoch(1)  # at the very first sample the learning rate is 0
    rate = training.learning_rate()
    before = {name: parameter.detach().clone() for name, parameter in training.net.named_parameters()}
    for parameter in training.net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    training.update()
    assert rate > 0.3
    assert {parameter.ndim for parameter in before.values()} == {1, 2, 4}
    for name, parameter in training.net.named_parameters():
        kept = 1 - rate * 0.25 if parameter.ndim > 1 else 1
        torch.testing.assert_close(parameter, kept * before[name])


def test_statistics_are_learned_in_each_epoch_and_not_while_validating(folder: Path, tmp_path: Path) -> None:
    checkpoint = trained(folder, tmp_path, f"--epochs 3 --val {folder}")
    counted = [int(value) for name, value in checkpoint["model"].items() if name.endswith("num_batches_tracked")]
    assert counted == [checkpoint["step"]] * len(counted) == [12] * 9


def test_ranks_add_up_their_gradients_once_a_step(folder: Path, tmp_path: Path) -> None:
    calls: list[int] = []

    def reduce(bucket: Any) -> torch.futures.Future[torch.Tensor]:
        calls.append(training.step)
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    dist.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        training = training_of(folder, "--norm group --batch-size 4 --accumulate 3")
        training.model.register_comm_hook(None, lambda _, bucket: reduce(bucket))
        training.train()
    finally:
        dist.destroy_process_group()
    assert (training.step, calls) == (3, [0, 1, 2])


class StoppedError(Exception):
    """Stands for whatever ends a run."""


def stopped_after(steps: int, data: Path, out: Path, options: str) -> None:
    """A training that ends before the next step's weights are updated."""
    update = train.Training.update

    def update_or_stop(training: train.Training) -> None:
        if training.step == steps:
            raise StoppedError
        update(training)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Training, "update", update_or_stop)
        with pytest.raises(StoppedError):
            trained(data, out, options)


@pytest.mark.parametrize("loader", ["fastdata", "torch"])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(folder: Path, tmp_path: Path, loader: str) -> None:
    options = f"--epochs 3 --checkpoint-every 3 --loader {loader}"
    expected = trained(folder, tmp_path / "whole", options)
    stopped_after(5, folder, tmp_path, options)  # in the second epoch, 1 step after its checkpoint
    stopped_after(9, folder, tmp_path, f"{options} --resume")  # in the third, at the checkpoint
    resumed = trained(folder, tmp_path, f"{options} --resume")
    assert resumed["step"] == expected["step"] == 12
    assert resumed["loader"] == expected["loader"]
    assert_same_weights(expected, resumed)


def test_a_finished_run_resumed_for_more_epochs_goes_on(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path, "--epochs 1")
    assert trained(folder, tmp_path, "--epochs 2 --resume")["step"] == 8


def test_a_finished_run_that_is_resumed_says_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(folder, tmp_path, "--epochs 1")
    capsys.readouterr()
    trained(folder, tmp_path, "--epochs 1 --resume")
    assert "has had its 1 epochs: say more by --epochs" in capsys.readouterr().out


def test_too_few_classes_and_those_of_another_validation_are_not_trained_on(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"--classes 2 is less than the 3 classes of"):
        trained(folder, tmp_path, "--classes 2")
    other = tmp_path / "other"
    (other / "green").mkdir(parents=True)
    (other / "green" / "1.jpg").write_bytes((folder / "green" / "01.jpg").read_bytes())
    with pytest.raises(SystemExit, match=r"other has other classes than .*: blue, red"):
        trained(folder, tmp_path, f"--val {other}")


def test_a_validation_that_lacks_the_last_classes_has_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    for name in ("blue", "green"):
        shutil.copytree(folder / name, tmp_path / "fewer" / name)
    assert training_of(folder, f"--val {tmp_path / 'fewer'}").number_of_classes() == 3


def test_a_checkpoint_is_replaced_by_a_whole_one_or_not_at_all(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trained(folder, tmp_path, "--epochs 1")

    def save_half(state: object, file: Any) -> None:
        file.write(b"half")
        raise StoppedError

    monkeypatch.setattr(torch, "save", save_half)
    with pytest.raises(StoppedError):
        trained(folder, tmp_path, "--epochs 2 --resume")
    assert_same_weights(before, torch.load(tmp_path / "checkpoint.pt", weights_only=True))


def test_who_reads_a_checkpoint_while_the_next_is_written_has_all_of_the_old_one(folder: Path, tmp_path: Path) -> None:
    before = trained(folder, tmp_path, "--epochs 1")
    with (tmp_path / "checkpoint.pt").open("rb") as file:
        trained(folder, tmp_path, "--epochs 2 --resume")
        assert_same_weights(before, torch.load(file, weights_only=True))


@pytest.mark.parametrize("options", ["--resume", "--finetune nowhere/checkpoint.pt"])
def test_a_checkpoint_that_is_not_there_is_named(folder: Path, tmp_path: Path, options: str) -> None:
    with pytest.raises(SystemExit, match=r"^--(resume|finetune): there is no checkpoint .*checkpoint\.pt"):
        trained(folder, tmp_path, options)


@pytest.mark.parametrize("other", ["--norm group", "--width 4"])
def test_a_checkpoint_of_another_network_says_what_to_give(folder: Path, tmp_path: Path, other: str) -> None:
    trained(folder, tmp_path, "--epochs 1")
    for options in ("--resume", f"--finetune {tmp_path}/checkpoint.pt"):
        with pytest.raises(SystemExit, match=r"checkpoint\.pt is of another network: give the --norm, --width and"):
            trained(folder, tmp_path, f"--epochs 2 {options} {other}")


def test_fewer_samples_than_a_batch_are_not_dropped_in_silence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"has 32 samples, less than a batch of 33 on all ranks.*or --last pad"):
        trained(folder, tmp_path, "--batch-size 33")
    assert trained(folder, tmp_path, "--batch-size 33 --last pad --epochs 1")["step"] == 1
    assert trained(folder, tmp_path, "--batch-size 32 --epochs 1")["step"] == 1


def test_fine_tuning_a_frozen_backbone_changes_the_head_alone(folder: Path, tmp_path: Path) -> None:
    learned = trained(folder, tmp_path / "learned", "--epochs 2")
    tuned = trained(folder, tmp_path, f"--epochs 2 --classes 5 --finetune {tmp_path}/learned/checkpoint.pt --freeze")
    backbone = [name for name in learned["model"] if name.startswith("backbone.")]
    assert any("running_mean" in name for name in backbone)
    assert all(torch.equal(learned["model"][name], tuned["model"][name]) for name in backbone)
    assert tuned["model"]["head.weight"].shape[0] == 5
    assert tuned["step"] == 8


def test_fine_tuning_without_freeze_trains_everything_from_there(folder: Path, tmp_path: Path) -> None:
    learned = trained(folder, tmp_path / "learned", "--epochs 2")
    still = trained(folder, tmp_path / "still", f"--epochs 1 --lr 0 --finetune {tmp_path}/learned/checkpoint.pt")
    tuned = trained(folder, tmp_path / "tuned", f"--epochs 1 --finetune {tmp_path}/learned/checkpoint.pt")
    for name, parameter in learned["model"].items():
        if name.startswith("backbone.") and name.endswith("weight"):
            assert torch.equal(parameter, still["model"][name])
            assert not torch.equal(parameter, tuned["model"][name])


def test_the_learning_rate_rises_then_falls_to_nothing_whatever_the_batch_size(folder: Path, tmp_path: Path) -> None:
    rates: dict[tuple[int, int, int], float] = {}
    for batch_size in (4, 16):
        options = f"--data {folder} --out {tmp_path} {SMALL} --epochs 4 --batch-size {batch_size} --warmup 1 --lr 1"
        training = train.Training(train.arguments(options.split()), torch.device("cpu"))
        for epoch in range(4):
            training.batches.set_epoch(epoch)
            rates |= {(batch_size, epoch, n): training.learning_rate() for n, _ in enumerate(training.batches, start=1)}
    small, large = ([rate for key, rate in rates.items() if key[0] == size] for size in (4, 16))
    assert large == small[3::4]
    assert small[:8] == [n / 8 for n in range(1, 9)]
    assert sorted(small[7:], reverse=True) == small[7:]
    assert small[-1] == 0


def test_half_precision_on_the_cpu_learns_too(folder: Path, tmp_path: Path) -> None:
    options = f"--data {folder} --val {folder} --out {tmp_path} --precision bf16 --epochs 8"
    validation = train.main([*options.split(), *SMALL.split()])
    assert validation is not None
    assert validation.accuracy > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--accumulate -2", "argument --accumulate: must be at least 1, not -2"),
        ("--batch-size 0", "argument --batch-size: must be at least 1, not 0"),
        ("--epochs many", "argument --epochs: invalid positive value: 'many'"),
        ("--freeze", "say by --finetune which"),
        ("--loader torch --decoder cpu", "leave --loader torch out"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train.arguments(["--data", "photos", *options.split()])
    assert message in capsys.readouterr().err


def test_shards_that_do_not_tell_their_classes_need_their_number(shards: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="say by --classes"):
        trained(shards, tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_it_learns_on_a_gpu_in_each_precision(folder: Path, tmp_path: Path, precision: str) -> None:
    options = f"--data {folder} --val {folder} --out {tmp_path} --precision {precision} --epochs 8"
    validation = train.main([*options.split(), *SMALL.split()])
    assert validation is not None
    assert validation.accuracy > 0.9


@pytest.mark.slow
def test_it_starts_as_a_script_wherever_one_is(folder: Path, tmp_path: Path) -> None:
    """As users run it: nobody has put tools/ on their path."""
    tools = Path(train.__file__).parent
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path and Path(path).resolve() != tools)
    options = f"--data {folder} --out {tmp_path} --epochs 1"
    command = [sys.executable, str(tools / "train.py"), *options.split(), *SMALL.split()]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "checkpoint.pt").exists()
