"""Which contestants do which work: the contests of throughput.py."""

from typing import NamedTuple


class Kind(NamedTuple):
    """The first contestant is what the others are compared with. `large`: of photos of several megapixels."""

    contestants: tuple[str, ...]
    antialias: bool
    floats: bool = False
    large: bool = False
    on_gpu: bool = False


_ALL = (
    "Loader, shards",
    "Loader, crop-ready shards",
    "Loader, folder",
    "Loader, Parquet",
    "Loader, compressed Parquet",
    "torch's DataLoader, shards",
    "torch's DataLoader, folder",
    "DALI's own",
    "DALI's own, shards",
    "webdataset",
    "torchcodec",
    "torchdata's threads",
    "Streaming",
    "LitData",
    "Grain",
    "SPDL",
)
_ANTIALIASED = (*_ALL, "torchvision's ImageFolder", "FFCV")  # these know nothing else
_DALI = (
    "DALI's own",
    "DALI's own, shards",
    "Loader by DALI, folder",
    "Loader by DALI, crop-ready shards",
    "Loader, folder",
    "Loader, crop-ready shards",
)
_LARGE = ("Loader, full decode", "Loader, shards", "Loader, crop-ready shards")

KINDS = {
    "plain uint8": Kind(_ALL, antialias=False),
    "antialiased uint8": Kind(_ANTIALIASED, antialias=True),
    "plain float32": Kind(_ALL, antialias=False, floats=True),
    "antialiased float32": Kind(_ANTIALIASED, antialias=True, floats=True),
    "DALI plain": Kind(_DALI, antialias=False),
    "DALI antialiased": Kind(_DALI, antialias=True),
    "large plain": Kind(_LARGE, antialias=False, large=True),
    "large antialiased": Kind(_LARGE, antialias=True, large=True),
    "GPU": Kind(_DALI, antialias=True, on_gpu=True),
}
USUAL = ("plain uint8", "antialiased uint8", "plain float32", "antialiased float32")
LARGE = ("large plain", "large antialiased")
