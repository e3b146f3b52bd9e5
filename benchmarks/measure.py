"""One contestant's speed, measured in this process; and what its batches look like."""

import time
from contextlib import closing, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from contestants import CONTESTANTS
from gpu import averages_of
from rounds import Look, Measured
from work import Batches, Work

IMAGES_PER_SECOND = "images/s"
BUSY, JPEG, TO_GPU = "GPU busy, %", "its JPEG decoder, %", "kB to it an image"


class Span(NamedTuple):
    """Measured over `images`, and `seconds` at least, after `warmup` images that are not."""

    warmup: int
    images: int
    seconds: float = 0.0


class Timed(NamedTuple):
    images: int
    seconds: float
    cpu_seconds: float
    last: Tensor


def timed(batches: Batches, span: Span) -> Timed:
    warm = 0
    while warm < span.warmup:
        warm += len(next(batches))
    settle()
    begun, cpu, images = time.perf_counter(), time.process_time(), 0
    while images < span.images or time.perf_counter() - begun < span.seconds:
        batch = next(batches)
        images += len(batch)
    settle()
    return Timed(images, time.perf_counter() - begun, time.process_time() - cpu, batch)


def settle() -> None:
    """Wait for the GPU, where one is in use."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def look(images: Tensor) -> Look:
    return Look(list(images.shape[1:]), str(images.dtype), float(images.float().abs().mean()))


def throughput(contestant: str, work: Work, span: Span) -> Measured:
    """Images/s; on a GPU also how busy it is and what crosses the bus to it, as far as nvidia-smi tells."""
    seen: dict[str, float] = {}
    with closing(CONTESTANTS[contestant].start(work)) as batches:
        with nullcontext() if work.gpu is None else averages_of(work.gpu, seen):
            result = timed(batches, span)
        speed = result.images / result.seconds
        figures = {IMAGES_PER_SECOND: speed}
        if work.gpu is not None:
            figures |= {BUSY: seen["sm"]} if "sm" in seen else {}
            figures |= {JPEG: seen["jpg"]} if "jpg" in seen else {}
            figures |= {TO_GPU: seen["rxpci"] * 1000 / speed} if "rxpci" in seen else {}
        return Measured(figures, look(result.last))
