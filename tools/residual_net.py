"""The network that `train.py` trains: small, and there is nothing of this package in it."""

import math

import torch.nn.functional as F
from torch import Tensor, nn


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
