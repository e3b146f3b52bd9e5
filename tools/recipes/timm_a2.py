"""timm's procedure A2 (Wightman et al., arXiv 2110.00476): RandAugment, Mixup, CutMix, each image three times in a row.
On eight GPUs, with 2048 images a step: torchrun --nproc-per-node 8 tools/recipes/timm_a2.py --data imagenet/train"""

import argparse
import math
import random
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

import fastdata as fd


def mix(classes: int, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mixup or CutMix with the batch upside down, as timm.data.Mixup(0.1, 1.0, num_classes=classes), which fits too."""
    hot, others, share = nn.functional.one_hot(targets, classes).float(), images.flip(0), random.betavariate(0.1, 0.1)
    if random.random() < 0.5:
        return images.lerp(others, share), hot.lerp(hot.flip(0), share)
    (height, width), side = images.shape[2:], random.random() ** 0.5
    y, x, down, right = random.randrange(height), random.randrange(width), int(side * height), int(side * width)
    box = slice(max(y - down // 2, 0), y + down // 2), slice(max(x - right // 2, 0), x + right // 2)
    images[:, :, *box] = others[:, :, *box]
    return images, hot.lerp(hot.flip(0), images[0, 0, *box].numel() / (height * width))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of class folders")
    for option, default in (("--epochs", 300), ("--batch-size", 256), ("--size", 224), ("--erasing", 0.0)):
        parser.add_argument(option, type=type(default), default=default)  # timm's --reprob, which A2 leaves at 0
    args = parser.parse_args(argv)
    if dist.is_torchelastic_launched():
        dist.init_process_group()
    augment = fd.RandomApply([fd.RandAugment(1, magnitude=21)], p=0.5)  # twice is timm's rand-m7: 7 of 10 are 21 of 30
    steps = [fd.RandomResizedCrop(args.size, interpolation="bicubic"), fd.RandomHorizontalFlip(), augment, augment]
    photos = fd.ImageDirectoryDataset(args.data, transform=[*steps, fd.RandomErasing(args.erasing, value="random")])
    classes, options = len(photos.classes), {"device": "cuda" if torch.cuda.is_available() else "cpu"}
    how: dict[str, Any] = {"order": fd.Repeated(3, len(photos)), "batch_transform": partial(mix, classes)} | options
    loader = fd.Loader(photos, args.batch_size, shuffle=True, last="drop", normalize=fd.Normalize.imagenet(), **how)
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 64, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)]
    net = nn.Sequential(*layers).to(loader.device)
    model = nn.parallel.DistributedDataParallel(net) if dist.is_initialized() else net
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)  # A2 has LAMB, which is timm's
    for epoch in range(args.epochs):
        decay = 0.5 + 0.5 * math.cos(math.pi * epoch / args.epochs)
        optimizer.param_groups[0]["lr"] = 5e-3 * min((epoch + 1) / 5, decay)
        for images, targets in loader:
            loss = nn.functional.binary_cross_entropy_with_logits(model(images), (targets > 0.2).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}", flush=True)
    if dist.is_initialized():
        del model  # before the group: gloo's thread may wait for the lock under which DDP would end it
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
