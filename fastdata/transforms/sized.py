"""A transform whose images come out in another size: that of the batch that a sample is in."""

import functools
from dataclasses import replace

from fastdata.sample import Size
from fastdata.transforms.steps import (
    CenterCrop,
    PixelStep,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
)
from fastdata.transforms.transform import Transform
from fastdata.transforms.views import Views


@functools.lru_cache(256)
def sized(transform: Transform | Views, size: Size) -> Transform:
    """The transform with `size` in the step that decides what comes out: the last one that crops or resizes.

    Other steps stay as they are. ValueError where an image's own size, or padding, has a part in what comes out.
    """
    if isinstance(transform, Views):
        raise ValueError("Views gives images of several sizes, of which buckets can't be one: leave one of the two out")
    for place in reversed(range(len(transform.steps))):
        match transform.steps[place]:
            case RandomResizedCrop() | CenterCrop() | RandomCrop() | Resize(size=(_, _)) as step:
                steps = (*transform.steps[:place], replace(step, size=size), *transform.steps[place + 1 :])
                return replace(transform, steps=steps)
            case PixelStep() | RandomHorizontalFlip() | RandomVerticalFlip():
                pass
            case step:
                raise ValueError(f"{step} can't be given the size of a bucket: put it before a crop of a fixed size")
    raise ValueError(f"{transform} has no step to be given the size of a bucket: RandomResizedCrop(224), say")
