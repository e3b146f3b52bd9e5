"""What would help: the same photos, loaded or packed otherwise."""

from collections.abc import Iterable
from typing import Any

from fastdata.commands.bench.sampled import Sampled
from fastdata.commands.bench.ways import SIDE, STEPS, has_dali, loader
from fastdata.datasets.shards import TarImageDataset
from fastdata.packing.convert import CropReady, Encode
from fastdata.packing.crop_ready import can_make_crop_ready
from fastdata.sample import Batch
from fastdata.transforms.steps import RandomHorizontalFlip, RandomResizedCrop
from fastdata.transforms.transform import Transform

Ways = dict[str, Iterable[Batch]]

_MAX_SIDE = 320
_SMALLER = 160
_SIDE = f"{_SMALLER} pixels instead of {SIDE}"
_ENCODE = f"fastdata shard --jpeg encode --max-side {_MAX_SIDE}"

LOSE_DETAIL = frozenset([_SIDE, _ENCODE])
"""The ways that give a model other pixels to learn from, fewer or of smaller photos."""


def changes(sampled: Sampled, threads: int) -> Ways:
    """Ways to load the photos by name, each of which differs in one thing from what they are measured with."""
    plain = Transform(STEPS, antialias=False)
    smaller = (RandomResizedCrop(_SMALLER), RandomHorizontalFlip())
    ways: Ways = {
        "antialias=False": loader(_of(sampled.shards, plain), threads),
        _SIDE: loader(_of(sampled.shards, smaller), threads),
    }
    if can_make_crop_ready():
        ready = sampled.packed("ready", CropReady())
        ways["fastdata shard --jpeg crop-ready"] = loader(_of(ready, STEPS), threads)
    small = sampled.packed("small", Encode(max_side=_MAX_SIDE))
    ways[_ENCODE] = loader(_of(small, STEPS), threads)
    if has_dali():
        ways["decoder='dali'"] = loader(_of(sampled.shards, STEPS), threads, "dali")
    return ways


def how_many() -> int:
    """Of these ways on this machine."""
    return 3 + can_make_crop_ready() + has_dali()


def _of(shards: Any, transform: Any) -> TarImageDataset:
    return TarImageDataset(shards, transform, target=None)
