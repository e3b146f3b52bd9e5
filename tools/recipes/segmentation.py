"""Segmentation: each mask follows the crop, resize and flip of its image, by the field `fd.Mask`.
The mask of `images/a.jpg` is `masks/a.png`, of classes from 0 on: python tools/recipes/segmentation.py --data photos"""

import argparse

import torch
from torch import Tensor, nn

import fastdata as fd


def masked(data: str, steps: list[fd.TransformStep]) -> fd.ImageDirectoryDataset:
    mask = fd.Mask("masks/{name}.png")
    return fd.ImageDirectoryDataset(data, "images/**/*.jpg", steps, labels=None, fields=mask)


class Net(nn.Module):
    """A U-Net of two levels: images (N, 3, H, W), H and W divisible by 4, to logits (N, classes, H, W)."""

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU())
        self.middle = nn.Sequential(nn.Conv2d(width, width, 5, 4, padding=2), nn.ReLU(), nn.Upsample(scale_factor=4))
        self.up = nn.Conv2d(2 * width, classes, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.down(images)
        logits: Tensor = self.up(torch.cat([fine, self.middle(fine)], dim=1))
        return logits


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder that has the folders images and masks")
    for option, default in (("--classes", 21), ("--epochs", 50), ("--batch-size", 16), ("--size", 512)):
        parser.add_argument(option, type=int, default=default)
    args = parser.parse_args(argv)
    crop = fd.RandomResizedCrop(args.size, scale=(0.25, 1.0))
    photos = masked(args.data, [crop, fd.RandomHorizontalFlip(), fd.ColorJitter(0.4, 0.4, 0.4)])
    device, normalize = "cuda" if torch.cuda.is_available() else "cpu", fd.Normalize.imagenet()
    loader = fd.Loader(photos, args.batch_size, shuffle=True, device=device, normalize=normalize)
    torch.manual_seed(0)
    model = Net(args.classes).to(loader.device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for epoch in range(args.epochs):
        both = either = torch.zeros(args.classes, device=loader.device)
        for images, masks in loader:  # masks: (N, H, W), 255 where no class is said
            logits, known = model(images), masks != 255
            loss = nn.functional.cross_entropy(logits, masks.long(), ignore_index=255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            said, true = (
                nn.functional.one_hot(c[known].long(), args.classes).bool() for c in (logits.argmax(dim=1), masks)
            )
            both, either = both + (said & true).sum(0), either + (said | true).sum(0)
        print(f"epoch {epoch}: loss {loss.item():.4f}, mean IoU {(both / either).nanmean().item():.3f}", flush=True)


if __name__ == "__main__":
    main()
