"""Train a small residual network on class folders or shards. A reference to read, copy and change.

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
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

import fastdata as fd

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


# --- the network


def norm(kind: str, channels: int) -> nn.Module:
    """BatchNorm, or GroupNorm, which does not depend on the batch and suits small ones."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(math.gcd(8, channels), channels)


class Residual(nn.Module):
    """Two convolutions and a way around them (He et al., "Identity Mappings in Deep Residual Networks", 2016)."""

    def __init__(self, channels: int, out: int, stride: int, kind: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(kind, channels), norm(kind, out)
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        same = channels == out and stride == 1
        self.around = nn.Identity() if same else nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(F.relu(self.norm1(x)))
        total: Tensor = self.around(x) + self.conv2(F.relu(self.norm2(inner)))
        return total


class ResidualNet(nn.Module):
    """Images of shape (N, 3, H, W), normalized, to logits of shape (N, classes): a backbone and a head."""

    def __init__(self, classes: int, width: int, kind: str) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
            Residual(width, width, 1, kind),
            Residual(width, 2 * width, 2, kind),
            Residual(2 * width, 4 * width, 2, kind),
            Residual(4 * width, 8 * width, 2, kind),
            norm(kind, 8 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(8 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(images))
        return logits


def load(checkpoint: Path, option: str, device: torch.device) -> dict[str, Any]:
    """What was saved; exits where nothing was."""
    if not checkpoint.exists():
        raise SystemExit(f"{option}: there is no checkpoint {checkpoint}")
    state: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)
    return state


def fill(module: nn.Module, weights: dict[str, Any], checkpoint: Path) -> None:
    """Put the weights into the module; exits where they are another network's."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:  # names or shapes differ
        problem = f"{checkpoint} is of another network: give the --norm, --width and --classes that it was made with"
        raise SystemExit(f"{problem}\n{error}") from error


# --- the data


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


# --- training


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
            self.load_state_dict(load(self.checkpoint, "--resume", device))

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
        if names and validated and names != validated:
            differ = ", ".join(sorted(set(names) ^ set(validated)))
            problem = f"{self.args.val} has other classes than {self.args.data}, so that their numbers would not match"
            raise SystemExit(f"{problem}: {differ or 'in another order'}")
        return classes

    def new_net(self) -> ResidualNet:
        net = ResidualNet(self.number_of_classes(), self.args.width, self.args.norm)
        if self.args.finetune:
            learned = load(self.args.finetune, "--finetune", torch.device("cpu"))["model"]
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
        """Write the checkpoint whole: whenever the process is killed, this one is there or the one before."""
        if self.rank != 0:
            return
        self.args.out.mkdir(parents=True, exist_ok=True)
        temporary = self.checkpoint.with_suffix(".tmp")
        with temporary.open("wb") as file:
            torch.save(self.state_dict(), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.checkpoint)

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
