"""Samples become a batch; `Normalize` makes floats of it on the device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from fastdata.sample import Batch, Fields, Pair


def collate(samples: Sequence[tuple[Tensor, Any]]) -> Batch:
    """A batch of (image, target) pairs, images being tensors of one shape (3, H, W): uint8, or what a `map` gives.

    Targets become a tensor of shape (N,) where all are numbers (int64 where all are integers, else float64), a stacked
    tensor where all are numeric arrays or tensors of one shape and dtype, else a list. `Fields` become a dict by name,
    of each of which that holds. The batch has `keys` and `views` where all pairs are a dataset's own, whose items know
    them. ValueError where the images differ in shape or dtype, or there is none.
    """
    if not samples:
        raise ValueError("a batch needs at least one sample")
    pairs = [sample for sample in samples if isinstance(sample, Pair)]
    keys = [pair.key for pair in pairs] if len(pairs) == len(samples) else None
    views = [pair.view for pair in pairs if pair.view is not None]
    images = collate_images([image for image, _ in samples], keys)
    targets = collate_targets([target for _, target in samples])
    return Batch(images, targets, keys, views if len(views) == len(samples) else None)


def collate_images(images: Sequence[Any], keys: Sequence[str] | None = None) -> Any:
    """Images stacked, those of shape (C, H, W) in channels-last memory; in a worker's shared memory where in one.

    Of dicts by name, as `Views` gives, a dict of such. ValueError where they differ in shape or dtype, naming by `keys`
    the first that does.
    """
    if isinstance(images[0], dict):
        return {name: collate_images([image[name] for image in images], keys) for name in images[0]}
    kinds = [(tuple(image.shape), image.dtype) for image in images]
    if len(set(kinds)) > 1:
        other = next(number for number, kind in enumerate(kinds) if kind != kinds[0])
        which = f" (sample {keys[other]!r}, say, is unlike {keys[0]!r})" if keys else ""
        different = sorted({str(shape) if len({s for s, _ in kinds}) > 1 else str(dtype) for shape, dtype in kinds})
        raise ValueError(
            f"images of different shapes or dtypes {', '.join(different)} can't be one batch{which}: "
            "end the transform with a fixed size, as RandomResizedCrop(224) or [Resize(256), CenterCrop(224)] have, "
            "and a map= with one shape and dtype"
        )
    if images[0].ndim not in (3, 4):
        return default_collate(list(images))
    # Collated as HWC, which is how they lie in memory; in a worker torch allocates the batch in shared memory.
    return default_collate([image.movedim(-3, -1) for image in images]).movedim(-1, -3)


def collate_targets(targets: list[Any]) -> Tensor | list[Any] | dict[str, Any]:
    """The targets of a batch, as `collate` has them."""
    if targets and all(isinstance(target, Fields) for target in targets):
        other = next((target for target in targets if target.keys() != targets[0].keys()), None)
        if other is not None:
            raise ValueError(
                f"samples with the fields {list(targets[0])} and others with {list(other)} can't be one batch: "
                "give all parts of a mixture the same names"
            )
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
