"""What each rank in test_processes.py does: loads epochs step by step, and reports as JSON.

    torchrun … -m support.ranks SHARDS OUT

SHARDS has 54 samples in `*.tar`, 48 of them in `even*.tar`; targets are unique. Rank r writes `OUT/r.json`: for each
case the targets of each step and what an all-reduce in that step gave. In each step ranks meet, as in training, in a
collective: a rank with a step more or less than others would wait there, or meet them in another case.
"""

import json
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

import fastdata as fd
from fastdata.errors import TooManySkippedError
from fastdata.transforms.steps import Step

BATCH_SIZE = 4
EPOCH = 1
VAL_BATCH_SIZE = 13  # of 54 samples: with 4 ranks the last two of them have a batch less than the others
TRANSFORM: list[Step] = [fd.RandomResizedCrop(8), fd.RandomHorizontalFlip()]


def shards_of(last: str) -> str:
    """The shards that a case is run on: 48 samples fill the last batches of 1, 2, 3 and 4 ranks."""
    return "even*.tar" if last == "partial" else "*.tar"


def met(number: int) -> int:
    """The sum of all ranks' numbers."""
    total = torch.tensor(number)
    dist.all_reduce(total)
    return int(total)


def stepped(batches: Iterable[Any], case: int) -> dict[str, Any]:
    """The steps of an epoch: their targets, and what the ranks' sum of (case, step), as one number, was."""
    targets, sums = [], []
    for step, (_, batch) in enumerate(batches):
        targets.append(batch.tolist())
        sums.append(met(1000 * case + step))
    return {"targets": targets, "sums": sums}


def by_dataset(urls: str, last: Any) -> Iterable[Any]:
    dataset = fd.TarImageDataset(urls, TRANSFORM, shuffle=True, batch_size=BATCH_SIZE, last=last)
    dataset.set_epoch(EPOCH)
    return DataLoader(dataset, batch_size=None, num_workers=2)


def by_loader(urls: str, last: Any) -> Iterable[Any]:
    loader = fd.Loader(fd.TarImageDataset(urls, TRANSFORM, shuffle=True), BATCH_SIZE, num_threads=2, last=last)
    loader.set_epoch(EPOCH)
    return loader


def skipping(urls: str) -> dict[str, Any]:
    """Until too many are skipped: the steps taken till then, how many of them this rank has skipped, and the error."""
    loader = fd.Loader(fd.TarImageDataset(urls, TRANSFORM), BATCH_SIZE, last="drop", on_error="skip", max_skipped=5)
    steps = 0
    try:
        for _ in loader:
            steps += met(1) // dist.get_world_size()
    except TooManySkippedError as error:
        return {"steps": steps, "skipped": len(loader.skipped), "error": str(error)}
    return {"steps": steps}


def validating(urls: str) -> dict[str, Any]:
    """What tools/train.py finds on these samples with an untrained network."""
    import train

    torch.manual_seed(0)
    options = f"--data {urls} --val {urls} --classes 54 --size 8 --width 8 --batch-size {VAL_BATCH_SIZE} --workers 1"
    return train.Training(train.arguments(options.split()), torch.device("cpu")).validate()._asdict()


def main(shards: Path, out: Path) -> None:
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    cases = [(batches, last) for batches in (by_dataset, by_loader) for last in ("drop", "pad", "partial")]
    report: dict[str, Any] = {}
    for number, (batches, last) in enumerate(cases, start=1):
        urls = str(shards / shards_of(last))
        report[f"{batches.__name__} {last}"] = {"case": number, **stepped(batches(urls, last), number)}
    report["validation"] = validating(str(shards / "*.tar"))
    if dist.get_world_size() == 2:
        report["skipping"] = skipping(str(shards / "bad" / "*.tar"))
    (out / f"{dist.get_rank()}.json").write_text(json.dumps(report))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
