"""Fine-tuning with each class as often as any other (`order=fd.Balanced()`), by labels of a CSV (`fd.Table`).
The CSV has the columns file, label and split: python tools/recipes/balanced.py --data photos --labels photos.csv"""

import argparse
import csv
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import fastdata as fd


def photos(data: str, labels: str, split: str, size: int) -> fd.ImageDirectoryDataset:
    """The images of one split, wherever they lie below `data`; targets are the labels' places in the alphabet."""
    with Path(labels).open(newline="") as file:
        classes = sorted({row["label"] for row in csv.DictReader(file)})
    table = fd.Table(labels, key="file", target="label", classes=classes, where={"split": split}, missing="drop")
    train = [fd.RandomResizedCrop(size, (0.35, 1.0)), fd.RandomHorizontalFlip(), fd.ColorJitter(0.2, 0.2, 0.2)]
    steps = train if split == "train" else [fd.Resize(round(size * 1.15)), fd.CenterCrop(size)]
    return fd.ImageDirectoryDataset(data, labels=None, transform=steps, fields=table)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of images, at any depth")
    parser.add_argument(
        "--labels", required=True, help="CSV of file (its path below --data), label, split (train, val)"
    )
    for option, default in (("--epochs", 10), ("--batch-size", 64), ("--size", 224)):
        parser.add_argument(option, type=int, default=default)
    args = parser.parse_args(argv)
    device, normalize = "cuda" if torch.cuda.is_available() else "cpu", fd.Normalize.imagenet()
    train, val = (photos(args.data, args.labels, split, args.size) for split in ("train", "val"))
    batches = fd.Loader(train, args.batch_size, order=fd.Balanced(), device=device, normalize=normalize)
    validation = fd.Loader(val, args.batch_size, device=device, normalize=normalize)
    torch.manual_seed(0)  # in place of torch.load: put your pretrained backbone here
    backbone = nn.Sequential(nn.Conv2d(3, 64, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(backbone, nn.Linear(64, len(train.classes))).to(batches.device)
    slow, fast = {"params": model[0].parameters(), "lr": 1e-3}, {"params": model[1].parameters(), "lr": 1e-2}
    optimizer, classes = torch.optim.AdamW([slow, fast]), len(train.classes)
    for epoch in range(args.epochs):
        drawn, right, seen = (torch.zeros(classes, dtype=torch.int64) for _ in range(3))
        for images, targets in batches:
            loss = F.cross_entropy(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            drawn += targets.cpu().bincount(minlength=classes)
        with torch.inference_mode():
            for images, targets in validation:
                right += targets[model(images).argmax(dim=1) == targets].cpu().bincount(minlength=classes)
                seen += targets.cpu().bincount(minlength=classes)
        print(
            f"epoch {epoch}: loss {loss.item():.4f}, of each class {drawn.tolist()}, recalls {(right / seen).tolist()}"
        )


if __name__ == "__main__":
    main()
