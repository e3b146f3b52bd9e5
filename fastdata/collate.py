"""Samples become a batch; `Normalize` makes floats of it on the device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from fastdata.sample import Batch


def collate(samples: Sequence[tuple[Tensor, Any]]) -> Batch:
    """A batch of (image, target) pairs, images being uint8 tensors of one shape (3, H, W).

    Targets become an int64 tensor of shape (N,) where all are integers, a stacked tensor where all are numeric
    arrays or tensors of one shape and dtype, else a list. ValueError where the images differ in size or there is none.
    """
    if not samples:
        raise ValueError("a batch needs at least one sample")
    images = [image for image, _ in samples]
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise ValueError(
            f"images of different shapes {sorted(shapes)} can't be one batch: "
            "end the transform with a fixed size, as RandomResizedCrop(224) or [Resize(256), CenterCrop(224)] have"
        )
    # Collated as HWC, which is how they lie in memory; in a worker torch allocates the batch in shared memory.
    stacked: Tensor = default_collate([image.permute(1, 2, 0) for image in images])
    return Batch(stacked.permute(0, 3, 1, 2), collate_targets([target for _, target in samples]))


def collate_targets(targets: list[Any]) -> Tensor | list[Any]:
    """The targets of a batch, as `collate` has them."""
    if all(isinstance(target, int | np.integer) and not isinstance(target, bool) for target in targets):
        return torch.tensor(targets, dtype=torch.int64, device="cpu")
    if all(isinstance(t, Tensor) or (isinstance(t, np.ndarray) and t.dtype.kind in "biufc") for t in targets):
        tensors = [torch.as_tensor(target) for target in targets]
        if len({(tensor.shape, tensor.dtype) for tensor in tensors}) == 1:
            return torch.stack(tensors)
    return targets


class Normalize(nn.Module):
    """uint8 images to floats: x / 255, minus `mean`, over `std`, per channel; on the device where the images are.

    Takes uint8 of shape (..., 3, H, W) and keeps the memory format. Computed in float32 and cast to `dtype`
    (float32, float16, bfloat16). `mean` and `std` are those of images in [0, 1]; they are no part of checkpoints.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or not all(s > 0 for s in std):
            raise ValueError(f"mean and std are three numbers each, those of std positive; got {mean!r} and {std!r}")
        if not dtype.is_floating_point:
            raise ValueError(f"dtype must be a floating point type, got {dtype}")
        self.dtype = dtype
        scale = 1 / (255 * torch.tensor(std, dtype=torch.float64))
        shift = -torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", scale.float().view(3, 1, 1), persistent=False)
        self.register_buffer("shift", shift.float().view(3, 1, 1), persistent=False)

    @classmethod
    def imagenet(cls, dtype: torch.dtype = torch.float32) -> "Normalize":
        """With the mean and standard deviation of ImageNet's training images."""
        return cls((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), dtype)

    def forward(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8:
            raise ValueError(f"Normalize takes uint8 images, got {images.dtype}: were they normalized before?")
        floats = images.to(torch.float32)
        pixels, scale, shift = floats, self.scale, self.shift
        interleaved = floats.movedim(-3, -1)
        if floats.device.type == "cpu" and interleaved.is_contiguous():
            # In channels-last memory a row at a time: by three values at a time it takes twice as long.
            *outer, width, channels = interleaved.shape
            pixels = interleaved.view(*outer, width * channels)
            scale, shift = scale.flatten().repeat(width), shift.flatten().repeat(width)
        pixels.mul_(scale).add_(shift)
        return floats.to(self.dtype)
