"""uint8 images become floats, on the device where they are."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


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
        if max(mean) > 1:
            ours = ", ".join(str(tuple(round(value / 255, 4) for value in values)) for values in (mean, std))
            raise ValueError(
                f"mean {mean!r} is not that of images in [0, 1]; if it is of 0 to 255 write Normalize({ours})"
            )
        if not dtype.is_floating_point:
            raise ValueError(f"dtype must be a floating point type, got {dtype}")
        self.dtype = dtype
        scale = 1 / (255 * torch.tensor(std, dtype=torch.float64))
        shift = -torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", scale.float().view(3, 1, 1), persistent=False)
        self.register_buffer("shift", shift.float().view(3, 1, 1), persistent=False)

    def extra_repr(self) -> str:
        """What stands in its repr, and in that of a model that begins with it."""
        std = 1 / (255 * self.scale.double().flatten())
        mean = -self.shift.double().flatten() * std
        texts = ("(" + ", ".join(f"{value:.4g}" for value in values.tolist()) + ")" for values in (mean, std))
        return f"mean={next(texts)}, std={next(texts)}, dtype={self.dtype}"

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
