"""The batches that `train.py` trains on, of a folder or of shards, by a Loader or by torch's DataLoader."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader

import fastdata as fd


def open_dataset(args: argparse.Namespace, data: str, training: bool, **batching: Any) -> Any:
    """Random crops for training; for validation the middle of each image."""
    transform: list[fd.RandomResizedCrop | fd.RandomHorizontalFlip | fd.Resize | fd.CenterCrop]
    if training:
        transform = [fd.RandomResizedCrop(args.size, scale=(args.min_scale, 1.0)), fd.RandomHorizontalFlip()]
    else:
        transform = [fd.Resize(round(args.size * 1.15)), fd.CenterCrop(args.size)]
    if Path(data).is_dir():
        return fd.ImageDirectoryDataset(data, transform=transform, seed=args.seed)
    return fd.TarImageDataset(data, transform=transform, shuffle=training, seed=args.seed, **batching)


def make_loader(args: argparse.Namespace, data: str, training: bool, device: torch.device) -> Any:
    """Batches for this rank: for training in each epoch's own order, for validation each sample once."""
    last: Literal["partial", "drop", "pad"] = args.last if training else "partial"
    if args.loader == "torch":
        return TorchLoader(args, data, training, last, pin_memory=device.type == "cuda")
    options: dict[str, Any] = {"decoder": args.decoder} if args.decoder else {}
    options |= {"shuffle": training, "num_threads": args.workers, "last": last, "device": device}
    return fd.Loader(open_dataset(args, data, training), args.batch_size, **options)


class TorchLoader:
    """torch's DataLoader, with the methods of `fastdata.Loader` that training needs."""

    def __init__(self, args: argparse.Namespace, data: str, training: bool, last: str, pin_memory: bool) -> None:
        self.args = args
        batching: dict[str, Any] = {"batch_size": args.batch_size, "last": last}
        processes: dict[str, Any] = {"num_workers": args.workers or 0, "pin_memory": pin_memory}
        self.dataset = open_dataset(args, data, training, **batching)
        self.order = self.dataset  # shards have an order, and make batches, by themselves
        self.batches: DataLoader[Any]
        if isinstance(self.dataset, fd.TarImageDataset):
            self.batches = DataLoader(self.dataset, batch_size=None, **processes)
        else:
            self.order = fd.EpochSampler(self.dataset, shuffle=training, seed=args.seed, **batching)
            options: dict[str, Any] = {"sampler": self.order, "collate_fn": fd.collate}
            self.batches = DataLoader(self.dataset, args.batch_size, **options, **processes)
        self.received = 0

    @property
    def epoch(self) -> int:
        return int(self.order.epoch)

    @property
    def remaining(self) -> int:
        """Batches: shards count them, the sampler counts samples."""
        left: int = self.order.remaining
        return left if isinstance(self.dataset, fd.TarImageDataset) else -(-left // self.args.batch_size)

    def __iter__(self) -> Iterator[fd.Batch]:
        self.received = 0
        for batch in self.batches:
            self.received += 1
            yield batch

    def set_epoch(self, epoch: int) -> None:
        self.received = 0
        self.order.set_epoch(epoch)

    def state_dict(self) -> Any:
        return self.order.state_dict(batches=self.received)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order.load_state_dict(state)
