"""What each rank in tests/frameworks does: trains under a framework and reports what it got.

    torchrun … -m support.under FRAMEWORK LOADER FOLDER SHARDS OUT STATE

Rank r writes `OUT/r.json`: for each epoch the targets of its steps, and digests of the images by target. With a STATE
that is not there yet the run is broken off in the second epoch, and leaves it; with one that is, it goes on from there.
"""

import json
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import fastdata as fd
from fastdata.transforms.steps import Step

BATCH_SIZE, EPOCHS, BROKEN_OFF = 4, 3, (1, 2)  # in epoch 1, when two batches of it were trained on
TRANSFORM: list[Step] = [fd.RandomResizedCrop(8), fd.RandomHorizontalFlip()]


def number_of(path: str) -> int:
    return int(Path(path).stem)


def folder_dataset(folder: str) -> fd.ImageDirectoryDataset:
    return fd.ImageDirectoryDataset(folder, "*", transform=TRANSFORM, labels=number_of)


def by_loader(folder: str, shards: str, kind: Callable[..., Any], **ranks: Any) -> tuple[Any, Any]:
    """What is iterated over, and what has the state."""
    loader = fd.Loader(folder_dataset(folder), BATCH_SIZE, shuffle=True, num_threads=2, last="pad", **ranks)
    return loader, loader


def by_sampler(folder: str, shards: str, kind: Callable[..., Any], **ranks: Any) -> tuple[Any, Any]:
    dataset = folder_dataset(folder)
    sampler = fd.EpochSampler(dataset, BATCH_SIZE, last="pad", **ranks)
    loader = kind(dataset, BATCH_SIZE, sampler=sampler, num_workers=2, collate_fn=fd.collate, persistent_workers=True)
    return loader, sampler


def by_shards(folder: str, shards: str, kind: Callable[..., Any], **ranks: Any) -> tuple[Any, Any]:
    dataset = fd.TarImageDataset(shards, TRANSFORM, shuffle=True, batch_size=BATCH_SIZE, last="pad", **ranks)
    return kind(dataset, batch_size=None, num_workers=2), dataset


LOADERS = {"loader": by_loader, "sampler": by_sampler, "shards": by_shards}


class Report:
    """What the steps of each epoch got."""

    def __init__(self) -> None:
        self.epochs: list[list[list[int]]] = []
        self.views: list[dict[int, str]] = []
        self.validated: list[int] = []

    def epoch_begins(self) -> None:
        self.epochs.append([])
        self.views.append({})

    def step(self, batch: Any) -> None:
        images, targets = batch
        self.epochs[-1].append(targets.tolist())
        for image, target in zip(images, targets.tolist(), strict=True):
            self.views[-1][target] = blake2b(image.contiguous().numpy().tobytes(), digest_size=8).hexdigest()


class Interrupted(Exception):  # noqa: N818 - it is none of an error
    """The run is broken off here."""


def plain(batches: Any, source: Any, report: Report, state: Path, resume: bool) -> None:
    """A loop as torch's examples have it; torchdata's StatefulDataLoader saves the state of all that it uses."""
    stateful = isinstance(batches, StatefulDataLoader)
    if resume:
        (batches if stateful else source).load_state_dict(json.loads(state.read_text()))
    for _ in range(BROKEN_OFF[0] if resume else 0, EPOCHS):
        report.epoch_begins()
        for batch in batches:
            report.step(batch)
            if not resume and (len(report.epochs) - 1, len(report.epochs[-1])) == BROKEN_OFF and state.name != "none":
                received = {} if stateful or isinstance(source, fd.Loader) else {"batches": BROKEN_OFF[1]}
                saved = batches.state_dict() if stateful else source.state_dict(**received)
                if dist.get_rank() == 0:
                    state.write_text(json.dumps(saved))
                return


def torch_(loader: str, folder: str, shards: str, report: Report, state: Path) -> None:
    dist.init_process_group("gloo")
    plain(*LOADERS[loader](folder, shards, DataLoader), report, state, state.exists())


def torchdata(loader: str, folder: str, shards: str, report: Report, state: Path) -> None:
    dist.init_process_group("gloo")
    batches, source = LOADERS[loader](folder, shards, StatefulDataLoader)
    plain(batches, source, report, state, resume=False)


def accelerate(loader: str, folder: str, shards: str, report: Report, state: Path) -> None:
    """With a Loader as it is. accelerate splits what it prepares: `alone` is split by nobody else."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    name, _, how = loader.partition("-")
    ranks = {"rank": 0, "world_size": 1} if how == "alone" else {}
    batches, source = LOADERS[name](folder, shards, DataLoader, **ranks)
    if how != "left":
        _, batches = accelerator.prepare(torch.nn.Linear(1, 1), batches)
    if how == "twice":
        try:
            next(iter(batches))
        except RuntimeError as error:
            report.epochs = [[[str(error)]]]  # type: ignore[list-item]
        assert report.epochs, "what is split twice is no error"
        return
    plain(batches, source, report, state, state.exists())


def lightning(loader: str, folder: str, shards: str, report: Report, state: Path) -> None:
    from lightning import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.batches, self.source = LOADERS[loader](folder, shards, DataLoader)

        def train_dataloader(self) -> Any:
            return self.batches

        def val_dataloader(self) -> Any:
            return fd.Loader(folder_dataset(folder), BATCH_SIZE, num_threads=1)

        def validation_step(self, batch: Any, index: int) -> None:
            report.validated.extend(batch.targets.tolist())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

        def on_train_epoch_start(self) -> None:
            report.epoch_begins()

        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            if not isinstance(self.source, fd.Loader):  # whose state Lightning saves by itself
                checkpoint["order"] = self.source.state_dict(batches=len(report.epochs[-1]))

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            if not isinstance(self.source, fd.Loader):
                self.source.load_state_dict(checkpoint["order"])

        def training_step(self, batch: Any, index: int) -> Any:
            if not report.epochs:
                report.epoch_begins()
            report.step(batch)
            return self.weight.sum()

        def on_train_batch_end(self, *_: Any) -> None:
            if not resume and state.name != "none" and (self.current_epoch, len(report.epochs[-1])) == BROKEN_OFF:
                self.trainer.save_checkpoint(state)
                raise Interrupted

    resume = state.exists()
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    module = Module()
    trainer = Trainer(accelerator="cpu", devices=dist_world(), strategy="ddp", max_epochs=EPOCHS, **quiet)
    with suppress(Interrupted):
        trainer.fit(module, ckpt_path=str(state) if resume else None, weights_only=False)


def dist_world() -> int:
    """Lightning starts two ranks itself, where nothing else has."""
    return int(os.environ.get("WORLD_SIZE", "2"))


def write(report: Report, rank: int) -> None:
    out = Path(sys.argv[5]) / f"{rank}.json"
    out.write_text(json.dumps({"epochs": report.epochs, "views": report.views, "validated": report.validated}))


def main(framework: str, loader: str, folder: str, shards: str, out: str, state: str) -> None:
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
    report = Report()
    run = {"torch": torch_, "torchdata": torchdata, "accelerate": accelerate, "lightning": lightning}[framework]
    run(loader, folder, shards, report, Path(state))
    write(report, int(os.environ.get("RANK") or os.environ["LOCAL_RANK"]))
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
