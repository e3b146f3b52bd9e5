"""Functions for `map=` and `batch_transform=` that draw from every generator; importable in a spawned process."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def jitter(image: Tensor) -> Tensor:
    """Brighter or darker by numbers of torch, a pixel of numpy's and one of Python's; of shape (3, 24, 24), float32."""
    image = image.float() * (0.5 + torch.rand(1)) + torch.randn_like(image, dtype=torch.float32)
    image[:, np.random.randint(24), np.random.randint(24)] = 999
    image[0, random.randrange(24), random.randrange(24)] = -999
    return image.contiguous()


def with_target(image: Tensor, target: Any) -> tuple[Tensor, Any]:
    """Another target, too."""
    return image.flip(0), [target, float(torch.rand(1)), random.random(), np.random.rand()]


def mixup(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Each image mixed with another of its batch, as torchvision's v2.MixUp and timm's Mixup draw."""
    share = np.random.beta(0.4, 0.4) + 0 * random.random()
    other = torch.randperm(len(images), device=images.device)
    one_hot = torch.nn.functional.one_hot(targets, 64).float()
    return images.float() * share + images[other] * (1 - share), one_hot * share + one_hot[other] * (1 - share)
