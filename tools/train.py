"""Train a small residual network on class folders or shards. A reference to read, copy and change, with the
files that stand beside it: the network, its checkpoint, and the batches.

In one process, on a GPU if there is one:

    python tools/train.py --data photos/train --val photos/val

on each of four GPUs, or in four processes, from shards (with --resume from where that was stopped, on any number):

    torchrun --standalone --nproc-per-node 4 tools/train.py --data 'shards/train-*.tar' --val 'shards/val-*.tar'

on other classes with what was learned:

    python tools/train.py --data others/train --val others/val --finetune runs/checkpoint.pt --freeze
"""

import argparse
import math
import os
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import fastdata as fd
from checkpoint import fill, load_checkpoint, save_checkpoint
from residual_net import ResidualNet
from train_batches import make_loader

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def positive(text: str) -> int:
    """A number that is at least 1; argparse tells what was wrong."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return int(text)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of class folders, or shards: a path, glob or {0..9}")
    parser.add_argument("--val", help="the same, to validate on")
    parser.add_argument("--classes", type=positive, help="number of classes, where the data does not tell")
    parser.add_argument("--loader", choices=["fastdata", "torch"], default="fastdata", help="threads or processes")
    parser.add_argument("--workers", type=int, help="threads of the Loader, or processes of torch's DataLoader")
    parser.add_argument("--decoder", help="of the Loader: cpu or dali")
    parser.add_argument("--last", choices=["drop", "pad"], default="drop", help="how an epoch ends (see EpochPlan)")
    parser.add_argument("--size", type=positive, default=64, help="side of the crops, in pixels")
    parser.add_argument("--min-scale", type=float, default=0.35, help="share of an image that a crop has at least")
    parser.add_argument("--width", type=positive, default=16, help="channels of the first stage")
    parser.add_argument("--norm", choices=["batch", "group"], default="batch")
    parser.add_argument("--epochs", type=positive, default=120)
    parser.add_argument("--batch-size", type=positive, default=16, help="of each rank in each backward pass")
    parser.add_argument("--accumulate", type=positive, default=1, help="backward passes for each step of the optimizer")
    parser.add_argument("--lr", type=float, default=4e-3, help="of AdamW, at its highest")
    parser.add_argument("--warmup", type=float, default=3.0, help="epochs until the learning rate is there")
    parser.add_argument("--weight-decay", type=float, default=0.3)
    parser.add_argument("--label-smoothing", type=float, default=0.1)
    parser.add_argument("--precision", choices=list(PRECISIONS), help="by default bf16 on a GPU, else fp32")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and crops")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of checkpoint.pt")
    parser.add_argument("--checkpoint-every", type=positive, help="steps between checkpoints within an epoch")
    parser.add_argument("--resume", action="store_true", help="go on from --out's checkpoint, at the very next sample")
    parser.add_argument("--finetune", type=Path, metavar="CHECKPOINT", help="begin with this backbone, and a new head")
    parser.add_argument("--freeze", action="store_true", help="train the head only")
    parser.add_argument("--log-every", type=positive, default=10, help="steps between lines of the log")
    args = parser.parse_args(argv)
    if args.freeze and not args.finetune:
        parser.error("--freeze keeps the backbone as it is: say by --finetune which one")
    if args.decoder and args.loader == "torch":
        parser.error("--decoder is the Loader's: leave --loader torch out")
    return args


class Validation(NamedTuple):
    """Means over all validation samples, of all ranks."""

    loss: float
    accuracy: float
    samples: int


class Training:
    """A run: what a checkpoint holds, and the two loops."""

    def __init__(self, args: argparse.Namespace, device: torch.device) -> None:
        self.args, self.device = args, device
        self.distributed = dist.is_initialized()
        self.rank, self.world_size = (dist.get_rank(), dist.get_world_size()) if self.distributed else (0, 1)
        self.batches = make_loader(args, args.data, True, device)
        self.validation_batches: Any = make_loader(args, args.val, False, device) if args.val else ()
        self.refuse_too_few()
        self.normalize = fd.Normalize.imagenet().to(device)
        self.net = self.new_net().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = DistributedDataParallel(self.net) if self.distributed else self.net
        self.dtype = PRECISIONS[args.precision or ("bf16" if device.type == "cuda" else "fp32")]
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        trained = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        decayed = {"params": [p for p in trained if p.ndim > 1], "weight_decay": args.weight_decay}
        others = {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}  # biases, and those of norms
        self.optimizer = torch.optim.AdamW([decayed, others])
        self.step = 0
        self.checkpoint: Path = args.out / "checkpoint.pt"
        if args.resume:
            self.load_state_dict(load_checkpoint(self.checkpoint, "--resume", device))

    def refuse_too_few(self) -> None:
        """Exit where an epoch would be dropped whole, and nothing be learned."""
        samples, batch = self.batches.state_dict()["samples"], self.args.batch_size * self.world_size
        if self.args.last == "drop" and samples < batch:
            problem = f"{self.args.data} has {samples} samples, less than a batch of {batch} on all ranks together"
            raise SystemExit(f"{problem}: say a smaller --batch-size, or --last pad")

    def number_of_classes(self) -> int:
        """As the data tell, or --classes; exits where that is too few, or the validation has other classes."""
        names = list(self.batches.dataset.classes)
        classes = int(self.args.classes or len(names))
        if not classes:
            raise SystemExit(f"{self.args.data} does not tell its classes: say by --classes how many there are")
        if classes < len(names):
            raise SystemExit(f"--classes {classes} is less than the {len(names)} classes of {self.args.data}")
        validated = list(self.validation_batches.dataset.classes) if self.args.val else []
        if names and names[: len(validated)] != validated:
            differ = ", ".join(sorted(set(names) ^ set(validated)))
            problem = f"{self.args.val} has other classes than {self.args.data}, so that their numbers would not match"
            raise SystemExit(f"{problem}: {differ or 'in another order'}")
        return classes

    def new_net(self) -> ResidualNet:
        net = ResidualNet(self.number_of_classes(), self.args.width, self.args.norm)
        if self.args.finetune:
            learned = load_checkpoint(self.args.finetune, "--finetune", torch.device("cpu"))["model"]
            here = "backbone."
            backbone = {k.removeprefix(here): v for k, v in learned.items() if k.startswith(here)}
            fill(net.backbone, backbone, self.args.finetune)
        net.backbone.requires_grad_(not self.args.freeze)
        return net

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds. The schedule needs no state of its own, see `learning_rate`."""
        return {
            "model": self.net.state_dict(),  # not DistributedDataParallel's, whose names begin with "module."
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "loader": self.batches.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        fill(self.net, state["model"], self.checkpoint)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.batches.load_state_dict(state["loader"])
        self.step = state["step"]

    def save(self) -> None:
        """Write the checkpoint, of which all ranks have the same."""
        if self.rank == 0:
            save_checkpoint(self.state_dict(), self.checkpoint)

    def say(self, line: str) -> None:
        if self.rank == 0:
            print(line, flush=True)

    def learning_rate(self) -> float:
        """Up in a line, then down in half a cosine, by how many epochs' samples are delivered.

        That is the loader's state, so a run resumed on other ranks, in other steps, goes on where it was.
        """
        state = self.batches.state_dict()
        epochs = state["epoch"] + state["position"] / state["samples"]
        share = (epochs - self.args.warmup) / max(self.args.epochs - self.args.warmup, 1e-9)
        cosine = (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2
        return float(self.args.lr * cosine * min(1.0, epochs / max(self.args.warmup, 1e-9)))

    def run(self) -> Validation | None:
        """From where it stands to the last epoch; the last validation."""
        validation = None
        self.say(f"training on {self.batches.dataset!r}")
        if self.batches.epoch >= self.args.epochs:
            self.say(f"{self.checkpoint} has had its {self.args.epochs} epochs: say more by --epochs")
        for epoch in range(self.batches.epoch, self.args.epochs):
            self.train()  # each iteration over the batches is the next epoch, or the rest of a loaded one
            self.save()
            if self.args.val:
                validation = self.validate()
                self.say(f"epoch {epoch}: validation loss {validation.loss:.3f}, accuracy {validation.accuracy:.1%}")
        return validation

    def train(self) -> None:
        """What is left of the loader's epoch."""
        self.model.train()
        if self.args.freeze:
            self.net.backbone.eval()  # its BatchNorms' statistics are part of what was learned
        passes, at_once = self.batches.remaining, self.args.accumulate
        images_done, since = 0, time.perf_counter()
        for number, (images, targets) in enumerate(self.batches):
            in_this_step = min(at_once, passes - number // at_once * at_once)
            is_last = (number + 1) % at_once == 0 or number + 1 == passes
            # Ranks add up their gradients once a step, in its last backward pass.
            with nullcontext() if is_last or not self.distributed else self.model.no_sync():
                loss = F.cross_entropy(
                    self.logits(self.model, images), targets.to(self.device), label_smoothing=self.args.label_smoothing
                )
                self.scaler.scale(loss / in_this_step).backward()
            images_done += len(images) * self.world_size
            if not is_last:
                continue
            self.update()
            if self.step % self.args.log_every == 0:
                speed = images_done / (time.perf_counter() - since)
                self.say(f"step {self.step}: loss {loss.item():.3f}, {speed:.0f} images/s")
                images_done, since = 0, time.perf_counter()
            if self.args.checkpoint_every and self.step % self.args.checkpoint_every == 0:
                self.save()

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits: Tensor = model(self.normalize(images.to(self.device, non_blocking=True)))
        return logits.float()

    def update(self) -> None:
        """A step of the optimizer."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    @torch.inference_mode()
    def validate(self) -> Validation:
        """Each validation sample once. Ranks need not have as many batches as others: they meet only at the end."""
        if self.distributed:
            for buffer in self.net.buffers():  # ranks have seen different batches; the checkpoint is rank 0's
                dist.broadcast(buffer, src=0)
        self.net.eval()
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the epoch's final step", UserWarning)  # for training it would matter
            for images, targets in self.validation_batches:
                # Not by self.model: DistributedDataParallel's ranks meet in each forward pass.
                logits, targets = self.logits(self.net, images), targets.to(self.device)
                sums[0] += F.cross_entropy(logits, targets, reduction="sum")
                sums[1] += (logits.argmax(dim=1) == targets).sum()
                sums[2] += len(targets)
        if self.distributed:
            dist.all_reduce(sums)
        loss, right, samples = sums.tolist()
        return Validation(loss / max(samples, 1), right / max(samples, 1), round(samples))


def main(argv: Sequence[str] | None = None) -> Validation | None:
    """Train as the arguments say; the last epoch's validation."""
    args = arguments(argv)
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if "WORLD_SIZE" in os.environ:  # set by torchrun
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    torch.manual_seed(args.seed)
    validation = Training(args, device).run()
    if dist.is_initialized():
        dist.destroy_process_group()
    return validation


if __name__ == "__main__":
    main()
