"""Samples become a batch; `Normalize` makes floats of it on the device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from fastdata.sample import Batch, Fields


def collate(samples: Sequence[tuple[Tensor, Any]]) -> Batch:
    """A batch of (image, target) pairs, images being uint8 tensors of one shape (3, H, W).

    Targets become a tensor of shape (N,) where all are numbers (int64 where all are integers, else float64), a stacked
    tensor where all are numeric arrays or tensors of one shape and dtype, else a list. `Fields` become a dict by name,
    of each of which that holds. ValueError where the images differ in size or there is none.
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


def collate_targets(targets: list[Any]) -> Tensor | list[Any] | dict[str, Any]:
    """The targets of a batch, as `collate` has them."""
    if targets and all(isinstance(target, Fields) for target in targets):
        return Fields({name: collate_targets([target[name] for target in targets]) for name in targets[0]})
    if all(isinstance(target, int | np.integer) and not isinstance(target, bool) for target in targets):
        return torch.tensor(targets, dtype=torch.int64, device="cpu")
    if all(isinstance(target, int | float | np.number) and not isinstance(target, bool) for target in targets):
        return torch.tensor(targets, dtype=torch.float64, device="cpu")
    if all(isinstance(t, Tensor) or (isinstance(t, np.ndarray) and t.dtype.kind in "biufc") for t in targets):
        tensors = [torch.as_tensor(target) for target in targets]
        if len({(tensor.shape, tensor.dtype) for tensor in tensors}) == 1:
            return torch.stack(tensors)
    return targets
